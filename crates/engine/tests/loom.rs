//! The door for other threads, under a model checker: every interleaving of a few threads, and of
//! what they see of each other's memory. A wake-up that is lost is a deadlock, which it reports.
//!
//! `make loom` builds this; elsewhere there is nothing here.
#![cfg(loom)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

#[path = "loom/bed.rs"]
mod bed;

use loom::thread;
use oxloop_engine::testing::ToyTls;
use oxloop_engine::{Door, Engine, Host, Moment, Payload, Step};

use bed::Bed;

/// A host whose jobs say who posted them, and as which.
struct Numbers;

impl Host for Numbers {
    type Job = (usize, usize);
    type Conn = ();
    type Bytes = Vec<u8>;
    type Tls = ToyTls;
    type Kernel = Bed;
}

/// Tries them with at most so many switches to another thread that was not waited for.
fn model(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}

/// Runs the loop in this thread until that many jobs have run.
fn take(engine: &mut Engine<Numbers>, count: usize) -> Vec<(usize, usize)> {
    let mut taken = Vec::new();
    engine.begin_run(false);
    while taken.len() < count {
        match engine.step() {
            Step::Job(job) => taken.push(job),
            Step::Clock => engine.tell(Moment::from_seconds(0.0).unwrap()),
            Step::Wait(mut wait) => {
                wait.block();
                engine.waited(wait).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    engine.end_run();
    taken
}

fn poster(engine: &Engine<Numbers>, thread: usize, count: usize) -> thread::JoinHandle<()> {
    let door = engine.door();
    thread::spawn(move || post_all(&door, thread, count))
}

fn post_all(door: &Door<(usize, usize), Bed>, thread: usize, count: usize) {
    for number in 0..count {
        door.post((thread, number)).unwrap();
    }
}

fn check(taken: &[(usize, usize)], threads: &[usize]) {
    for (thread, &count) in threads.iter().enumerate() {
        let of_one: Vec<_> = taken.iter().filter(|job| job.0 == thread).map(|job| job.1).collect();
        assert_eq!(of_one, (0..count).collect::<Vec<_>>());
    }
    assert_eq!(taken.len(), threads.iter().sum());
}

fn posts(preemptions: usize, threads: &'static [usize]) {
    model(preemptions, move || {
        let mut engine = Engine::<Numbers>::new(Bed::default());
        let posters: Vec<_> = threads
            .iter()
            .enumerate()
            .map(|(thread, &count)| poster(&engine, thread, count))
            .collect();
        check(&take(&mut engine, threads.iter().sum()), threads);
        for poster in posters {
            poster.join().unwrap();
        }
        assert!(engine.drain().is_empty());
    });
}

#[test]
fn two_threads_that_post_are_heard_in_order() {
    posts(3, &[2, 1]);
}

#[test]
fn a_flood_is_taken_in_by_and_by_and_as_a_whole() {
    // More than are taken in at a time.
    posts(3, &[4]);
    posts(2, &[3, 1]);
}

#[test]
fn a_loop_wakes_for_every_post_however_often_it_has_fallen_asleep() {
    model(4, || {
        let mut engine = Engine::<Numbers>::new(Bed::default());
        let poster = poster(&engine, 0, 3);
        for number in 0..3 {
            assert_eq!(take(&mut engine, 1), [(0, number)]);
        }
        poster.join().unwrap();
    });
}

#[test]
fn a_loop_wakes_for_an_answer_to_what_it_said() {
    model(3, || {
        let mut engine = Engine::<Numbers>::new(Bed::default());
        let first = poster(&engine, 0, 1);
        take(&mut engine, 1);
        // Made while the loop was awake; heard by its next sleep.
        let second = poster(&engine, 1, 1);
        take(&mut engine, 1);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_wait_that_is_ended_without_mail_ends() {
    model(3, || {
        let mut engine = Engine::<Numbers>::new(Bed::default());
        let door = engine.door();
        engine.begin_run(false);
        let Step::Wait(mut wait) = engine.step() else { panic!("it waits") };
        let waker = thread::spawn(move || door.wake());
        wait.block();
        engine.waited(wait).unwrap();
        waker.join().unwrap();
    });
}

#[test]
fn what_is_posted_while_a_loop_is_closed_is_given_back_or_stays_at_the_door() {
    model(3, || {
        let mut engine = Engine::<Numbers>::new(Bed::default());
        let posters = [poster(&engine, 0, 2), poster(&engine, 1, 1)];
        let mut found = Vec::new();
        let mut drain = |engine: &mut Engine<Numbers>| {
            found.extend(engine.drain().into_iter().map(|payload| match payload {
                Payload::Job(job) => job,
                other => panic!("{other:?}"),
            }));
        };
        drain(&mut engine);
        for poster in posters {
            poster.join().unwrap();
        }
        drain(&mut engine);
        check(&found, &[2, 1]);
    });
}

#[test]
fn a_door_may_be_used_while_and_after_its_loop_is_gone() {
    model(3, || {
        let engine = Engine::<Numbers>::new(Bed::default());
        let poster = poster(&engine, 0, 2);
        drop(engine);
        poster.join().unwrap();
    });
}
