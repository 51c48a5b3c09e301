//! What the engine holds for its host: reached by `visit`, given back by `drain`.

use oxloop_engine::testing::{Bench, TestHost};
use oxloop_engine::{Closing, Engine, Payload};

use crate::setup::{add_reader, add_writer, blocked_stream, call_at, fd, soon, stream, write};

fn visited(engine: &Engine<TestHost>) -> Vec<String> {
    let mut names = Vec::new();
    engine.visit(|payload| names.push(format!("{payload:?}")));
    names.sort();
    names
}

fn drained(engine: &mut Engine<TestHost>) -> Vec<String> {
    let mut names: Vec<_> = engine.drain().iter().map(|payload| format!("{payload:?}")).collect();
    names.sort();
    names
}

/// A payload in every place, and what they are called.
fn full() -> (Bench, Vec<String>) {
    let mut bench = Bench::default();
    call_at(&mut bench.engine, 0.0, "last words");
    call_at(&mut bench.engine, 0.0, "due timer");
    bench.engine.begin_run(false);
    // Interrupted among the due timers.
    assert_eq!(bench.run(|_, _| false), ["last words"]);
    soon(&mut bench.engine, "ready");
    call_at(&mut bench.engine, 5.0, "timer");
    bench.engine.door().post("inbox").unwrap();
    add_reader(&mut bench.engine, 3, "reader");
    add_writer(&mut bench.engine, 3, "writer");
    add_writer(&mut bench.engine, 4, "lone writer");
    stream(&mut bench, 5, "stream");
    bench.engine.listen(fd(6), 1, "listener").unwrap();
    let jobs =
        ["due timer", "inbox", "lone writer", "reader", "ready", "timer", "writer"].into_iter();
    let conns = ["listener", "stream"].into_iter();
    let mut names: Vec<_> = conns
        .map(|name| format!("{:?}", Payload::<&str, &str>::Conn(name)))
        .chain(jobs.map(|name| format!("{:?}", Payload::<&str, &str>::Job(name))))
        .collect();
    names.sort();
    (bench, names)
}

#[test]
fn visit_reaches_every_place_once() {
    let (bench, names) = full();
    assert_eq!(visited(&bench.engine), names);
    assert_eq!(visited(&bench.engine), names);
}

#[test]
fn drain_returns_everything_once() {
    let (mut bench, names) = full();
    assert_eq!(drained(&mut bench.engine), names);
    assert!(drained(&mut bench.engine).is_empty());
    assert!(visited(&bench.engine).is_empty());
}

#[test]
fn drain_deregisters_what_was_registered() {
    let (mut bench, _) = full();
    bench.engine.drain();
    assert!((3..=6).all(|number| bench.kernel.token(number).is_none()));
}

#[test]
fn what_comes_after_a_drain_is_held_and_returned_again() {
    let (mut bench, _) = full();
    let door = bench.engine.door();
    bench.engine.drain();
    door.post("posted").unwrap();
    soon(&mut bench.engine, "ready");
    add_reader(&mut bench.engine, 3, "reader");
    let names = visited(&bench.engine);
    assert_eq!(names, ["Job(\"posted\")", "Job(\"reader\")", "Job(\"ready\")"]);
    assert_eq!(drained(&mut bench.engine), names);
}

#[test]
fn an_engine_that_was_drained_runs_nothing_of_what_it_held() {
    let (mut bench, _) = full();
    bench.kernel.ready(&[(3, true, true), (5, true, false), (6, true, false)]);
    bench.engine.drain();
    bench.now = 10.0;
    assert!(bench.just_turn().is_empty());
}

#[test]
fn a_drain_in_the_middle_of_a_turn_ends_it() {
    let mut bench = Bench::default();
    soon(&mut bench.engine, "close");
    soon(&mut bench.engine, "never");
    call_at(&mut bench.engine, 0.0, "never");
    add_reader(&mut bench.engine, 3, "never");
    let key = stream(&mut bench, 4, "never");
    bench.kernel.ready(&[(3, true, true), (4, true, true)]);
    let log = bench.turn(|engine, _| {
        write(engine, key, b"never");
        assert_eq!(engine.drain().len(), 4);
    });
    assert_eq!((log, bench.kernel.sends()), (vec!["close".to_owned()], 0));
}

#[test]
fn a_job_that_runs_is_its_hosts_and_no_longer_visited() {
    let mut bench = Bench::default();
    soon(&mut bench.engine, "running");
    call_at(&mut bench.engine, 0.0, "running too");
    bench.turn(|engine, step| assert!(!visited(engine).contains(&format!("Job({step:?})"))));
}

#[test]
fn a_watch_that_runs_stays_and_is_visited() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    bench.kernel.ready(&[(3, true, false)]);
    bench.turn(|engine, _| assert_eq!(visited(engine), ["Job(\"reader\")"]));
}

#[test]
fn the_jobs_of_this_turn_that_have_not_run_are_visited() {
    let mut bench = Bench::default();
    for job in ["1", "2", "3"] {
        soon(&mut bench.engine, job);
        call_at(&mut bench.engine, 0.0, job);
    }
    let mut left = 6;
    bench.turn(|engine, _| {
        left -= 1;
        assert_eq!(visited(engine).len(), left);
    });
}

#[test]
fn a_stream_is_held_until_it_is_released() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 10);
    bench.kernel.room(3, Ok(0));
    assert!(matches!(bench.engine.close(key), Closing::AfterFlush));
    assert_eq!(visited(&bench.engine), ["Conn(\"s\")"]);
    bench.engine.abort(key);
    assert_eq!(visited(&bench.engine), ["Conn(\"s\")"]);
    bench.engine.release(key);
    assert!(visited(&bench.engine).is_empty());
}

#[test]
fn what_the_engine_gave_back_is_no_longer_visited() {
    let (mut bench, _) = full();
    bench.engine.unwatch(fd(3), oxloop_engine::Direction::Read);
    let key = bench.engine.listener_on(fd(6)).unwrap();
    bench.engine.unlisten(key);
    let names = visited(&bench.engine);
    assert!(!names.contains(&"Job(\"reader\")".to_owned()), "{names:?}");
    assert!(!names.contains(&"Conn(\"listener\")".to_owned()), "{names:?}");
    assert!(names.contains(&"Job(\"writer\")".to_owned()), "{names:?}");
}

#[test]
fn an_owner_that_lost_its_number_is_still_visited_and_returned() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "old");
    stream(&mut bench, 3, "new");
    assert_eq!(visited(&bench.engine), ["Conn(\"new\")", "Conn(\"old\")"]);
    assert_eq!(drained(&mut bench.engine), ["Conn(\"new\")", "Conn(\"old\")"]);
}
