//! [`WriteQueue`] is a string of bytes.

#![allow(dead_code, reason = "property tests and fuzzers each use a part of it")]

use std::io::IoSlice;
use std::sync::LazyLock;

use arbitrary::{Result, Unstructured};
use oxloop_engine::WriteQueue;

#[derive(Clone, Debug)]
pub(crate) enum WriteOp {
    Copy(usize),
    /// So many bytes, of which the first were sent already.
    Hold(usize, usize),
    Advance(usize),
    AdvanceAll,
    Clear,
}

/// The queue, and the bytes that it should hold.
#[derive(Default)]
pub(crate) struct Both {
    pub(crate) queue: WriteQueue<Vec<u8>>,
    pub(crate) model: Vec<u8>,
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

    pub(crate) fn apply(&mut self, op: &WriteOp) {
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
    pub(crate) fn pieces(&self, count: usize) -> (Vec<u8>, usize) {
        let mut slices = vec![IoSlice::new(&[]); count];
        let filled = self.queue.pieces(&mut slices);
        let pieces: Vec<&[u8]> = slices[..filled].iter().map(|slice| &**slice).collect();
        (pieces.concat(), filled)
    }

    pub(crate) fn check(&self) {
        assert_eq!(self.queue.len(), self.model.len());
        assert_eq!(self.queue.is_empty(), self.model.is_empty());
        let (all, count) = self.pieces(100);
        assert!(all == self.model, "{} bytes in {count} pieces are not the same", all.len());
        let (some, filled) = self.pieces(3);
        assert!(filled == count.min(3) && self.model.starts_with(&some));
        match self.queue.single() {
            Some(piece) => assert!(count == 1 && piece == self.model),
            None => assert!(count != 1),
        }
        // What is not empty makes progress: a send of nothing would look like a full kernel.
        assert!(self.model.is_empty() || !some.is_empty());
    }
}

/// Operations out of a fuzzer's bytes.
pub(crate) fn play(data: &[u8]) {
    let (mut u, mut both) = (Unstructured::new(data), Both::default());
    while let (false, Ok(op)) = (u.is_empty(), op(&mut u)) {
        both.apply(&op);
        both.check();
    }
}

fn op(u: &mut Unstructured<'_>) -> Result<WriteOp> {
    Ok(match u.int_in_range(0..=15)? {
        0..=5 => WriteOp::Copy(size(u)?),
        6..=8 => {
            let len = size(u)?;
            WriteOp::Hold(len, u.int_in_range(0..=len)?)
        }
        9..=13 => WriteOp::Advance(size(u)?),
        14 => WriteOp::AdvanceAll,
        _ => WriteOp::Clear,
    })
}

/// Mostly small; some fill a chunk.
fn size(u: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match u.arbitrary::<u8>()? {
        255 => u.int_in_range(60_000..=70_000)?,
        230..=254 => u.int_in_range(0..=5000)?,
        small => small.into(),
    })
}
