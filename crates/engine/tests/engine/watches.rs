//! `add_reader` and `add_writer`: who runs, and what the poller is told.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Direction, Interest, Key, Owner};

use crate::setup::{
    add_reader, add_writer, fd, readable, remove_reader, remove_writer, soon, stream, writable,
};

const READ: Interest = Interest { read: true, write: false };
const WRITE: Interest = Interest { read: false, write: true };
const BOTH: Interest = Interest { read: true, write: true };

#[test]
fn a_reader_runs_whenever_its_descriptor_is_readable() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    for _ in 0..3 {
        readable(&bench, &[3]);
        assert_eq!(bench.just_turn(), ["reader"]);
    }
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.calls(), ["add 3 r"]);
}

#[test]
fn a_writer_runs_whenever_its_descriptor_is_writable() {
    let mut bench = Bench::default();
    add_writer(&mut bench.engine, 3, "writer");
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["writer"]);
    assert_eq!(bench.kernel.calls(), ["add 3 w"]);
}

#[test]
fn an_event_runs_the_direction_that_is_ready() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    add_writer(&mut bench.engine, 3, "writer");
    readable(&bench, &[3]);
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["reader"]);
    assert_eq!(bench.just_turn(), ["writer"]);
}

#[test]
fn an_event_of_a_direction_that_nobody_watches_runs_nothing() {
    // A hang-up is reported as both.
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    bench.kernel.ready(&[(3, true, true)]);
    assert_eq!(bench.just_turn(), ["reader"]);
}

#[test]
fn a_second_reader_replaces_the_first_and_returns_it() {
    let mut bench = Bench::default();
    let first = add_reader(&mut bench.engine, 3, "first");
    assert_eq!((first.same, first.stale), (None, None));
    let second = add_reader(&mut bench.engine, 3, "second");
    assert_eq!((second.same, second.stale), (Some("first"), None));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["second"]);
}

#[test]
fn the_poller_is_told_of_every_new_watch_even_if_it_changes_nothing() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "first");
    add_reader(&mut bench.engine, 3, "second");
    assert_eq!(bench.kernel.calls(), ["add 3 r", "modify 3 r"]);
}

#[test]
fn each_direction_comes_and_goes_by_itself() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    let added = add_writer(&mut bench.engine, 3, "writer");
    assert_eq!((added.same, added.stale), (None, None));
    assert_eq!(bench.kernel.interest(3), BOTH);
    assert_eq!(remove_reader(&mut bench.engine, 3), Some("reader"));
    assert_eq!(bench.kernel.interest(3), WRITE);
    assert_eq!(bench.engine.interest_of(fd(3)), WRITE);
    assert_eq!(remove_writer(&mut bench.engine, 3), Some("writer"));
    assert_eq!(bench.engine.interest_of(fd(3)), Interest::NONE);
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
    assert_eq!(bench.kernel.calls(), ["add 3 r", "modify 3 rw", "modify 3 w", "remove 3"]);
}

#[test]
fn removing_what_is_not_there_finds_nothing_and_tells_nobody() {
    let mut bench = Bench::default();
    assert_eq!(remove_reader(&mut bench.engine, 3), None);
    assert_eq!(remove_writer(&mut bench.engine, 1_000_000), None);
    add_reader(&mut bench.engine, 3, "reader");
    bench.kernel.calls();
    assert_eq!(remove_writer(&mut bench.engine, 3), None);
    assert!(bench.kernel.calls().is_empty());
    remove_reader(&mut bench.engine, 3);
    assert_eq!(remove_reader(&mut bench.engine, 3), None);
}

#[test]
fn a_removed_reader_can_be_added_again() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "first");
    remove_reader(&mut bench.engine, 3);
    let added = add_reader(&mut bench.engine, 3, "second");
    assert_eq!((added.same, added.stale), (None, None));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["second"]);
}

#[test]
fn a_callback_may_remove_itself() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    readable(&bench, &[3]);
    let log = bench.turn(|engine, _| {
        assert_eq!(remove_reader(engine, 3), Some("reader"));
    });
    assert_eq!(log, ["reader"]);
    assert_eq!(bench.engine.interest_of(fd(3)), Interest::NONE);
    readable(&bench, &[3]);
    assert!(bench.just_turn().is_empty());
}

