//! A number whose file was closed behind the loop's back, and which names another file now.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Direction, Interest};

use crate::setup::{
    add_reader, add_writer, arrives, fd, readable, remove_reader, remove_writer, stream,
};

/// A descriptor that was watched, closed and opened again; the loop knows nothing of it.
fn reopened() -> Bench {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "old reader");
    add_writer(&mut bench.engine, 3, "old writer");
    bench.kernel.calls();
    bench.kernel.close(3);
    bench
}

#[test]
fn a_new_watch_registers_the_new_file() {
    let mut bench = reopened();
    let replaced = add_reader(&mut bench.engine, 3, "new reader");
    assert_eq!(replaced.same, Some("old reader"));
    assert_eq!(bench.kernel.interest(3), Interest { read: true, write: false });
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["new reader"]);
}

#[test]
fn the_other_direction_of_the_closed_file_is_returned_and_never_runs() {
    let mut bench = reopened();
    let replaced = add_writer(&mut bench.engine, 3, "new writer");
    assert_eq!((replaced.same, replaced.stale), (Some("old writer"), Some("old reader")));
    bench.kernel.ready(&[(3, true, true)]);
    assert_eq!(bench.just_turn(), ["new writer"]);
    assert_eq!(remove_reader(&mut bench.engine, 3), None);
}

#[test]
fn the_poller_is_asked_for_a_change_first_and_told_anew_then() {
    let mut bench = reopened();
    add_reader(&mut bench.engine, 3, "new reader");
    assert_eq!(bench.kernel.calls(), ["modify 3 rw", "add 3 rw", "modify 3 r"]);
}

#[test]
fn a_duplicate_of_the_closed_file_does_not_reach_the_new_job() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "old reader");
    bench.kernel.orphan(3);
    let replaced = add_reader(&mut bench.engine, 3, "new reader");
    assert_eq!(replaced.same, Some("old reader"));
    assert!(bench.just_turn().is_empty(), "the duplicate is readable, the new file is not");
    assert!(bench.kernel.calls().contains(&"renew".to_owned()), "or the ghost spins");
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["new reader"]);
}

#[test]
fn both_directions_of_the_new_file_can_be_watched() {
    let mut bench = reopened();
    add_reader(&mut bench.engine, 3, "new reader");
    let second = add_writer(&mut bench.engine, 3, "new writer");
    assert_eq!((second.same, second.stale), (None, None));
    bench.kernel.ready(&[(3, true, true)]);
    assert_eq!(bench.just_turn(), ["new reader", "new writer"]);
}

#[test]
fn a_new_file_that_cannot_be_watched_gives_the_job_back() {
    let mut bench = reopened();
    bench.kernel.refuse(Some(ErrorKind::PermissionDenied));
    let (_, job) = bench.engine.watch(fd(3), Direction::Read, "new reader").unwrap_err();
    assert_eq!(job, "new reader");
    assert_eq!(remove_reader(&mut bench.engine, 3), Some("old reader"));
    assert_eq!(remove_writer(&mut bench.engine, 3), Some("old writer"));
}

#[test]
fn a_new_file_for_which_there_is_no_room_is_not_given_to_the_old_jobs() {
    let mut bench = reopened();
    bench.kernel.fail("add", ErrorKind::OutOfMemory);
    let (_, job) = bench.engine.watch(fd(3), Direction::Read, "new reader").unwrap_err();
    assert_eq!(job, "new reader");
    assert_eq!(bench.kernel.calls(), ["modify 3 rw", "add 3 rw"]);
    let replaced = add_reader(&mut bench.engine, 3, "new reader");
    assert_eq!((replaced.same, replaced.stale), (Some("old reader"), Some("old writer")));
}

#[test]
fn a_refusal_in_between_does_not_hide_that_the_file_is_another() {
    // The number is closed when the first new watch comes, and open again when the second does.
    let mut bench = reopened();
    bench.kernel.refuse(Some(ErrorKind::InvalidInput));
    bench.engine.watch(fd(3), Direction::Read, "too early").unwrap_err();
    bench.kernel.refuse(None);
    let replaced = add_reader(&mut bench.engine, 3, "new reader");
    assert_eq!((replaced.same, replaced.stale), (Some("old reader"), Some("old writer")));
}

#[test]
fn removing_the_watch_of_a_closed_file_is_no_error() {
    let mut bench = reopened();
    assert_eq!(remove_reader(&mut bench.engine, 3), Some("old reader"));
    assert_eq!(remove_writer(&mut bench.engine, 3), Some("old writer"));
    assert_eq!(add_reader(&mut bench.engine, 3, "new reader").same, None);
}

#[test]
fn an_event_of_the_former_owner_does_not_reach_the_new_one() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "first");
    add_reader(&mut bench.engine, 4, "old owner");
    readable(&bench, &[3, 4]);
    // Closed, opened and watched again while the old file's event waits to be handled.
    let kernel = bench.kernel.clone();
    let log = bench.turn(|engine, step| {
        if step == "first" {
            remove_reader(engine, 4);
            kernel.close(4);
            add_reader(engine, 4, "new owner");
        }
    });
    assert_eq!(log, ["first"]);
    readable(&bench, &[4]);
    assert_eq!(bench.just_turn(), ["new owner"]);
}

#[test]
fn an_event_of_a_watch_does_not_reach_the_stream_that_took_its_number() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "first");
    add_reader(&mut bench.engine, 4, "watch");
    bench.kernel.incoming(4, Ok(b"data of the new file"));
    readable(&bench, &[3, 4]);
    let log = bench.turn(|engine, step| {
        if step == "first" {
            remove_reader(engine, 4);
            let key = engine.open_stream(fd(4), "stream").unwrap();
            engine.start_reading(key).unwrap();
        }
    });
    assert_eq!(log, ["first"]);
}

#[test]
fn tokens_of_one_number_differ_from_owner_to_owner() {
    let mut bench = Bench::default();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        add_reader(&mut bench.engine, 3, "watch");
        assert!(seen.insert(bench.kernel.token(3)));
        remove_reader(&mut bench.engine, 3);
        let key = stream(&mut bench, 3, "stream");
        assert!(seen.insert(bench.kernel.token(3)));
        bench.engine.release(key);
    }
}

#[test]
fn an_owner_that_lost_its_number_leaves_the_registration_of_the_new_one_alone() {
    // Its file was closed without a word, and the number belongs to another stream now.
    let mut bench = Bench::default();
    let old = stream(&mut bench, 3, "old");
    bench.kernel.close(3);
    let new = stream(&mut bench, 3, "new");
    bench.engine.stop_reading(old).unwrap();
    bench.engine.start_reading(old).unwrap();
    bench.engine.abort(old);
    assert_eq!(bench.engine.release(old), Some("old"));
    assert!(bench.kernel.calls().is_empty());
    arrives(&bench, 3, b"x");
    assert_eq!(bench.just_turn(), ["new received x"]);
    assert_eq!(bench.engine.conn(new), Some(&"new"));
}
