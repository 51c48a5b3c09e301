//! The door for other threads: order, wake-ups, and nothing lost.

use std::thread;
use std::time::Duration;

use oxloop_engine::testing::{Bench, Script, ToyTls};
use oxloop_engine::{Door, Engine, Host, Step, Wait};

use crate::setup::{add_reader, at, call_at, readable, soon};

/// Answers the clock until the engine wants to wait.
fn until_wait(bench: &mut Bench) -> Wait<Script> {
    bench.engine.begin_run(false);
    loop {
        match bench.engine.step() {
            Step::Clock => bench.engine.tell(at(bench.now)),
            Step::Wait(wait) => return wait,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_was_posted_before_the_wait_makes_it_unnecessary() {
    let mut bench = Bench::default();
    bench.engine.door().post("posted").unwrap();
    assert_eq!(bench.just_turn(), ["posted"]);
    assert_eq!(bench.kernel.timeouts(), [Some(Duration::ZERO)]);
}

#[test]
fn what_is_posted_during_the_wait_runs_in_its_turn_before_the_events() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "io");
    readable(&bench, &[3]);
    let door = bench.engine.door();
    let mut wait = until_wait(&mut bench);
    wait.block();
    door.post("posted").unwrap();
    bench.engine.waited(wait).unwrap();
    assert_eq!(bench.run(|_, step| step != "io"), ["posted", "io"]);
}

#[test]
fn what_is_posted_during_a_wait_for_a_timer_runs_before_the_timer() {
    let mut bench = Bench::default();
    call_at(&mut bench.engine, 1.0, "timer");
    let door = bench.engine.door();
    let mut wait = until_wait(&mut bench);
    wait.block();
    door.post("posted").unwrap();
    bench.engine.waited(wait).unwrap();
    bench.now = 1.0;
    assert_eq!(bench.run(|_, step| step != "timer"), ["posted", "timer"]);
}

#[test]
fn what_is_posted_in_a_turn_runs_in_the_next_after_what_was_scheduled() {
    let mut bench = Bench::default();
    let door = bench.engine.door();
    soon(&mut bench.engine, "job");
    let log = bench.turn(|engine, _| {
        door.post("posted").unwrap();
        soon(engine, "scheduled");
    });
    assert_eq!(log, ["job"]);
    assert_eq!(bench.just_turn(), ["scheduled", "posted"]);
}

/// What a wait for a timer is shortened to by what the host did between step and wait.
fn reconsidered(act: impl FnOnce(&mut Bench)) -> Option<Duration> {
    let mut bench = Bench::default();
    call_at(&mut bench.engine, 5.0, "timer");
    let mut wait = until_wait(&mut bench);
    act(&mut bench);
    bench.engine.reconsider(&mut wait);
    wait.timeout()
}

#[test]
fn a_wait_is_shortened_to_a_look_if_there_is_something_to_do_by_now() {
    assert_eq!(reconsidered(|_| ()), Some(Duration::from_secs(5)));
    assert_eq!(reconsidered(|bench| soon(&mut bench.engine, "job")), Some(Duration::ZERO));
    let post = |bench: &mut Bench| drop(bench.engine.door().post("posted"));
    assert_eq!(reconsidered(post), Some(Duration::ZERO));
    assert_eq!(reconsidered(|bench| bench.engine.stop(true)), Some(Duration::ZERO));
    for (deadline, timeout) in [(4.0, 0), (6.0, 5)] {
        let timer = |bench: &mut Bench| {
            call_at(&mut bench.engine, deadline, "another timer");
        };
        assert_eq!(reconsidered(timer), Some(Duration::from_secs(timeout)));
    }
}

#[test]
fn a_wait_without_end_is_shortened_by_the_first_timer() {
    let mut bench = Bench::default();
    let mut wait = until_wait(&mut bench);
    bench.engine.reconsider(&mut wait);
    assert_eq!(wait.timeout(), None);
    call_at(&mut bench.engine, 5.0, "timer");
    bench.engine.reconsider(&mut wait);
    assert_eq!(wait.timeout(), Some(Duration::ZERO));
}

#[test]
fn a_loop_that_is_awake_is_not_woken() {
    let mut bench = Bench::default();
    let door = bench.engine.door();
    door.post("1").unwrap();
    bench.turn(|_, _| drop(door.post("2")));
    door.wake();
    assert_eq!(bench.kernel.wakes(), 0);
}

#[test]
fn a_loop_that_sleeps_is_woken_by_the_first_post_only() {
    let mut bench = Bench::default();
    let door = bench.engine.door();
    let wait = until_wait(&mut bench);
    for _ in 0..5 {
        door.post("posted").unwrap();
    }
    assert_eq!(bench.kernel.wakes(), 1);
    bench.engine.waited(wait).unwrap();
    door.post("posted").unwrap();
    assert_eq!(bench.kernel.wakes(), 1);
}

#[test]
fn a_loop_that_woke_by_itself_is_not_woken() {
    let mut bench = Bench::default();
    let door = bench.engine.door();
    let wait = until_wait(&mut bench);
    bench.engine.waited(wait).unwrap();
    door.post("posted").unwrap();
    assert_eq!(bench.kernel.wakes(), 0);
}

#[test]
fn every_sleep_can_be_ended_again() {
    let mut bench = Bench::default();
    let door = bench.engine.door();
    for sleep in 1..=3 {
        let wait = until_wait(&mut bench);
        door.wake();
        door.wake();
        assert_eq!(bench.kernel.wakes(), sleep);
        bench.engine.waited(wait).unwrap();
        bench.engine.stop(true);
        assert!(bench.run(|_, _| true).is_empty());
        bench.engine.stop(false);
    }
}

#[test]
fn a_kernel_that_cannot_be_prepared_is_not_slept_on() {
    let mut bench = Bench::default();
    let door = bench.engine.door();
    bench.kernel.fail("prepare", std::io::ErrorKind::OutOfMemory);
    bench.engine.begin_run(false);
    bench.run(|_, _| false);
    door.post("posted").unwrap();
    assert_eq!(bench.kernel.wakes(), 0);
    assert_eq!(bench.just_turn(), ["posted"]);
}

#[test]
fn a_door_outlives_its_loop() {
    let bench = Bench::default();
    let door = bench.engine.door();
    drop(bench);
    door.post("to nobody").unwrap();
    door.wake();
}

/// A host whose jobs say who posted them, and as which.
struct Numbers;

impl Host for Numbers {
    type Job = (usize, usize);
    type Conn = ();
    type Bytes = Vec<u8>;
    type Tls = ToyTls;
    type Kernel = Script;
}

/// Runs the loop in this thread until that many jobs have run; the kernel really blocks.
fn take(engine: &mut Engine<Numbers>, count: usize) -> Vec<(usize, usize)> {
    let mut taken = Vec::new();
    engine.begin_run(false);
    while taken.len() < count {
        match engine.step() {
            Step::Job(job) => taken.push(job),
            Step::Clock => engine.tell(at(0.0)),
            Step::Wait(mut wait) => {
                wait.block();
                // Fails when nobody has woken it for ten seconds: a wake-up was lost.
                engine.waited(wait).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    taken
}

fn post_all(door: &Door<(usize, usize), Script>, thread: usize, count: usize) {
    for number in 0..count {
        door.post((thread, number)).unwrap();
        if number % 7 == 0 {
            thread::yield_now();
        }
    }
}

#[test]
fn nothing_that_many_threads_post_is_lost_or_out_of_order() {
    const THREADS: usize = 4;
    const POSTS: usize = 5_000;
    let kernel = Script::default();
    kernel.block_waits();
    let mut engine = Engine::<Numbers>::new(kernel);
    let taken = thread::scope(|scope| {
        for thread in 0..THREADS {
            let door = engine.door();
            scope.spawn(move || post_all(&door, thread, POSTS));
        }
        take(&mut engine, THREADS * POSTS)
    });
    for thread in 0..THREADS {
        let of_one: Vec<_> = taken.iter().filter(|job| job.0 == thread).map(|job| job.1).collect();
        assert_eq!(of_one, (0..POSTS).collect::<Vec<_>>());
    }
}

#[test]
fn a_loop_that_falls_asleep_after_every_job_wakes_for_the_next() {
    // Each post may meet the loop on its way to sleep; the other thread waits for each answer.
    const ROUNDS: usize = 5_000;
    let kernel = Script::default();
    kernel.block_waits();
    let mut engine = Engine::<Numbers>::new(kernel);
    let door = engine.door();
    let (answer, answers) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for round in 0..ROUNDS {
                door.post((0, round)).unwrap();
                assert_eq!(answers.recv(), Ok(round));
            }
        });
        for round in 0..ROUNDS {
            assert_eq!(take(&mut engine, 1), [(0, round)]);
            answer.send(round).unwrap();
        }
    });
}