#[test]
fn a_removed_reader_stays_registered_until_something_comes_twice() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    remove_reader(&mut bench.engine, 3);
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.calls(), ["add 3 r"]);
    for calls in [&[][..], &["remove 3"]] {
        readable(&bench, &[3]);
        assert!(bench.just_turn().is_empty());
        assert_eq!(bench.kernel.calls(), calls);
    }
}

#[test]
fn a_reader_that_comes_and_goes_costs_one_call_each_time() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    bench.kernel.calls();
    for _ in 0..3 {
        readable(&bench, &[3]);
        bench.turn(|engine, _| {
            remove_reader(engine, 3);
        });
        add_reader(&mut bench.engine, 3, "reader");
        assert_eq!(bench.kernel.calls(), ["modify 3 r"]);
    }
}

#[test]
fn a_removed_reader_whose_number_is_used_again_is_heard() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "old");
    remove_reader(&mut bench.engine, 3);
    bench.kernel.close(3);
    add_reader(&mut bench.engine, 3, "new");
    assert_eq!(bench.kernel.calls()[1..3], ["modify 3 r", "add 3 r"]);
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["new"]);
}

#[test]
fn a_removed_writer_is_deregistered() {
    let mut bench = Bench::default();
    add_writer(&mut bench.engine, 3, "writer");
    remove_writer(&mut bench.engine, 3);
    assert_eq!(bench.kernel.calls(), ["add 3 w", "remove 3"]);
}

#[test]
fn a_callback_may_remove_itself_by_its_key_and_nobody_elses() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "old");
    let key = Key::from_token(bench.kernel.token(3).unwrap());
    assert_eq!(bench.engine.unwatch_key(key, Direction::Write), None);
    assert_eq!(bench.engine.unwatch_key(key, Direction::Read), Some("old"));
    bench.kernel.close(3);
    add_reader(&mut bench.engine, 3, "new");
    assert_eq!(bench.engine.unwatch_key(key, Direction::Read), None);
    assert_eq!(bench.engine.watched_by(fd(3), Direction::Read), Some(&"new"));
}

#[test]
fn what_a_callback_removes_does_not_run_in_the_same_batch() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "first");
    add_reader(&mut bench.engine, 4, "second");
    add_reader(&mut bench.engine, 5, "third");
    readable(&bench, &[3, 4, 5]);
    let log = bench.turn(|engine, step| {
        if step == "first" {
            remove_reader(engine, 4);
        }
    });
    assert_eq!(log, ["first", "third"]);
}

#[test]
fn a_reader_that_removes_its_writer_stops_the_same_event() {
    for both in [false, true] {
        let mut bench = Bench::default();
        add_reader(&mut bench.engine, 3, "reader");
        add_writer(&mut bench.engine, 3, "writer");
        bench.kernel.ready(&[(3, true, true)]);
        let log = bench.turn(|engine, _| {
            remove_writer(engine, 3);
            if both {
                remove_reader(engine, 3);
            }
        });
        assert_eq!(log, ["reader"]);
    }
}

#[test]
fn what_a_job_removes_does_not_run_although_it_was_reported() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    soon(&mut bench.engine, "job");
    readable(&bench, &[3]);
    let log = bench.turn(|engine, _| {
        remove_reader(engine, 3);
    });
    assert_eq!(log, ["job"]);
    assert_eq!(bench.kernel.calls(), ["add 3 r"]);
}

#[test]
fn a_callback_that_was_replaced_in_the_same_batch_gives_way_to_the_new_one() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "first");
    add_reader(&mut bench.engine, 4, "old");
    readable(&bench, &[3, 4]);
    let log = bench.turn(|engine, step| {
        if step == "first" {
            add_reader(engine, 4, "new");
        }
    });
    assert_eq!(log, ["first", "new"]);
}

#[test]
fn a_refused_first_watch_leaves_nothing() {
    let mut bench = Bench::default();
    bench.kernel.refuse(Some(ErrorKind::PermissionDenied));
    let (error, job) = bench.engine.watch(fd(3), Direction::Read, "reader").unwrap_err();
    assert_eq!((error.kind(), job), (ErrorKind::PermissionDenied, "reader"));
    assert!(matches!(bench.engine.owner_of(fd(3)), Owner::Nobody));
    assert_eq!(remove_reader(&mut bench.engine, 3), None);
    bench.kernel.refuse(None);
    assert_eq!(add_reader(&mut bench.engine, 3, "later").same, None);
}

