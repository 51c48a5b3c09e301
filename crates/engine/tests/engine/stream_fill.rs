//! Streams whose owner prepares something before each flush.

use oxloop_engine::Limits;
use oxloop_engine::testing::Bench;

use crate::setup::{assert_fine, blocked_stream, soon, stream, write};

#[test]
fn the_owner_writes_right_before_the_flush() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    soon(&mut bench.engine, "job");
    let log = bench.turn(|engine, step| match step {
        "job" => engine.fill_later(key),
        "s fill" => assert_fine(&write(engine, key, b"filled")),
        _ => {}
    });
    assert_eq!(log, ["job", "s fill"]);
    assert_eq!((bench.kernel.sent(3).as_slice(), bench.kernel.sends()), (&b"filled"[..], 1));
}

#[test]
fn the_owner_is_asked_once_a_flush() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    for _ in 0..3 {
        bench.engine.fill_later(key);
    }
    assert_eq!(bench.just_turn(), ["s fill"]);
    assert!(bench.just_turn().is_empty());
}

#[test]
fn what_was_queued_before_is_sent_although_the_owner_writes_nothing() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"early");
    bench.engine.fill_later(key);
    assert_eq!(bench.just_turn(), ["s fill"]);
    assert_eq!(bench.kernel.sent(3), b"early");
}

#[test]
fn the_owner_of_a_blocked_stream_is_asked_too() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 100);
    let sends = bench.kernel.sends();
    bench.engine.fill_later(key);
    assert_eq!(bench.just_turn(), ["s fill"]);
    assert_eq!(bench.kernel.sends(), sends);
}

#[test]
fn nobody_is_asked_for_a_stream_that_is_gone() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.fill_later(key);
    bench.engine.release(key);
    bench.engine.fill_later(key);
    assert!(bench.just_turn().is_empty());
}

#[test]
fn a_writer_that_waits_is_told_to_go_on_although_the_last_of_it_was_sent_before_the_fill() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_limits(key, Limits { low: 1, high: 1000 });
    write(&mut bench.engine, key, b"queued");
    assert!(bench.engine.pause_writer(key));
    bench.engine.fill_later(key);
    bench.engine.flush_now(key).unwrap();
    assert_eq!(bench.just_turn(), ["s fill", "s flushed, resume true"]);
}
