//! Deadlines: their order, cancelling, and keys that are used again.

use std::sync::LazyLock;
use std::time::Duration;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Moment, NotATime, Timers};

use crate::setup::{add_reader, at, call_at, polls, readable, soon};

#[test]
fn equal_deadlines_run_in_the_order_in_which_they_were_made() {
    let mut bench = Bench { now: 1.0, ..Bench::default() };
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    for name in names {
        call_at(&mut bench.engine, 1.0, name);
    }
    assert_eq!(bench.just_turn(), names);
}

#[test]
fn overdue_timers_run_in_the_order_of_their_deadlines() {
    let mut bench = Bench { now: 10.0, ..Bench::default() };
    for (deadline, name) in [(3.0, "third"), (1.0, "first"), (11.0, "not yet"), (2.0, "second")] {
        call_at(&mut bench.engine, deadline, name);
    }
    assert_eq!(bench.just_turn(), ["first", "second", "third"]);
}

#[test]
fn a_negative_deadline_is_like_any_other() {
    let mut bench = Bench { now: -5.0, ..Bench::default() };
    call_at(&mut bench.engine, -4.0, "later");
    call_at(&mut bench.engine, -6.0, "due");
    assert_eq!(bench.just_turn(), ["due"]);
    bench.now = -4.0;
    assert_eq!(bench.just_turn(), ["later"]);
}

#[test]
fn both_zeros_are_the_same_deadline() {
    let mut bench = Bench::default();
    call_at(&mut bench.engine, 0.0, "first");
    call_at(&mut bench.engine, -0.0, "second");
    assert_eq!(bench.just_turn(), ["first", "second"]);
}

#[test]
fn an_infinite_deadline_waits_for_ages_and_does_not_come() {
    let mut bench = Bench { now: 1e9, ..Bench::default() };
    call_at(&mut bench.engine, f64::INFINITY, "never");
    assert!(bench.just_turn().is_empty());
    let centuries = Duration::from_secs(500 * 365 * 24 * 3600);
    assert!(bench.kernel.timeouts()[0].is_some_and(|timeout| timeout > centuries));
}

#[test]
fn minus_infinity_is_due_at_once_and_before_everything() {
    let mut bench = Bench { now: -1e300, ..Bench::default() };
    call_at(&mut bench.engine, -1e300, "due");
    call_at(&mut bench.engine, f64::NEG_INFINITY, "first");
    assert_eq!(bench.just_turn(), ["first", "due"]);
}

#[test]
fn a_clock_at_infinity_makes_everything_due() {
    let mut bench = Bench { now: f64::INFINITY, ..Bench::default() };
    call_at(&mut bench.engine, f64::INFINITY, "at the end of time");
    assert_eq!(bench.just_turn(), ["at the end of time"]);
}

#[test]
fn a_number_that_is_none_is_no_deadline() {
    assert_eq!(Moment::from_seconds(f64::NAN), Err(NotATime));
}

#[test]
fn a_timer_that_was_cancelled_does_not_run() {
    let mut bench = Bench::default();
    let key = call_at(&mut bench.engine, 0.0, "cancelled");
    call_at(&mut bench.engine, 0.0, "kept");
    assert_eq!(bench.engine.cancel_timer(key), Some("cancelled"));
    assert_eq!(bench.just_turn(), ["kept"]);
}

#[test]
fn cancelling_twice_finds_nothing_the_second_time() {
    let mut bench = Bench::default();
    let key = call_at(&mut bench.engine, 1.0, "a");
    assert_eq!(bench.engine.cancel_timer(key), Some("a"));
    assert_eq!(bench.engine.cancel_timer(key), None);
}

#[test]
fn cancelling_after_it_ran_or_while_it_runs_finds_nothing() {
    let mut bench = Bench::default();
    let key = call_at(&mut bench.engine, 0.0, "a");
    bench.turn(|engine, _| assert_eq!(engine.cancel_timer(key), None));
    assert_eq!(bench.engine.cancel_timer(key), None);
}

#[test]
fn a_due_timer_can_be_cancelled_by_whatever_runs_before_it() {
    for by in ["job", "io", "timer"] {
        let mut bench = Bench::default();
        soon(&mut bench.engine, "job");
        add_reader(&mut bench.engine, 3, "io");
        readable(&bench, &[3]);
        call_at(&mut bench.engine, -1.0, "timer");
        let key = call_at(&mut bench.engine, 0.0, "cancelled");
        let log = bench.turn(|engine, step| {
            if step == by {
                assert_eq!(engine.cancel_timer(key), Some("cancelled"));
            }
        });
        assert_eq!(log, ["job", "io", "timer"]);
        assert_eq!(bench.engine.cancel_timer(key), None);
    }
}

#[test]
fn cancelled_timers_are_not_waited_for() {
    let mut bench = Bench::default();
    let keys: Vec<_> = (1..=3).map(|s| call_at(&mut bench.engine, f64::from(s), "x")).collect();
    bench.engine.cancel_timer(keys[0]);
    bench.just_turn();
    bench.engine.cancel_timer(keys[1]);
    bench.engine.cancel_timer(keys[2]);
    bench.just_turn();
    assert_eq!(bench.kernel.timeouts(), [Some(Duration::from_secs(2)), None]);
}

