//! Timers do what a sorted list would do, after any operations.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "models/timers.rs"]
mod timers;

use proptest::prelude::*;

use timers::{Both, Op};

/// Few different ones, so that many are equal.
fn deadline() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => (-5..40_i32).prop_map(f64::from),
        5 => -5.0..40.0,
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(-0.0),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        40 => deadline().prop_map(Op::Push),
        35 => any::<usize>().prop_map(Op::Cancel),
        8 => deadline().prop_map(Op::PopDue),
        3 => (-5.0..5.0).prop_map(Op::RunDue),
        1 => deadline().prop_map(Op::RunDue),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let drain = prop_oneof![1 => Just(Op::Drain), 300 => op()];
    prop::collection::vec(drain, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn timers_are_a_sorted_list(ops in ops()) {
        let mut both = Both::default();
        for op in &ops {
            both.apply(op);
        }
        both.check_jobs();
        both.run_due(f64::INFINITY);
        both.check();
    }

    /// Enough of them that the heap is rebuilt, in any order of cancelling.
    #[test]
    fn mass_cancelling_keeps_the_order_of_the_rest(
        deadlines in prop::collection::vec(deadline(), 70..150),
        order in any::<prop::sample::Index>().prop_map(|index| index.index(usize::MAX)),
        kept in 0..40_usize,
    ) {
        let mut both = Both::default();
        for &deadline in &deadlines {
            both.apply(&Op::Push(deadline));
        }
        // Steps through all keys, for a prime is coprime to every length below it.
        let count = deadlines.len();
        for step in 0..count - kept {
            both.apply(&Op::Cancel((order % count) + step * 307));
        }
        prop_assert_eq!(both.timers.len(), kept);
        both.check_jobs();
        both.run_due(f64::INFINITY);
    }
}
