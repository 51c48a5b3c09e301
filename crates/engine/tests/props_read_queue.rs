//! [`ReadQueue`] is a string of bytes: what comes in at one end leaves at the other.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use oxloop_engine::ReadQueue;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Push(Vec<u8>),
    Copy(Vec<u8>),
    Advance(usize),
    TakeWhole,
    /// What, and from where on.
    Find(Vec<u8>, usize),
}

/// Few different bytes, so that needles are found.
fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..3_u8, len)
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => bytes(0..40).prop_map(Op::Push),
        2 => bytes(0..40).prop_map(Op::Copy),
        5 => (0..60_usize).prop_map(Op::Advance),
        2 => Just(Op::TakeWhole),
        4 => (bytes(1..5), 0..50_usize).prop_map(|(needle, from)| Op::Find(needle, from)),
    ];
    prop::collection::vec(op, 0..60)
}

fn find(model: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    (from..model.len()).find(|&at| model[at..].starts_with(needle))
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(512)
    })]

    #[test]
    fn a_read_queue_is_a_string_of_bytes(ops in ops()) {
        let mut queue = ReadQueue::<Vec<u8>>::default();
        let mut model = Vec::new();
        for op in ops {
            match op {
                Op::Push(piece) => {
                    model.extend_from_slice(&piece);
                    queue.push(piece).unwrap();
                }
                Op::Copy(data) => {
                    model.extend_from_slice(&data);
                    queue.copy(&data).unwrap();
                }
                Op::Advance(count) => {
                    model.drain(..count.min(model.len()));
                    queue.advance(count);
                }
                Op::TakeWhole => {
                    if let Some(piece) = queue.take_whole() {
                        prop_assert_eq!(&piece, &model);
                        model.clear();
                    }
                }
                Op::Find(needle, from) => {
                    prop_assert_eq!(queue.find(&needle, from), find(&model, &needle, from));
                }
            }
            prop_assert_eq!(queue.bytes(), &model[..]);
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.is_empty(), model.is_empty());
        }
    }
}

#[test]
fn one_piece_is_given_out_as_it_came() {
    let mut queue = ReadQueue::default();
    let piece = vec![1; 100];
    let address = piece.as_ptr().addr();
    queue.push(piece).unwrap();
    let taken = queue.take_whole().unwrap();
    assert_eq!(taken.as_ptr().addr(), address);
    assert!(queue.is_empty());
}

#[test]
fn what_was_begun_or_joined_is_not_a_whole_piece() {
    let mut queue = ReadQueue::default();
    queue.push(vec![1, 2, 3]).unwrap();
    queue.advance(1);
    assert_eq!(queue.take_whole(), None);
    queue.push(vec![4]).unwrap();
    assert_eq!(queue.take_whole(), None);
    assert_eq!(queue.bytes(), [2, 3, 4]);
}
