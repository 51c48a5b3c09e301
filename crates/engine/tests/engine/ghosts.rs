//! Files that outlive their descriptors: a duplicate keeps them registered, and nobody can reach
//! their registration any more.

use std::io::ErrorKind;
use std::time::Duration;

use oxloop_engine::testing::Bench;

use crate::setup::{
    add_reader, add_writer, call_at, fd, polls, readable, remove_reader, remove_writer, soon,
    stream, writable,
};

/// A loop with a live reader, and a ghost that makes every wait return at once.
fn haunted() -> Bench {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "live");
    add_writer(&mut bench.engine, 4, "dead");
    bench.kernel.orphan(4);
    remove_writer(&mut bench.engine, 4);
    bench.kernel.calls();
    bench
}

#[test]
fn a_ghost_makes_the_poller_anew_with_the_live_registrations_only() {
    let mut bench = haunted();
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.calls(), ["renew", "add 3 r"]);
}

#[test]
fn a_ghost_is_laid_once() {
    let mut bench = haunted();
    for _ in 0..3 {
        bench.just_turn();
    }
    let renewed = bench.kernel.calls().iter().filter(|call| *call == "renew").count();
    assert_eq!(renewed, 1);
}

#[test]
fn the_live_ones_are_heard_in_the_turn_of_the_ghost_and_after_it() {
    let mut bench = haunted();
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["live"]);
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["live"]);
}

#[test]
fn everything_that_is_registered_comes_back_as_it_was() {
    let mut bench = haunted();
    add_writer(&mut bench.engine, 3, "live writer");
    let reading = stream(&mut bench, 5, "reading");
    let deaf = stream(&mut bench, 6, "deaf");
    bench.engine.stop_reading(deaf).unwrap();
    bench.engine.listen(fd(7), 1, "listener").unwrap();
    bench.kernel.calls();
    bench.just_turn();
    let mut calls = bench.kernel.calls();
    calls.sort();
    assert_eq!(calls, ["add 3 rw", "add 5 r", "add 7 r", "renew"]);
    bench.engine.stop_reading(reading).unwrap();
    bench.engine.start_reading(deaf).unwrap();
    assert_eq!(bench.kernel.calls(), ["remove 5", "add 6 r"]);
}

#[test]
fn an_owner_whose_file_is_closed_does_not_stop_the_others_from_coming_back() {
    let mut bench = haunted();
    add_reader(&mut bench.engine, 5, "closed");
    bench.kernel.calls();
    bench.kernel.refuse(Some(ErrorKind::InvalidInput));
    bench.just_turn();
    bench.kernel.refuse(None);
    assert_eq!(bench.kernel.calls(), ["renew", "add 3 r", "add 5 r"]);
    add_reader(&mut bench.engine, 3, "live again");
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["live again"]);
}

#[test]
fn a_removal_in_the_same_batch_is_no_ghost() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "first");
    add_writer(&mut bench.engine, 4, "removed");
    bench.kernel.ready(&[(3, true, false), (4, false, true)]);
    bench.turn(|engine, _| {
        remove_writer(engine, 4);
    });
    assert!(!bench.kernel.calls().contains(&"renew".to_owned()));
}

#[test]
fn a_removal_by_a_job_after_the_poll_is_no_ghost() {
    let mut bench = Bench::default();
    add_writer(&mut bench.engine, 3, "removed");
    soon(&mut bench.engine, "job");
    writable(&bench, &[3]);
    bench.turn(|engine, _| {
        remove_writer(engine, 3);
    });
    assert_eq!(bench.kernel.calls(), ["add 3 w", "remove 3"]);
}

#[test]
fn a_ghost_that_hides_behind_a_removal_is_laid_in_the_next_turn() {
    let mut bench = haunted();
    add_writer(&mut bench.engine, 5, "removed");
    bench.kernel.calls();
    writable(&bench, &[5]);
    bench.turn(|engine, _| {
        remove_writer(engine, 5);
    });
    assert_eq!(bench.kernel.calls(), ["remove 5"]);
    bench.just_turn();
    assert_eq!(bench.kernel.calls(), ["renew", "add 3 r"]);
}

#[test]
fn a_removal_by_a_timer_does_not_hide_the_next_turns_ghost() {
    let mut bench = haunted();
    add_writer(&mut bench.engine, 5, "removed");
    bench.kernel.calls();
    bench.kernel.fail("wait", ErrorKind::Interrupted);
    call_at(&mut bench.engine, 0.0, "timer");
    bench.turn(|engine, step| {
        if step == "timer" {
            remove_writer(engine, 5);
        }
    });
    bench.just_turn();
    assert_eq!(bench.kernel.calls(), ["remove 5", "renew", "add 3 r"]);
}

#[test]
fn a_loop_that_was_haunted_waits_again() {
    let mut bench = haunted();
    bench.engine.begin_run(false);
    let kernel = bench.kernel.clone();
    call_at(&mut bench.engine, 1.0, "end");
    bench.now = 0.5;
    let mut turns = 0;
    while polls(&bench) < 10 {
        bench.just_turn();
        turns += 1;
    }
    assert_eq!(turns, 10);
    let renewals = kernel.calls().iter().filter(|call| *call == "renew").count();
    assert_eq!(renewals, 1);
}

#[test]
fn a_poller_that_cannot_be_made_anew_is_made_in_the_next_turn() {
    let mut bench = haunted();
    bench.kernel.fail("renew", ErrorKind::OutOfMemory);
    assert!(bench.just_turn().is_empty());
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["live"]);
    assert_eq!(bench.kernel.calls(), ["renew", "renew", "add 3 r"]);
}

#[test]
fn who_is_not_registered_anew_is_so_as_soon_as_there_is_room() {
    for shortage in [ErrorKind::OutOfMemory, ErrorKind::StorageFull] {
        let mut bench = haunted();
        bench.kernel.refuse(Some(shortage));
        bench.just_turn();
        // Nobody would wake it up for those who are deaf.
        bench.just_turn();
        assert_eq!(bench.kernel.timeouts().last(), Some(&Some(Duration::from_millis(5))));
        bench.kernel.refuse(None);
        bench.just_turn();
        bench.kernel.calls();
        readable(&bench, &[3]);
        assert_eq!(bench.just_turn(), ["live"]);
        assert!(bench.kernel.calls().is_empty());
    }
}

#[test]
fn a_ghost_of_a_reader_that_was_removed_is_laid_as_well() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "dead");
    bench.kernel.orphan(3);
    remove_reader(&mut bench.engine, 3);
    bench.kernel.calls();
    for _ in 0..4 {
        assert!(bench.just_turn().is_empty());
    }
    assert_eq!(bench.kernel.calls(), ["remove 3", "renew"]);
}

#[test]
fn a_token_that_was_never_given_out_is_a_ghost() {
    let mut bench = Bench::default();
    bench.kernel.ready_token(77);
    bench.just_turn();
    assert_eq!(bench.kernel.calls(), ["renew"]);
}
