//! Accepting: how many at a time, and what an error means.

use std::io::{self, ErrorKind};

use oxloop_engine::testing::Bench;
use oxloop_engine::{Interest, Key};

use crate::setup::{add_reader, call_at, fd, readable, soon, stream};

const EMFILE: i32 = 24;
const EPROTO: i32 = 71;

fn listen(bench: &mut Bench, backlog: usize) -> Key {
    let key = bench.engine.listen(fd(3), backlog, "l").unwrap();
    bench.kernel.calls();
    key
}

/// These connections come in, and the listener is reported.
fn arrive(bench: &Bench, numbers: std::ops::RangeInclusive<i32>) {
    numbers.for_each(|number| bench.kernel.arrival(Ok(number)));
    readable(bench, &[3]);
}

fn out_of_descriptors(bench: &Bench) {
    bench.kernel.arrival(Err(io::Error::from_raw_os_error(EMFILE)));
    readable(bench, &[3]);
}

#[test]
fn a_listener_is_registered_for_reading() {
    let mut bench = Bench::default();
    let key = bench.engine.listen(fd(3), 100, "l").unwrap();
    assert_eq!(bench.kernel.calls(), ["add 3 r"]);
    assert_eq!(bench.engine.listener(key), Some(&"l"));
    assert_eq!(bench.engine.listener_on(fd(3)), Some(key));
}

#[test]
fn every_connection_that_waits_is_accepted_in_one_turn() {
    let mut bench = Bench::default();
    listen(&mut bench, 100);
    arrive(&bench, 10..=12);
    assert_eq!(bench.just_turn(), ["l accepted 10", "l accepted 11", "l accepted 12"]);
}

#[test]
fn an_event_accepts_no_more_than_the_backlog() {
    let mut bench = Bench::default();
    listen(&mut bench, 2);
    arrive(&bench, 10..=14);
    assert_eq!(bench.just_turn(), ["l accepted 10", "l accepted 11"]);
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["l accepted 12", "l accepted 13"]);
}

#[test]
fn a_backlog_of_zero_accepts_one() {
    let mut bench = Bench::default();
    listen(&mut bench, 0);
    arrive(&bench, 10..=11);
    assert_eq!(bench.just_turn(), ["l accepted 10"]);
}

#[test]
fn each_listener_has_its_own_share() {
    let mut bench = Bench::default();
    listen(&mut bench, 2);
    bench.engine.listen(fd(4), 2, "m").unwrap();
    (10..20).for_each(|number| bench.kernel.arrival(Ok(number)));
    readable(&bench, &[3, 4]);
    let log = bench.just_turn();
    assert_eq!(log, ["l accepted 10", "l accepted 11", "m accepted 12", "m accepted 13"]);
}

#[test]
fn an_event_without_a_connection_is_nothing() {
    let mut bench = Bench::default();
    listen(&mut bench, 5);
    bench.kernel.ready(&[(3, true, true)]);
    assert!(bench.just_turn().is_empty());
    assert!(bench.kernel.calls().is_empty());
}

#[test]
fn a_host_may_do_anything_between_two_connections() {
    let mut bench = Bench::default();
    listen(&mut bench, 5);
    arrive(&bench, 10..=11);
    let log = bench.turn(|engine, step| {
        if step == "l accepted 10" {
            add_reader(engine, 10, "first");
            soon(engine, "next turn");
        }
    });
    assert_eq!(log, ["l accepted 10", "l accepted 11"]);
    assert_eq!(bench.just_turn(), ["next turn"]);
}

#[test]
fn connections_that_died_in_the_queue_are_skipped() {
    let mut bench = Bench::default();
    listen(&mut bench, 10);
    bench.kernel.arrival(Err(ErrorKind::ConnectionAborted.into()));
    bench.kernel.arrival(Ok(10));
    bench.kernel.arrival(Err(ErrorKind::Interrupted.into()));
    bench.kernel.arrival(Err(io::Error::from_raw_os_error(EPROTO)));
    arrive(&bench, 11..=11);
    assert_eq!(bench.just_turn(), ["l accepted 10", "l accepted 11"]);
    assert!(bench.kernel.calls().is_empty());
}

#[test]
fn skipping_is_bounded_by_the_backlog_as_well() {
    let mut bench = Bench::default();
    listen(&mut bench, 3);
    (0..3).for_each(|_| bench.kernel.arrival(Err(ErrorKind::ConnectionAborted.into())));
    arrive(&bench, 10..=10);
    assert!(bench.just_turn().is_empty());
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["l accepted 10"]);
}

#[test]
fn a_process_without_descriptors_pauses_the_listener() {
    let mut bench = Bench::default();
    listen(&mut bench, 10);
    out_of_descriptors(&bench);
    assert_eq!(bench.just_turn(), ["l accept failed, first true"]);
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
    assert_eq!(bench.kernel.calls(), ["remove 3"]);
}

