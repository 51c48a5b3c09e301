//! What happens in a turn, in which order, and how a run ends.

use std::io::ErrorKind;
use std::time::Duration;

use oxloop_engine::Step;
use oxloop_engine::testing::Bench;

use crate::setup::{add_reader, add_writer, at, call_at, polls, readable, soon, stream, write};

/// A job, a readable descriptor and a due timer, all for the next turn.
fn one_of_each() -> Bench {
    let mut bench = Bench::default();
    call_at(&mut bench.engine, 0.0, "timer");
    add_reader(&mut bench.engine, 3, "io");
    soon(&mut bench.engine, "job");
    readable(&bench, &[3]);
    bench
}

#[test]
fn ready_jobs_run_before_io_and_io_before_due_timers() {
    assert_eq!(one_of_each().just_turn(), ["job", "io", "timer"]);
}

#[test]
fn what_a_turn_schedules_runs_in_the_next() {
    let mut bench = one_of_each();
    let first = bench.turn(|engine, step| match step {
        "job" => soon(engine, "after job"),
        "io" => soon(engine, "after io"),
        _ => soon(engine, "after timer"),
    });
    assert_eq!(first, ["job", "io", "timer"]);
    assert_eq!(bench.just_turn(), ["after job", "after io", "after timer"]);
}

#[test]
fn jobs_run_in_the_order_in_which_they_were_scheduled() {
    let mut bench = Bench::default();
    for job in ["a", "b", "c"] {
        soon(&mut bench.engine, job);
    }
    assert_eq!(bench.just_turn(), ["a", "b", "c"]);
}

#[test]
fn events_are_handled_in_the_order_of_the_poller_and_readers_before_writers() {
    let mut bench = Bench::default();
    for (number, reader, writer) in [(3, "read 3", "write 3"), (4, "read 4", "write 4")] {
        add_reader(&mut bench.engine, number, reader);
        add_writer(&mut bench.engine, number, writer);
    }
    bench.kernel.ready(&[(4, true, true), (3, true, true)]);
    assert_eq!(bench.just_turn(), ["read 4", "write 4", "read 3", "write 3"]);
}

#[test]
fn a_run_that_was_stopped_beforehand_is_one_turn_that_does_not_wait() {
    let mut bench = Bench::default();
    call_at(&mut bench.engine, 5.0, "later");
    bench.engine.stop(true);
    bench.engine.begin_run(false);
    assert!(bench.run(|_, _| true).is_empty());
    assert_eq!(bench.kernel.timeouts(), [Some(Duration::ZERO)]);
}

#[test]
fn a_stopped_run_still_runs_what_is_ready_and_what_the_poll_finds() {
    let mut bench = one_of_each();
    bench.engine.stop(true);
    bench.engine.begin_run(false);
    assert_eq!(bench.run(|_, _| true), ["job", "io", "timer"]);
}

#[test]
fn stop_lets_the_turn_end_and_keeps_what_it_scheduled() {
    let mut bench = one_of_each();
    soon(&mut bench.engine, "second job");
    bench.engine.begin_run(false);
    let log = bench.run(|engine, step| {
        if step == "job" {
            engine.stop(true);
            soon(engine, "late");
        }
        true
    });
    assert_eq!(log, ["job", "second job", "io", "timer"]);
    assert!(bench.engine.is_stopping());
    bench.engine.stop(false);
    assert!(!bench.engine.is_stopping());
    assert_eq!(bench.just_turn(), ["late"]);
}

#[test]
fn a_stop_that_was_taken_back_in_the_same_turn_stops_nothing() {
    let mut bench = Bench::default();
    soon(&mut bench.engine, "stop");
    bench.engine.begin_run(false);
    let log = bench.run(|engine, step| {
        match step {
            "stop" => {
                engine.stop(true);
                soon(engine, "go on");
                engine.stop(false);
                soon(engine, "end");
            }
            "end" => engine.stop(true),
            _ => {}
        }
        true
    });
    assert_eq!(log, ["stop", "go on", "end"]);
}

#[test]
fn a_single_turn_ends_although_more_is_ready() {
    let mut bench = Bench::default();
    soon(&mut bench.engine, "a");
    for _ in 0..3 {
        let log = bench.turn(|engine, _| soon(engine, "a"));
        assert_eq!(log, ["a"]);
    }
}

#[test]
fn a_single_turn_with_nothing_to_do_waits() {
    let mut bench = Bench::default();
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.timeouts(), [None]);
}

#[test]
fn the_first_turn_of_every_run_polls() {
    let mut bench = Bench::default();
    for run in 1..=5 {
        soon(&mut bench.engine, "job");
        bench.just_turn();
        assert_eq!(polls(&bench), run);
    }
}

#[test]
fn a_loop_with_jobs_polls_without_waiting() {
    let mut bench = one_of_each();
    bench.just_turn();
    assert_eq!(bench.kernel.timeouts(), [Some(Duration::ZERO)]);
}

