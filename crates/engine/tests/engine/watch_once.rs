//! Waiting for a descriptor once, as `sock_recv` and its like do.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Direction, Interest, Key, Owner, Replaced};

use crate::setup::{
    Loop, add_reader, add_writer, arrives, fd, readable, remove_reader, stream, writable,
};

const READ: Interest = Interest { read: true, write: false };

fn once(engine: &mut Loop, direction: Direction, job: &'static str) -> Replaced<&'static str> {
    engine.watch_once(fd(3), direction, job).unwrap()
}

fn read_once(bench: &mut Bench, job: &'static str) -> Replaced<&'static str> {
    once(&mut bench.engine, Direction::Read, job)
}

/// A turn in which the descriptor is readable.
fn readable_turn(bench: &mut Bench) -> Vec<String> {
    readable(bench, &[3]);
    bench.just_turn()
}

#[test]
fn a_job_runs_once_and_is_gone() {
    let mut bench = Bench::default();
    read_once(&mut bench, "recv");
    assert_eq!(bench.engine.watched_by(fd(3), Direction::Read), Some(&"recv"));
    assert_eq!(readable_turn(&mut bench), ["recv"]);
    assert_eq!(bench.engine.watched_by(fd(3), Direction::Read), None);
    assert!(readable_turn(&mut bench).is_empty());
    assert_eq!(remove_reader(&mut bench.engine, 3), None);
}

#[test]
fn the_registration_survives_one_event_that_nobody_waits_for() {
    let mut bench = Bench::default();
    read_once(&mut bench, "recv");
    readable_turn(&mut bench);
    readable_turn(&mut bench);
    assert_eq!((bench.kernel.interest(3), bench.kernel.calls()), (READ, vec!["add 3 r".into()]));
    readable_turn(&mut bench);
    assert_eq!(bench.kernel.calls(), ["remove 3"]);
    assert!(matches!(bench.engine.owner_of(fd(3)), Owner::Nobody));
}

#[test]
fn who_waits_again_and_again_is_never_deregistered() {
    let mut bench = Bench::default();
    for _ in 0..5 {
        read_once(&mut bench, "recv");
        assert_eq!(readable_turn(&mut bench), ["recv"]);
        assert!(readable_turn(&mut bench).is_empty());
    }
    let calls = bench.kernel.calls();
    assert!(calls[1..].iter().all(|call| call == "modify 3 r"), "{calls:?}");
}

#[test]
fn a_new_job_replaces_the_one_that_waits() {
    let mut bench = Bench::default();
    read_once(&mut bench, "first");
    assert_eq!(read_once(&mut bench, "second").same, Some("first"));
    assert_eq!(readable_turn(&mut bench), ["second"]);
    assert_eq!(read_once(&mut bench, "third").same, None);
}

#[test]
fn a_reader_of_every_event_stays_when_a_writer_waits_once() {
    let mut bench = Bench::default();
    add_reader(&mut bench.engine, 3, "reader");
    once(&mut bench.engine, Direction::Write, "send");
    bench.kernel.ready(&[(3, true, true)]);
    assert_eq!(bench.just_turn(), ["reader", "send"]);
    for _ in 0..5 {
        bench.kernel.ready(&[(3, true, true)]);
        assert_eq!(bench.just_turn(), ["reader"]);
    }
    assert_eq!(bench.kernel.interest(3), READ);
}

#[test]
fn a_reader_that_waits_once_leaves_although_a_writer_stays() {
    let mut bench = Bench::default();
    read_once(&mut bench, "recv");
    add_writer(&mut bench.engine, 3, "writer");
    bench.kernel.ready(&[(3, true, true)]);
    assert_eq!(bench.just_turn(), ["recv", "writer"]);
    bench.kernel.ready(&[(3, true, true)]);
    assert_eq!(bench.just_turn(), ["writer"]);
}

#[test]
fn both_directions_can_wait_once() {
    let mut bench = Bench::default();
    read_once(&mut bench, "recv");
    once(&mut bench.engine, Direction::Write, "send");
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["send"]);
    assert_eq!(readable_turn(&mut bench), ["recv"]);
}

#[test]
fn a_reader_of_every_event_can_take_the_place_of_one_that_waits_once() {
    let mut bench = Bench::default();
    read_once(&mut bench, "recv");
    assert_eq!(add_reader(&mut bench.engine, 3, "reader").same, Some("recv"));
    for _ in 0..3 {
        assert_eq!(readable_turn(&mut bench), ["reader"]);
    }
}

#[test]
fn a_refused_replacement_still_waits_once() {
    let mut bench = Bench::default();
    read_once(&mut bench, "recv");
    bench.kernel.refuse(Some(ErrorKind::OutOfMemory));
    bench.engine.watch(fd(3), Direction::Read, "reader").unwrap_err();
    bench.kernel.refuse(None);
    assert_eq!(readable_turn(&mut bench), ["recv"]);
    assert!(readable_turn(&mut bench).is_empty());
}

#[test]
fn a_refused_wait_gives_the_job_back() {
    let mut bench = Bench::default();
    bench.kernel.refuse(Some(ErrorKind::PermissionDenied));
    let (_, job) = bench.engine.watch_once(fd(3), Direction::Read, "recv").unwrap_err();
    assert_eq!(job, "recv");
    assert!(matches!(bench.engine.owner_of(fd(3)), Owner::Nobody));
}

#[test]
fn who_gives_up_is_deregistered() {
    let mut bench = Bench::default();
    read_once(&mut bench, "recv");
    assert_eq!(remove_reader(&mut bench.engine, 3), Some("recv"));
    for _ in 0..2 {
        readable(&bench, &[3]);
        assert!(bench.just_turn().is_empty());
    }
    assert_eq!(bench.kernel.calls(), ["add 3 r", "remove 3"]);
}

/// What takes a number that a finished wait has left registered.
fn after_a_wait(take: impl FnOnce(&mut Bench) -> Key) -> (Bench, Key) {
    let mut bench = Bench::default();
    read_once(&mut bench, "recv");
    readable_turn(&mut bench);
    bench.kernel.calls();
    let key = take(&mut bench);
    (bench, key)
}

#[test]
fn a_stream_can_take_a_number_that_nobody_waits_for_any_more() {
    let (mut bench, key) = after_a_wait(|bench| stream(bench, 3, "s"));
    assert_eq!(bench.kernel.token(3), Some(key.token()));
    arrives(&bench, 3, b"x");
    assert_eq!(bench.just_turn(), ["s received x"]);
}

#[test]
fn a_listener_can_take_a_number_that_nobody_waits_for_any_more() {
    let (mut bench, key) = after_a_wait(|bench| bench.engine.listen(fd(3), 1, "l").unwrap());
    assert_eq!(bench.kernel.calls(), ["remove 3", "add 3 r"]);
    assert_eq!(bench.kernel.token(3), Some(key.token()));
    bench.kernel.arrival(Ok(10));
    assert_eq!(readable_turn(&mut bench), ["l accepted 10"]);
}

#[test]
fn a_number_that_was_closed_and_opened_again_can_be_waited_for() {
    let mut bench = Bench::default();
    read_once(&mut bench, "old");
    readable_turn(&mut bench);
    bench.kernel.close(3);
    let replaced = read_once(&mut bench, "new");
    assert_eq!((replaced.same, replaced.stale), (None, None));
    assert_eq!(readable_turn(&mut bench), ["new"]);
}

#[test]
fn a_read_of_somebody_elses_socket_waits_for_nothing() {
    let mut bench = Bench::default();
    let error = bench.engine.receive_scratch(fd(3), 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    bench.kernel.incoming(3, Ok(b"hello"));
    assert_eq!(bench.engine.receive_scratch(fd(3), 4).unwrap(), b"hell");
    assert_eq!(bench.engine.receive_scratch(fd(3), 200_000).unwrap(), b"o");
    assert_eq!(bench.kernel.asked(), [100, 4, 200_000]);
}