const MANY: usize = 5000;

/// A bench with a reader, a timer that falls due soon, and so many posted jobs that they are run in
/// several turns.
fn flooded() -> Bench {
    let mut bench = Bench { tick: 1e-6, ..Bench::default() };
    add_reader(&mut bench.engine, 3, "io");
    call_at(&mut bench.engine, 1e-4, "timer");
    soon(&mut bench.engine, "before");
    let door = bench.engine.door();
    for _ in 0..MANY {
        door.post("posted").unwrap();
    }
    bench
}

fn place(log: &[String], step: &str) -> usize {
    log.iter().position(|other| other == step).unwrap()
}

/// Goes on until so many of them have run.
fn until_posted(bench: &mut Bench, count: usize) -> Vec<String> {
    let mut left = count;
    bench.run(|engine, step| {
        if step == "timer" {
            soon(engine, "scheduled");
        }
        left -= usize::from(step == "posted");
        left > 0
    })
}

#[test]
fn a_flood_lets_events_and_timers_through() {
    let mut bench = flooded();
    readable(&bench, &[3]);
    bench.engine.begin_run(false);
    let log = until_posted(&mut bench, MANY);
    assert_eq!(place(&log, "before"), 0);
    for step in ["io", "timer", "scheduled"] {
        assert!(place(&log, step) < MANY / 2, "{step}");
    }
}

#[test]
fn a_run_ends_behind_the_flood_that_was_there() {
    for single in [false, true] {
        let mut bench = flooded();
        bench.engine.begin_run(single);
        let door = bench.engine.door();
        let log = bench.run(|engine, step| {
            if step == "before" {
                engine.stop(true);
                door.post("later").unwrap();
            }
            true
        });
        assert_eq!(log.iter().filter(|step| *step == "posted").count(), MANY);
        assert!(!log.iter().any(|step| step == "later"));
    }
}

#[test]
fn a_flood_that_is_interrupted_goes_on_as_one() {
    let mut bench = flooded();
    bench.engine.begin_run(false);
    until_posted(&mut bench, 1500);
    bench.engine.end_run();
    call_at(&mut bench.engine, 0.0, "late");
    bench.engine.begin_run(false);
    let log = until_posted(&mut bench, MANY - 1500);
    assert!(place(&log, "late") < MANY / 2);
}

#[test]
fn one_post_in_as_many_as_are_taken_in_at_a_time_finds_a_crowd() {
    let bench = Bench::default();
    let door = bench.engine.door();
    let crowds: Vec<u32> = (1..=3000).filter(|_| door.post("posted").unwrap().0).collect();
    assert_eq!(crowds, [1024, 2048]);
}
