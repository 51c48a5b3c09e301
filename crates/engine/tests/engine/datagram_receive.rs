//! Receiving datagrams: batches, and what becomes of those that cannot be delivered yet.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Interest, Name, Payload};

use crate::setup::{add_reader, endpoint, fd, mail, readable, send, soon};

#[test]
fn a_batch_is_delivered_one_by_one_in_its_order() {
    let mut bench = Bench::default();
    endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"one", b"", b"three"]);
    assert_eq!(bench.just_turn(), ["e datagram one", "e datagram ", "e datagram three"]);
}

#[test]
fn a_datagram_has_the_name_of_its_sender() {
    let mut bench = Bench::default();
    endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"x"]);
    let from = Name::v4(std::net::Ipv4Addr::LOCALHOST, 9);
    bench.turn(|engine, _| assert_eq!(engine.datagram(), (&b"x"[..], from.as_raw())));
}

#[test]
fn an_event_brings_no_more_than_a_batch() {
    let mut bench = Bench::default();
    endpoint(&mut bench, 3, "e");
    add_reader(&mut bench.engine, 4, "other");
    bench.kernel.mail(3, &[&b"x"[..]; 40]);
    readable(&bench, &[3, 4]);
    let log = bench.just_turn();
    assert_eq!((log.len(), log[32].as_str()), (33, "other"));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn().len(), 8);
}

#[test]
fn nothing_is_delivered_before_reading_starts() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"x"]);
    bench.engine.stop_reading(key).unwrap();
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
}

#[test]
fn errors_are_facts_that_end_nothing() {
    let mut bench = Bench::default();
    endpoint(&mut bench, 3, "e");
    bench.kernel.incoming(3, Err(Error::from(ErrorKind::ConnectionRefused)));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["e datagram failed: connection refused"]);
    mail(&bench, 3, &[b"x"]);
    assert_eq!(bench.just_turn(), ["e datagram x"]);
}

#[test]
fn an_event_without_a_datagram_is_nothing() {
    let mut bench = Bench::default();
    endpoint(&mut bench, 3, "e");
    for kind in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
        bench.kernel.incoming(3, Err(kind.into()));
        readable(&bench, &[3]);
        assert!(bench.just_turn().is_empty());
    }
}

#[test]
fn nothing_is_delivered_after_close_abort_or_release() {
    for end in ["close", "abort", "release"] {
        let mut bench = Bench::default();
        let key = endpoint(&mut bench, 3, "e");
        mail(&bench, 3, &[b"1", b"2", b"3"]);
        let log = bench.turn(|engine, _| match end {
            "close" => drop(engine.close(key)),
            "abort" => assert!(engine.abort(key)),
            _ => assert_eq!(engine.release(key), Some("e")),
        });
        assert_eq!(log, ["e datagram 1"], "{end}");
        assert!(bench.just_turn().is_empty());
    }
}

#[test]
fn the_batch_of_one_that_is_gone_reaches_nobody_else() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "old");
    mail(&bench, 3, &[b"1", b"2"]);
    let log = bench.turn(|engine, step| {
        if step == "old datagram 1" {
            engine.release(key);
            let measures = oxloop_engine::Measures { largest: 1 << 16, header: 0 };
            let new = engine.open_endpoint(fd(3), measures, "new").unwrap();
            engine.start_reading(new).unwrap();
        }
    });
    assert_eq!(log, ["old datagram 1"]);
}

#[test]
fn the_rest_of_a_batch_waits_for_an_owner_that_pauses() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2", b"3"]);
    let log = bench.turn(|engine, _| engine.stop_reading(key).unwrap());
    assert_eq!(log, ["e datagram 1"]);
    assert!(bench.just_turn().is_empty());
    bench.engine.start_reading(key).unwrap();
    assert_eq!(bench.just_turn(), ["e datagram 2", "e datagram 3"]);
    assert_eq!(bench.kernel.timeouts().last(), Some(&Some(Duration::ZERO)), "need no wait");
}

#[test]
fn what_waited_comes_before_what_is_new_and_may_be_paused_again() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2", b"3"]);
    bench.turn(|engine, _| engine.stop_reading(key).unwrap());
    bench.engine.start_reading(key).unwrap();
    mail(&bench, 3, &[b"4"]);
    let log = bench.turn(|engine, _| engine.stop_reading(key).unwrap());
    assert_eq!(log, ["e datagram 2"]);
    bench.engine.start_reading(key).unwrap();
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["e datagram 3", "e datagram 4"]);
}

#[test]
fn pausing_and_resuming_in_one_callback_changes_nothing() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2"]);
    let log = bench.turn(|engine, _| {
        engine.stop_reading(key).unwrap();
        engine.start_reading(key).unwrap();
    });
    assert_eq!(log, ["e datagram 1", "e datagram 2"]);
}

#[test]
fn a_backlog_is_dropped_with_its_endpoint() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2"]);
    bench.turn(|engine, _| engine.stop_reading(key).unwrap());
    bench.engine.start_reading(key).unwrap();
    bench.engine.abort(key);
    assert!(bench.just_turn().is_empty());
}

#[test]
fn an_interrupted_run_loses_no_datagram() {
    let mut bench = Bench::default();
    endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2", b"3"]);
    bench.engine.begin_run(false);
    assert_eq!(bench.run(|_, step| step != "e datagram 1"), ["e datagram 1"]);
    soon(&mut bench.engine, "job");
    assert_eq!(bench.just_turn(), ["job", "e datagram 2", "e datagram 3"]);
}

#[test]
fn an_interrupted_run_with_a_paused_owner_delivers_when_it_goes_on() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2"]);
    bench.engine.begin_run(false);
    bench.run(|engine, _| {
        engine.stop_reading(key).unwrap();
        false
    });
    assert!(bench.just_turn().is_empty());
    bench.engine.start_reading(key).unwrap();
    assert_eq!(bench.just_turn(), ["e datagram 2"]);
}

#[test]
fn visit_and_drain_reach_endpoints() {
    let mut bench = Bench::default();
    endpoint(&mut bench, 3, "e");
    let mut seen = Vec::new();
    bench.engine.visit(|payload| seen.push(format!("{payload:?}")));
    assert_eq!(seen, ["Conn(\"e\")"]);
    assert!(matches!(bench.engine.drain()[..], [Payload::Conn("e")]));
    mail(&bench, 3, &[b"x"]);
    assert!(bench.just_turn().is_empty());
}

#[test]
fn an_endpoint_that_is_released_while_it_answers_sends_nothing() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2"]);
    bench.turn(|engine, _| {
        send(engine, key, b"answer");
        engine.release(key);
    });
    assert!(bench.kernel.posted(3).is_empty());
}
