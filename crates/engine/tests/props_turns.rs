//! A host that takes its jobs by `next_job` lives through the same turns as one that only steps.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::time::Duration;

use oxloop_engine::testing::{Bench, TestHost};
use oxloop_engine::{Direction, Engine, Fd, Key, Moment};
use proptest::prelude::*;

/// What a callback does.
#[derive(Clone, Debug)]
enum Action {
    Nothing,
    Soon(usize),
    /// A timer, so many microseconds from the beginning of time.
    Timer(u32),
    Post,
    Write(usize),
    /// The next poll finds the descriptors ready.
    Ready,
    Watch,
    Unwatch,
    StopAndGoOn,
    Interrupt,
}

const JOBS: [&str; 3] = ["a", "b", "c"];
const WATCHED: i32 = 3;
const STREAM: i32 = 4;

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        30 => Just(Action::Nothing),
        10 => (0..3_usize).prop_map(Action::Soon),
        4 => (0..400_u32).prop_map(Action::Timer),
        2 => Just(Action::Post),
        3 => (1..70_000_usize).prop_map(Action::Write),
        3 => Just(Action::Ready),
        2 => Just(Action::Watch),
        1 => Just(Action::Unwatch),
        1 => Just(Action::StopAndGoOn),
        1 => Just(Action::Interrupt),
    ]
}

/// All that can be seen from outside.
#[derive(Debug, PartialEq)]
struct Seen {
    log: Vec<String>,
    polls: Vec<Option<Duration>>,
    looks: usize,
    sent: (usize, Vec<u8>),
}

fn play(actions: &[Action], tick: f64, direct: bool) -> Seen {
    let mut bench = Bench { tick, direct, ..Bench::default() };
    let stream = bench.engine.open_stream(Fd::new(STREAM).unwrap(), "stream").unwrap();
    bench.engine.start_reading(stream).unwrap();
    bench.engine.call_soon("tick").unwrap();
    bench.engine.begin_run(false);
    let (kernel, mut log, mut actions) = (bench.kernel.clone(), Vec::new(), actions.iter());
    while actions.len() > 0 {
        log.extend(bench.run(|engine, step| {
            // Keeps the loop from waiting for ever.
            if step == "tick" {
                engine.call_soon("tick").unwrap();
            }
            match actions.next() {
                None | Some(Action::Interrupt) => false,
                Some(Action::Ready) => {
                    kernel.incoming(STREAM, Ok(b"data"));
                    kernel.ready(&[(WATCHED, true, false), (STREAM, true, true)]);
                    true
                }
                Some(action) => {
                    act(engine, stream, action);
                    true
                }
            }
        }));
        // Stopped, interrupted, or at the end.
        log.push("next run".to_owned());
        bench.engine.stop(false);
        bench.engine.begin_run(false);
    }
    let sent = (kernel.sends(), kernel.sent(STREAM));
    Seen { log, polls: kernel.timeouts(), looks: bench.looks, sent }
}

fn act(engine: &mut Engine<TestHost>, stream: Key, action: &Action) {
    let watched = Fd::new(WATCHED).unwrap();
    match *action {
        Action::Soon(job) => engine.call_soon(JOBS[job]).unwrap(),
        Action::Timer(micros) => {
            let deadline = Moment::from_seconds(f64::from(micros) * 1e-6).unwrap();
            engine.call_at(deadline, "timer").unwrap();
        }
        Action::Post => {
            engine.door().post("posted").unwrap();
        }
        Action::Write(count) => {
            engine.write(stream, &vec![b'x'; count], || None);
        }
        Action::Watch => {
            engine.watch(watched, Direction::Read, "watch").unwrap();
        }
        Action::Unwatch => {
            engine.unwatch(watched, Direction::Read);
        }
        Action::StopAndGoOn => engine.stop(true),
        Action::Nothing | Action::Ready | Action::Interrupt => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn jobs_taken_directly_are_the_same_jobs(
        actions in prop::collection::vec(action(), 0..150),
        tick in prop::sample::select(vec![0.0, 1e-7, 2e-6, 1e-5, 1e-3]),
    ) {
        prop_assert_eq!(play(&actions, tick, false), play(&actions, tick, true));
    }
}
