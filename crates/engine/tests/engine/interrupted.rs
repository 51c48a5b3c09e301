//! An exception passes through the host in the middle of a turn: what runs next time.

use std::time::Duration;

use oxloop_engine::Step;
use oxloop_engine::testing::Bench;

use crate::setup::{
    add_reader, arrives, call_at, fd, polls, readable, remove_reader, soon, stream, write,
};

/// Two jobs, two readable descriptors and two due timers.
fn two_of_each() -> Bench {
    let mut bench = Bench::default();
    for (number, job, io, timer) in
        [(3, "job 1", "io 1", "timer 1"), (4, "job 2", "io 2", "timer 2")]
    {
        soon(&mut bench.engine, job);
        add_reader(&mut bench.engine, number, io);
        call_at(&mut bench.engine, 0.0, timer);
    }
    readable(&bench, &[3, 4]);
    bench
}

/// Runs until that step.
fn interrupt(bench: &mut Bench, last: &str) -> Vec<String> {
    bench.engine.begin_run(false);
    bench.run(|_, step| step != last)
}

#[test]
fn interrupted_by_a_job_the_other_jobs_and_the_timers_are_kept() {
    let mut bench = two_of_each();
    assert_eq!(interrupt(&mut bench, "job 1"), ["job 1"]);
    assert_eq!(bench.just_turn(), ["job 2", "timer 1", "timer 2"]);
}

#[test]
fn interrupted_by_an_event_the_other_events_are_dropped() {
    let mut bench = two_of_each();
    assert_eq!(interrupt(&mut bench, "io 1"), ["job 1", "job 2", "io 1"]);
    assert_eq!(bench.just_turn(), ["timer 1", "timer 2"]);
}

#[test]
fn a_dropped_event_is_handled_when_the_poller_reports_it_again() {
    let mut bench = two_of_each();
    interrupt(&mut bench, "io 1");
    readable(&bench, &[4]);
    assert_eq!(bench.just_turn(), ["io 2", "timer 1", "timer 2"]);
}

#[test]
fn interrupted_by_a_timer_the_other_due_timers_run_first_among_the_due() {
    let mut bench = two_of_each();
    interrupt(&mut bench, "timer 1");
    call_at(&mut bench.engine, -1.0, "earlier deadline");
    assert_eq!(bench.just_turn(), ["timer 2", "earlier deadline"]);
}

#[test]
fn due_timers_of_an_interrupted_run_need_no_wait() {
    let mut bench = two_of_each();
    interrupt(&mut bench, "timer 1");
    bench.now = -100.0;
    assert_eq!(bench.just_turn(), ["timer 2"]);
    assert_eq!(bench.kernel.timeouts().last(), Some(&Some(Duration::ZERO)));
}

#[test]
fn a_due_timer_of_an_interrupted_run_can_be_cancelled() {
    let mut bench = Bench::default();
    call_at(&mut bench.engine, 0.0, "a");
    let key = call_at(&mut bench.engine, 0.0, "b");
    call_at(&mut bench.engine, 0.0, "c");
    interrupt(&mut bench, "a");
    assert_eq!(bench.engine.cancel_timer(key), Some("b"));
    assert_eq!(bench.just_turn(), ["c"]);
}

#[test]
fn an_interruption_ends_the_batch_but_jobs_of_the_next_turn_do_not_jump_in() {
    let mut bench = Bench::default();
    for job in ["a", "b", "c"] {
        soon(&mut bench.engine, job);
    }
    bench.engine.begin_run(false);
    bench.run(|engine, _| {
        soon(engine, "d");
        false
    });
    assert_eq!(bench.turn(|engine, _| soon(engine, "e")), ["b", "c", "d"]);
}

#[test]
fn the_run_after_an_interruption_polls_in_its_first_turn() {
    let mut bench = two_of_each();
    interrupt(&mut bench, "job 1");
    assert_eq!(polls(&bench), 1);
    bench.just_turn();
    assert_eq!(polls(&bench), 2);
}

#[test]
fn what_was_written_before_an_interruption_leaves_in_the_next_run() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    arrives(&bench, 3, b"ping");
    bench.engine.begin_run(false);
    bench.run(|engine, _| {
        write(engine, key, b"pong");
        false
    });
    assert!(bench.kernel.sent(3).is_empty());
    bench.just_turn();
    assert_eq!(bench.kernel.sent(3), b"pong");
}

#[test]
fn a_listener_that_was_interrupted_accepts_the_rest_later() {
    let mut bench = Bench::default();
    bench.engine.listen(fd(3), 2, "l").unwrap();
    for number in [10, 11, 12] {
        bench.kernel.arrival(Ok(number));
    }
    readable(&bench, &[3]);
    assert_eq!(interrupt(&mut bench, "l accepted 10"), ["l accepted 10"]);
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["l accepted 11", "l accepted 12"]);
}

#[test]
fn a_wait_that_never_came_back_is_forgotten() {
    let mut bench = Bench::default();
    bench.engine.begin_run(false);
    let Step::Wait(wait) = bench.engine.step() else { panic!("should wait") };
    drop(wait);
    soon(&mut bench.engine, "job");
    add_reader(&mut bench.engine, 3, "io");
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["job", "io"]);
}

#[test]
fn an_event_of_an_interrupted_batch_never_reaches_a_new_owner() {
    let mut bench = two_of_each();
    interrupt(&mut bench, "io 1");
    remove_reader(&mut bench.engine, 4);
    add_reader(&mut bench.engine, 4, "new owner");
    assert_eq!(bench.just_turn(), ["timer 1", "timer 2"]);
}

#[test]
fn what_waits_for_its_flush_is_sent_when_the_run_is_over() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    soon(&mut bench.engine, "job");
    bench.engine.begin_run(false);
    bench.run(|engine, _| {
        write(engine, key, b"goodbye");
        false
    });
    assert_eq!(bench.kernel.sends(), 0);
    bench.engine.end_run();
    assert_eq!(bench.kernel.sent(3), b"goodbye");
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.sends(), 1);
}

#[test]
fn an_error_at_the_end_of_the_run_is_told_in_the_next() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"goodbye");
    for _ in 0..2 {
        bench.kernel.room(3, Err(std::io::ErrorKind::BrokenPipe.into()));
    }
    bench.engine.end_run();
    assert_eq!(bench.engine.buffered(key), 7);
    assert_eq!(bench.just_turn(), ["s write failed: broken pipe"]);
}

#[test]
fn a_stream_whose_owner_has_something_to_prepare_is_found_once() {
    let mut bench = Bench::default();
    let (plain, filling) = (stream(&mut bench, 3, "plain"), stream(&mut bench, 4, "filling"));
    write(&mut bench.engine, plain, b"data");
    bench.engine.fill_later(filling);
    assert_eq!(bench.engine.next_fill(), Some(filling));
    assert_eq!(bench.engine.next_fill(), None);
    assert_eq!(bench.just_turn(), Vec::<String>::new());
}