#[test]
fn a_paused_listener_does_not_spin() {
    let mut bench = Bench::default();
    listen(&mut bench, 10);
    out_of_descriptors(&bench);
    bench.just_turn();
    call_at(&mut bench.engine, 1.0, "resume");
    // What is not registered is not reported: the loop sleeps until the timer.
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.timeouts()[1], Some(std::time::Duration::from_secs(1)));
}

#[test]
fn connections_that_came_before_the_failure_are_accepted() {
    let mut bench = Bench::default();
    listen(&mut bench, 10);
    bench.kernel.arrival(Ok(10));
    out_of_descriptors(&bench);
    assert_eq!(bench.just_turn(), ["l accepted 10", "l accept failed, first true"]);
}

#[test]
fn a_listener_that_was_resumed_accepts_again() {
    let mut bench = Bench::default();
    let key = listen(&mut bench, 10);
    out_of_descriptors(&bench);
    bench.just_turn();
    bench.kernel.calls();
    bench.engine.resume_listener(key).unwrap();
    assert_eq!(bench.kernel.calls(), ["add 3 r"]);
    arrive(&bench, 10..=10);
    assert_eq!(bench.just_turn(), ["l accepted 10"]);
}

#[test]
fn only_the_first_failure_of_an_episode_is_marked() {
    let mut bench = Bench::default();
    let key = listen(&mut bench, 10);
    for first in [true, false, false] {
        out_of_descriptors(&bench);
        assert_eq!(bench.just_turn(), [format!("l accept failed, first {first}")]);
        bench.engine.resume_listener(key).unwrap();
    }
    arrive(&bench, 10..=10);
    bench.just_turn();
    out_of_descriptors(&bench);
    assert_eq!(bench.just_turn(), ["l accept failed, first true"]);
}

#[test]
fn resuming_at_once_tries_no_more_often_than_the_backlog() {
    let mut bench = Bench::default();
    let key = listen(&mut bench, 3);
    (0..10).for_each(|_| bench.kernel.arrival(Err(io::Error::from_raw_os_error(EMFILE))));
    readable(&bench, &[3]);
    let log = bench.turn(|engine, _| engine.resume_listener(key).unwrap());
    assert_eq!(log.len(), 3);
}

#[test]
fn a_resume_that_the_poller_refuses_is_an_error_and_can_be_repeated() {
    let mut bench = Bench::default();
    let key = listen(&mut bench, 10);
    out_of_descriptors(&bench);
    bench.just_turn();
    bench.kernel.refuse(Some(ErrorKind::OutOfMemory));
    assert!(bench.engine.resume_listener(key).is_err());
    bench.kernel.refuse(None);
    bench.engine.resume_listener(key).unwrap();
    arrive(&bench, 10..=10);
    assert_eq!(bench.just_turn(), ["l accepted 10"]);
}

#[test]
fn a_listener_can_be_closed_while_it_accepts() {
    let mut bench = Bench::default();
    let key = listen(&mut bench, 10);
    arrive(&bench, 10..=12);
    let log = bench.turn(|engine, _| assert_eq!(engine.unlisten(key), Some("l")));
    assert_eq!(log, ["l accepted 10"]);
    assert_eq!(bench.kernel.calls(), ["remove 3"]);
    assert_eq!(bench.engine.listener_on(fd(3)), None);
    assert_eq!(bench.engine.unlisten(key), None);
}

#[test]
fn a_listener_can_be_closed_by_its_number() {
    let mut bench = Bench::default();
    listen(&mut bench, 10);
    stream(&mut bench, 4, "s");
    assert_eq!(bench.engine.unlisten_on(fd(4)), None);
    assert_eq!(bench.engine.unlisten_on(fd(3)), Some("l"));
    assert_eq!(bench.engine.unlisten_on(fd(3)), None);
}

#[test]
fn a_listener_that_takes_the_place_of_another_gets_none_of_its_events() {
    let mut bench = Bench::default();
    let key = listen(&mut bench, 10);
    arrive(&bench, 10..=12);
    let log = bench.turn(|engine, _| {
        engine.unlisten(key);
        engine.listen(fd(3), 10, "new").unwrap();
    });
    assert_eq!(log, ["l accepted 10"]);
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["new accepted 11", "new accepted 12"]);
}

#[test]
fn a_descriptor_that_cannot_be_listened_on_gives_the_payload_back() {
    let mut bench = Bench::default();
    bench.kernel.refuse(Some(ErrorKind::PermissionDenied));
    let (error, conn) = bench.engine.listen(fd(3), 1, "l").unwrap_err();
    assert_eq!((error.kind(), conn), (ErrorKind::PermissionDenied, "l"));
    assert_eq!(bench.engine.listener_on(fd(3)), None);
}

#[test]
fn a_stream_is_no_listener_and_a_listener_no_stream() {
    let mut bench = Bench::default();
    let stream = stream(&mut bench, 4, "s");
    let key = listen(&mut bench, 1);
    let engine = &mut bench.engine;
    assert_eq!(engine.unlisten(stream), None);
    assert_eq!(engine.listener(stream), None);
    assert_eq!(engine.release(key), None);
    assert_eq!(engine.conn(key), None);
    assert_eq!(engine.listener_on(fd(4)), None);
}