#[test]
fn a_timer_made_by_a_due_timer_runs_in_the_next_turn_only() {
    let mut bench = Bench { now: 5.0, ..Bench::default() };
    call_at(&mut bench.engine, 1.0, "parent");
    let first = bench.turn(|engine, _| {
        call_at(engine, -1.0, "child");
    });
    assert_eq!(first, ["parent"]);
    assert_eq!(bench.just_turn(), ["child"]);
    assert_eq!(bench.kernel.timeouts(), [Some(Duration::ZERO), Some(Duration::ZERO)]);
}

#[test]
fn a_timer_that_a_job_makes_for_the_past_waits_for_the_next_turn() {
    let mut bench = Bench { now: 5.0, ..Bench::default() };
    soon(&mut bench.engine, "job");
    let first = bench.turn(|engine, _| {
        call_at(engine, 1.0, "child");
    });
    assert_eq!(first, ["job"]);
    assert_eq!(bench.just_turn(), ["child"]);
}

#[test]
fn the_key_of_a_timer_that_ran_does_not_name_its_successor() {
    let mut bench = Bench::default();
    let old = call_at(&mut bench.engine, 0.0, "old");
    bench.just_turn();
    let new = call_at(&mut bench.engine, 0.0, "new");
    assert_ne!(old, new);
    assert_eq!(bench.engine.cancel_timer(old), None);
    assert_eq!(bench.just_turn(), ["new"]);
}

#[test]
fn the_key_of_a_cancelled_timer_does_not_name_its_successor() {
    let mut bench = Bench::default();
    let old = call_at(&mut bench.engine, 0.0, "old");
    call_at(&mut bench.engine, 0.0, "neighbour");
    bench.engine.cancel_timer(old);
    call_at(&mut bench.engine, 2.0, "new");
    assert_eq!(bench.engine.cancel_timer(old), None);
    assert_eq!(bench.just_turn(), ["neighbour"]);
    bench.now = 2.0;
    assert_eq!(bench.just_turn(), ["new"]);
}

#[test]
fn a_successor_of_a_due_and_cancelled_timer_does_not_run_in_its_place() {
    let mut bench = Bench::default();
    soon(&mut bench.engine, "job");
    let due = call_at(&mut bench.engine, 0.0, "due");
    let log = bench.turn(|engine, _| {
        engine.cancel_timer(due);
        call_at(engine, 0.0, "successor");
    });
    assert_eq!(log, ["job"]);
    assert_eq!(bench.just_turn(), ["successor"]);
}

#[test]
fn a_timer_can_restart_itself_for_ever() {
    let mut bench = Bench::default();
    call_at(&mut bench.engine, 0.0, "tick");
    for second in 0..100 {
        bench.now = f64::from(second);
        let next = bench.now + 1.0;
        let log = bench.turn(|engine, _| {
            call_at(engine, next, "tick");
        });
        assert_eq!(log, ["tick"]);
    }
    assert_eq!(polls(&bench), 100);
}

#[test]
fn thousands_of_timeouts_that_did_not_happen_leave_the_others_in_order() {
    static NAMES: LazyLock<Vec<String>> =
        LazyLock::new(|| (0..5000).map(|number: u32| number.to_string()).collect());
    let mut bench = Bench { now: 1e6, ..Bench::default() };
    // Deadlines in no order; one of fifty is kept.
    let all: Vec<_> = (0..5000_u32)
        .map(|number| {
            let deadline = f64::from(number.wrapping_mul(2_654_435_761) % 10_007);
            let name = NAMES[number as usize].as_str();
            (deadline, name, call_at(&mut bench.engine, deadline, name))
        })
        .collect();
    let (mut kept, cancelled): (Vec<_>, Vec<_>) =
        all.into_iter().enumerate().partition(|(number, _)| number % 50 == 0);
    for (_, (_, name, key)) in cancelled {
        assert_eq!(bench.engine.cancel_timer(key), Some(name));
    }
    kept.sort_by(|a, b| a.1.0.total_cmp(&b.1.0));
    let names: Vec<_> = kept.into_iter().map(|(_, (_, name, _))| name).collect();
    assert_eq!(bench.just_turn(), names);
}

#[test]
fn timeouts_that_did_not_happen_leave_no_memory_behind() {
    let mut timers = Timers::default();
    for _ in 0..10 {
        timers.push(at(1000.0), "kept").unwrap();
    }
    for number in 0..10_000 {
        // Earlier than all others, so not the last of the heap.
        let key = timers.push(at(f64::from(-number)), "cancelled").unwrap();
        assert_eq!(timers.cancel(key), Some("cancelled"));
    }
    let deadlines = format!("{timers:?}").matches("Node").count();
    assert!((10..=64).contains(&deadlines), "{deadlines} deadlines for {} jobs", timers.len());
    assert_eq!(timers.next_deadline(), Some(at(1000.0)));
}