#[test]
fn a_refused_second_direction_leaves_the_first_as_it_was() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    bench.kernel.refuse(Some(ErrorKind::OutOfMemory));
    let (_, job) = bench.engine.watch(fd(3), Direction::Write, "writer").unwrap_err();
    assert_eq!(job, "writer");
    bench.kernel.refuse(None);
    assert_eq!(bench.kernel.interest(3), READ);
    bench.kernel.ready(&[(3, true, true)]);
    assert_eq!(bench.just_turn(), ["reader"]);
}

#[test]
fn a_refused_replacement_leaves_the_earlier_job() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "old");
    bench.kernel.refuse(Some(ErrorKind::OutOfMemory));
    let (_, job) = bench.engine.watch(fd(3), Direction::Read, "new").unwrap_err();
    assert_eq!(job, "new");
    bench.kernel.refuse(None);
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["old"]);
}

#[test]
fn what_was_registered_before_a_refusal_is_deregistered_in_the_end() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    bench.kernel.refuse(Some(ErrorKind::OutOfMemory));
    bench.engine.watch(fd(3), Direction::Write, "writer").unwrap_err();
    bench.kernel.refuse(None);
    assert_eq!(remove_reader(&mut bench.engine, 3), Some("reader"));
    for _ in 0..2 {
        readable(&bench, &[3]);
        bench.just_turn();
    }
    assert_eq!(bench.kernel.token(3), None);
}

#[test]
fn a_number_that_no_file_has_costs_an_error_and_no_memory() {
    let mut bench = Bench::default();
    bench.kernel.refuse(Some(ErrorKind::InvalidInput));
    for number in [i32::MAX, 1 << 30, 1_000_000] {
        let (error, _) = bench.engine.watch(fd(number), Direction::Read, "r").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(matches!(bench.engine.owner_of(fd(number)), Owner::Nobody));
    }
}

#[test]
fn large_numbers_are_watched_like_small_ones() {
    let mut bench = Bench::default();
    for (number, first, second) in [(65_535, "a", "b"), (65_536, "c", "d"), (i32::MAX, "e", "f")] {
        add_reader(&mut bench.engine, number, first);
        assert_eq!(add_reader(&mut bench.engine, number, second).same, Some(first));
        readable(&bench, &[number]);
        assert_eq!(bench.just_turn(), [second]);
        assert_eq!(remove_reader(&mut bench.engine, number), Some(second));
        assert!(matches!(bench.engine.owner_of(fd(number)), Owner::Nobody));
        let key = stream(&mut bench, number, "s");
        assert!(matches!(bench.engine.owner_of(fd(number)), Owner::Stream(&"s")));
        bench.engine.release(key);
    }
}

#[test]
fn a_descriptor_has_the_owner_that_registered_it() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    let key = stream(&mut bench, 4, "stream");
    let listener = bench.engine.listen(fd(5), 1, "listener").unwrap();
    let engine = &mut bench.engine;
    assert!(matches!(engine.owner_of(fd(3)), Owner::Watch));
    assert!(matches!(engine.owner_of(fd(4)), Owner::Stream(&"stream")));
    assert!(matches!(engine.owner_of(fd(5)), Owner::Listener(&"listener")));
    assert!(matches!(engine.owner_of(fd(6)), Owner::Nobody));
    remove_reader(engine, 3);
    engine.release(key);
    engine.unlisten(listener);
    for number in 3..=5 {
        assert!(matches!(engine.owner_of(fd(number)), Owner::Nobody));
    }
}

#[test]
fn unwatch_leaves_streams_and_listeners_alone() {
    let mut bench = Bench::default();
    stream(&mut bench, 4, "stream");
    bench.engine.listen(fd(5), 1, "listener").unwrap();
    for number in [4, 5] {
        assert_eq!(remove_reader(&mut bench.engine, number), None);
        assert_eq!(bench.kernel.interest(number), READ);
    }
}
