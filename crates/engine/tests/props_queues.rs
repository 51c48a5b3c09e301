//! [`Ready`] is a queue, [`WriteQueue`](oxloop_engine::WriteQueue) a string of bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::VecDeque;

#[path = "models/write_queue.rs"]
mod write_queue;

use oxloop_engine::Ready;
use proptest::prelude::*;

use write_queue::{Both, WriteOp};

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

#[test]
fn what_is_empty_is_no_piece() {
    let mut both = Both::default();
    for _ in 0..4 {
        both.apply(&WriteOp::Hold(300, 300));
        both.apply(&WriteOp::Copy(0));
    }
    both.apply(&WriteOp::Hold(300, 0));
    both.check();
    assert_eq!(both.pieces(9).1, 1);
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
            both.check();
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
