//! Lookups on threads of their own. Waits without a timeout last until somebody wakes the loop.

use std::ffi::CString;
use std::thread;
use std::time::Duration;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Key, Payload, Query, needs_no_network};

use crate::setup::soon;

/// As many lookups go on at once.
const THREADS: usize = 8;

fn query(host: &str) -> Query {
    let (host, service) = (CString::new(host).ok(), None);
    Query::Addresses { host, service, family: 0, kind: 0, protocol: 0, flags: 0 }
}

fn look_up(bench: &mut Bench, name: &'static str) -> Key {
    bench.engine.look_up(query(name), name).unwrap()
}

fn blocking() -> Bench {
    let bench = Bench::default();
    bench.kernel.block_waits();
    bench
}

/// Runs turns until `count` steps are written down.
fn until(bench: &mut Bench, count: usize) -> Vec<String> {
    let mut log = Vec::new();
    while log.len() < count {
        log.extend(bench.just_turn());
    }
    log.sort();
    log
}

/// Waits until that many lookups have begun.
fn begun(bench: &Bench, count: usize) {
    while bench.kernel.lookups() < count {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_answer_ends_the_wait() {
    let mut bench = blocking();
    look_up(&mut bench, "host");
    assert_eq!(until(&mut bench, 1), ["host resolved host"]);
    assert!(bench.engine.drain().is_empty());
}

#[test]
fn the_loop_goes_on_meanwhile() {
    let mut bench = blocking();
    bench.kernel.hold_lookups();
    look_up(&mut bench, "host");
    soon(&mut bench.engine, "job");
    assert_eq!(bench.just_turn(), ["job"]);
    bench.kernel.answer(1);
    assert_eq!(until(&mut bench, 1), ["host resolved host"]);
}

#[test]
fn every_lookup_is_answered_once() {
    let mut bench = blocking();
    for _ in 0..100 {
        look_up(&mut bench, "host");
    }
    assert_eq!(until(&mut bench, 100).len(), 100);
    assert_eq!(bench.kernel.lookups(), 100);
}

#[test]
fn the_threads_are_few() {
    let mut bench = blocking();
    bench.kernel.hold_lookups();
    for _ in 0..20 {
        look_up(&mut bench, "host");
    }
    begun(&bench, THREADS);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(bench.kernel.lookups(), THREADS);
    bench.kernel.answer(20);
    assert_eq!(until(&mut bench, 20).len(), 20);
}

#[test]
fn one_that_is_forgotten_is_not_told() {
    let mut bench = blocking();
    bench.kernel.hold_lookups();
    let forgotten = look_up(&mut bench, "forgotten");
    look_up(&mut bench, "kept");
    begun(&bench, 2);
    assert_eq!(bench.engine.forget_lookup(forgotten), Some("forgotten"));
    assert_eq!(bench.engine.forget_lookup(forgotten), None);
    bench.kernel.answer(2);
    assert_eq!(until(&mut bench, 1), ["kept resolved kept"]);
}

#[test]
fn one_that_is_forgotten_before_it_began_is_not_made() {
    let mut bench = blocking();
    bench.kernel.hold_lookups();
    for _ in 0..THREADS {
        look_up(&mut bench, "first");
    }
    begun(&bench, THREADS);
    let forgotten = look_up(&mut bench, "forgotten");
    bench.engine.forget_lookup(forgotten);
    look_up(&mut bench, "last");
    bench.kernel.answer(THREADS + 1);
    assert_eq!(until(&mut bench, THREADS + 1).len(), THREADS + 1);
    assert_eq!(bench.kernel.lookups(), THREADS + 1);
}

#[test]
fn an_engine_that_ends_waits_for_nobody() {
    let mut bench = blocking();
    bench.kernel.hold_lookups();
    for _ in 0..20 {
        look_up(&mut bench, "host");
    }
    begun(&bench, THREADS);
    let mut seen = 0;
    bench.engine.visit(|payload| seen += usize::from(matches!(payload, Payload::Conn(&"host"))));
    let all = bench.engine.drain();
    assert_eq!((seen, all.len()), (20, 20));
    let kernel = bench.kernel.clone();
    drop(bench);
    // The threads come back to nobody, and begin nothing new.
    kernel.answer(THREADS);
    thread::sleep(Duration::from_millis(20));
    assert_eq!(kernel.lookups(), THREADS);
}

#[test]
fn after_the_end_there_may_be_another_beginning() {
    let mut bench = blocking();
    look_up(&mut bench, "first");
    bench.engine.drain();
    look_up(&mut bench, "second");
    assert_eq!(until(&mut bench, 1), ["second resolved second"]);
}

#[test]
fn what_is_written_out_needs_no_network() {
    let hosts = [None, Some("127.0.0.1"), Some("::1"), Some("fe80::1%1"), Some("fe80::1%eth0")];
    for host in hosts.map(|host| host.map(str::as_bytes)) {
        assert!(needs_no_network(host, None) && needs_no_network(host, Some(b"080")));
        assert!(!needs_no_network(host, Some(b"http")) && !needs_no_network(host, Some(b"")));
    }
    for host in ["localhost", "", "127.1", "0x7f.1", "1.2.3.4 ", "1.2.3.4%1", "a::b::c", "\u{e9}"] {
        assert!(!needs_no_network(Some(host.as_bytes()), Some(b"80")), "{host}");
    }
}
