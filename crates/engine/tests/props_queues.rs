//! [`Ready`] is a queue, [`WriteQueue`] a string of bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::LazyLock;

use oxloop_engine::{Ready, WriteQueue};
use proptest::prelude::*;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) }
}

#[derive(Clone, Debug)]
enum ReadyOp {
    Push,
    Pop(usize),
    Append(usize),
}

fn ready_ops() -> impl Strategy<Value = Vec<ReadyOp>> {
    let op = prop_oneof![
        4 => Just(ReadyOp::Push),
        2 => (0..12_usize).prop_map(ReadyOp::Pop),
        1 => (0..20_usize).prop_map(ReadyOp::Append),
    ];
    prop::collection::vec(op, 0..100)
}

#[derive(Clone, Debug)]
enum WriteOp {
    Copy(usize),
    /// So many bytes, of which the first were sent already.
    Hold(usize, usize),
    Advance(usize),
    AdvanceAll,
    Clear,
}

/// Mostly small; some fill a chunk.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![20 => 0..300_usize, 5 => 0..5000_usize, 1 => 60_000..70_000_usize]
}

fn write_ops() -> impl Strategy<Value = Vec<WriteOp>> {
    let hold = (size(), any::<prop::sample::Index>());
    let op = prop_oneof![
        8 => size().prop_map(WriteOp::Copy),
        4 => hold.prop_map(|(len, start)| WriteOp::Hold(len, start.index(len + 1))),
        8 => size().prop_map(WriteOp::Advance),
        1 => Just(WriteOp::AdvanceAll),
        1 => Just(WriteOp::Clear),
    ];
    prop::collection::vec(op, 0..40)
}

/// The queue, and the bytes that it should hold.
#[derive(Default)]
struct Both {
    queue: WriteQueue<Vec<u8>>,
    model: Vec<u8>,
    written: usize,
}

impl Both {
    /// The next bytes of an endless string whose period is longer than any queue.
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        static PERIOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let scatter = |number: u32| (number.wrapping_mul(2_654_435_761) >> 24) as u8;
            (0..1 << 18).map(scatter).collect()
        });
        let first = self.written % (PERIOD.len() / 2);
        self.written += len;
        PERIOD[first..first + len].to_vec()
    }

    fn apply(&mut self, op: &WriteOp) {
        match *op {
            WriteOp::Copy(len) => {
                let data = self.bytes(len);
                self.queue.copy(&data).unwrap();
                self.model.extend_from_slice(&data);
            }
            WriteOp::Hold(len, start) => {
                let data = self.bytes(len);
                self.model.extend_from_slice(&data[start..]);
                self.queue.hold(data, start).unwrap();
            }
            WriteOp::Advance(count) => self.advance(count.min(self.model.len())),
            WriteOp::AdvanceAll => self.advance(self.model.len()),
            WriteOp::Clear => {
                self.queue.clear();
                self.model.clear();
            }
        }
    }

    fn advance(&mut self, count: usize) {
        self.queue.advance(count);
        self.model.drain(..count);
    }

    /// What up to `count` pieces have, and how many there are.
    fn pieces(&self, count: usize) -> (Vec<u8>, usize) {
        let mut slices = vec![IoSlice::new(&[]); count];
        let filled = self.queue.pieces(&mut slices);
        let pieces: Vec<&[u8]> = slices[..filled].iter().map(|slice| &**slice).collect();
        (pieces.concat(), filled)
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.queue.len(), self.model.len());
        prop_assert_eq!(self.queue.is_empty(), self.model.is_empty());
        let (all, count) = self.pieces(100);
        prop_assert!(all == self.model, "{} bytes in {count} pieces are not the same", all.len());
        let (some, filled) = self.pieces(3);
        prop_assert!(filled == count.min(3) && self.model.starts_with(&some));
        match self.queue.single() {
            Some(piece) => prop_assert!(count == 1 && piece == self.model),
            None => prop_assert!(count != 1),
        }
        // What is not empty makes progress: a send of nothing would look like a full kernel.
        prop_assert!(self.model.is_empty() || !some.is_empty());
        Ok(())
    }
}

#[test]
fn copies_join_in_chunks_that_do_not_grow_without_end() {
    const KIB: usize = 1024;
    let mut both = Both::default();
    for _ in 0..64 {
        both.apply(&WriteOp::Copy(KIB));
    }
    assert_eq!(both.queue.single().map(<[u8]>::len), Some(64 * KIB));
    both.apply(&WriteOp::Copy(1));
    assert_eq!(both.pieces(9).1, 2);
    // One write is one chunk, whatever its size, and the next begins another.
    both.apply(&WriteOp::Copy(70 * KIB));
    assert_eq!(both.pieces(9).1, 3);
    both.apply(&WriteOp::Copy(1));
    assert_eq!(both.pieces(9).1, 4);
}

/// How many jobs are taken at a time.
const MOST: usize = 5;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn ready_is_a_queue(ops in ready_ops()) {
        let (mut ready, mut model, mut next) = (Ready::default(), VecDeque::new(), 0..);
        for op in ops {
            match op {
                ReadyOp::Push => {
                    let job: u32 = next.next().unwrap();
                    prop_assert_eq!(ready.push(job), Ok(()));
                    model.push_back(job);
                }
                ReadyOp::Pop(count) => {
                    for _ in 0..count {
                        prop_assert_eq!(ready.pop(), model.pop_front());
                    }
                }
                ReadyOp::Append(count) => {
                    let mut jobs: VecDeque<_> = next.by_ref().take(count).collect();
                    let taken = count.min(MOST);
                    model.extend(jobs.iter().take(MOST));
                    ready.take_from(&mut jobs, MOST);
                    prop_assert_eq!(jobs.len(), count - taken);
                }
            }
            prop_assert_eq!(ready.len(), model.len());
            prop_assert_eq!(ready.is_empty(), model.is_empty());
            prop_assert!(ready.iter().eq(model.iter()));
        }
    }

    #[test]
    fn a_write_queue_is_a_string_of_bytes(ops in write_ops()) {
        let mut both = Both::default();
        for op in &ops {
            both.apply(op);
            both.check()?;
        }
    }

    /// Sending as the engine sends: pieces out, some of them taken.
    #[test]
    fn what_goes_in_comes_out(ops in write_ops(), taken in prop::collection::vec(1..20_000_usize, 1..6)) {
        let mut both = Both::default();
        for op in ops.iter().filter(|op| matches!(op, WriteOp::Copy(_) | WriteOp::Hold(..))) {
            both.apply(op);
        }
        let mut sent = Vec::new();
        for &room in taken.iter().cycle() {
            let (piece, _) = both.pieces(4);
            let count = room.min(piece.len());
            if count == 0 {
                break;
            }
            sent.extend_from_slice(&piece[..count]);
            both.queue.advance(count);
        }
        prop_assert!(both.queue.is_empty() && sent == both.model);
    }
}