#[test]
fn a_loop_without_timers_waits_without_end_and_never_asks_for_the_time() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "io");
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["io"]);
    assert_eq!((bench.kernel.timeouts(), bench.looks), (vec![None], 0));
}

#[test]
fn the_wait_lasts_until_the_next_deadline() {
    let mut bench = Bench { now: 1.0, ..Bench::default() };
    call_at(&mut bench.engine, 8.0, "far");
    call_at(&mut bench.engine, 1.5, "near");
    bench.just_turn();
    assert_eq!(bench.kernel.timeouts(), [Some(Duration::from_millis(500))]);
}

#[test]
fn a_wait_is_exact_below_a_millisecond_and_rounded_up_below_a_nanosecond() {
    for (deadline, nanos) in [(2.5e-4, 250_000), (1e-6, 1000), (2.5e-9, 3), (1e-12, 1)] {
        let mut bench = Bench::default();
        call_at(&mut bench.engine, deadline, "timer");
        bench.just_turn();
        assert_eq!(bench.kernel.timeouts(), [Some(Duration::from_nanos(nanos))]);
    }
}

#[test]
fn a_deadline_that_has_passed_is_not_waited_for() {
    let mut bench = Bench { now: 2.0, ..Bench::default() };
    call_at(&mut bench.engine, 1.0, "overdue");
    bench.engine.begin_run(true);
    assert!(matches!(bench.engine.step(), Step::Clock));
    bench.engine.tell(at(bench.now));
    assert!(matches!(bench.engine.step(), Step::Job("overdue")));
    assert_eq!(bench.kernel.timeouts(), [Some(Duration::ZERO)]);
}

#[test]
fn a_timer_whose_deadline_ends_the_wait_runs_in_the_same_turn() {
    let mut bench = Bench::default();
    call_at(&mut bench.engine, 5.0, "timer");
    bench.engine.begin_run(true);
    assert!(matches!(bench.engine.step(), Step::Clock));
    bench.engine.tell(at(0.0));
    let Step::Wait(mut wait) = bench.engine.step() else { panic!("should wait") };
    assert_eq!(wait.timeout(), Some(Duration::from_secs(5)));
    wait.block();
    bench.engine.waited(wait).unwrap();
    bench.now = 5.0;
    assert_eq!(bench.run(|_, _| true), ["timer"]);
}

#[test]
fn a_wait_that_ends_early_leaves_the_timer_for_a_later_turn() {
    let mut bench = Bench::default();
    call_at(&mut bench.engine, 5.0, "timer");
    bench.engine.begin_run(false);
    bench.engine.stop(true);
    assert!(bench.run(|_, _| true).is_empty());
    bench.engine.stop(false);
    bench.now = 4.999;
    assert!(bench.just_turn().is_empty());
    bench.now = 5.0;
    assert_eq!(bench.just_turn(), ["timer"]);
}

#[test]
fn a_clock_that_goes_backwards_makes_timers_late_but_loses_none() {
    let mut bench = Bench { now: 100.0, ..Bench::default() };
    call_at(&mut bench.engine, 101.0, "timer");
    bench.just_turn();
    bench.now = 40.0;
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.timeouts()[1], Some(Duration::from_secs(61)));
    bench.now = 101.0;
    assert_eq!(bench.just_turn(), ["timer"]);
}

#[test]
fn what_was_written_outside_a_turn_leaves_before_the_wait() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"hello");
    bench.engine.begin_run(true);
    assert!(matches!(bench.engine.step(), Step::Wait(_)));
    assert_eq!(bench.kernel.sent(3), b"hello");
}

#[test]
fn a_failed_poll_is_reported_and_the_turn_goes_on() {
    let mut bench = one_of_each();
    bench.kernel.fail("wait", ErrorKind::InvalidInput);
    let log = bench.just_turn();
    assert_eq!(log, ["poll failed: invalid input parameter", "job", "timer"]);
    assert_eq!(bench.just_turn(), ["io"]);
}

#[test]
fn a_failed_wait_is_reported_and_the_turn_goes_on() {
    let mut bench = Bench::default();
    bench.kernel.fail("wait", ErrorKind::InvalidInput);
    assert_eq!(bench.just_turn(), ["wait failed: invalid input parameter"]);
    soon(&mut bench.engine, "job");
    assert_eq!(bench.just_turn(), ["job"]);
}

#[test]
fn a_kernel_that_cannot_be_waited_for_is_reported() {
    let mut bench = Bench::default();
    bench.kernel.fail("prepare", ErrorKind::OutOfMemory);
    bench.engine.begin_run(false);
    assert_eq!(bench.run(|_, _| false), ["poll failed: out of memory"]);
    assert_eq!(polls(&bench), 0);
    soon(&mut bench.engine, "job");
    assert_eq!(bench.just_turn(), ["job"]);
}
