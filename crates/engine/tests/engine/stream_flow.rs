//! Water marks: who is told to pause and to go on, and when.

use oxloop_engine::testing::Bench;
use oxloop_engine::{Closing, Key, Limits, Wrote};

use crate::setup::{
    arrives, assert_fine, assert_pause, blocked_stream, soon, stream, writable, write,
};

fn limited(bench: &mut Bench, low: usize, high: usize) -> Key {
    let key = stream(bench, 3, "s");
    assert_fine(&bench.engine.set_limits(key, Limits { low, high }));
    key
}

/// A stream with these marks whose kernel is full and whose writer was told to pause.
fn paused(bench: &mut Bench, low: usize, high: usize) -> Key {
    let key = limited(bench, low, high);
    bench.kernel.room(3, Ok(0));
    assert_pause(&write(&mut bench.engine, key, &vec![b'x'; high + 1]));
    key
}

#[test]
fn the_marks_are_those_of_asyncio_until_they_are_set() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert_eq!(bench.engine.limits(key), Limits { low: 16 * 1024, high: 64 * 1024 });
    let limits = Limits { low: 1, high: 2 };
    bench.engine.set_limits(key, limits);
    assert_eq!(bench.engine.limits(key), limits);
}

#[test]
fn what_exceeds_the_high_mark_is_sent_before_its_writer_pauses() {
    let mut bench = Bench::default();
    let key = limited(&mut bench, 0, 10);
    assert_fine(&write(&mut bench.engine, key, b"0123456789"));
    assert_eq!(bench.kernel.sends(), 0);
    assert_fine(&write(&mut bench.engine, key, b"A"));
    assert_eq!(bench.kernel.sent(3), b"0123456789A");
    assert!(!bench.engine.is_write_paused(key));
}

#[test]
fn a_writer_that_the_kernel_cannot_follow_pauses() {
    let mut bench = Bench::default();
    let key = limited(&mut bench, 0, 10);
    bench.kernel.room(3, Ok(2));
    assert_pause(&write(&mut bench.engine, key, b"0123456789ABC"));
    assert!(bench.engine.is_write_paused(key));
    assert_eq!(bench.engine.buffered(key), 11);
}

#[test]
fn a_writer_that_the_kernel_half_follows_does_not_pause() {
    let mut bench = Bench::default();
    let key = limited(&mut bench, 0, 10);
    bench.kernel.room(3, Ok(3));
    assert_fine(&write(&mut bench.engine, key, b"0123456789ABC"));
    assert_eq!((bench.engine.buffered(key), bench.engine.is_blocked(key)), (10, true));
}

#[test]
fn a_writer_is_told_to_pause_once() {
    let mut bench = Bench::default();
    let key = paused(&mut bench, 0, 10);
    for _ in 0..3 {
        assert_fine(&write(&mut bench.engine, key, b"more"));
    }
}

#[test]
fn a_writer_goes_on_at_the_low_mark_and_is_told_once() {
    let mut bench = Bench::default();
    paused(&mut bench, 4, 10);
    for (room, log) in [(6, &[][..]), (1, &["s flushed, resume true"]), (1, &[]), (99, &[])] {
        bench.kernel.room(3, Ok(room));
        writable(&bench, &[3]);
        assert_eq!(bench.just_turn(), log, "after {room} more bytes");
    }
    assert_eq!(bench.kernel.sent(3).len(), 11);
}

#[test]
fn a_writer_that_went_on_can_be_paused_again() {
    let mut bench = Bench::default();
    let key = paused(&mut bench, 0, 10);
    for _ in 0..3 {
        writable(&bench, &[3]);
        assert_eq!(bench.just_turn(), ["s flushed, resume true"]);
        assert!(!bench.engine.is_write_paused(key));
        bench.kernel.room(3, Ok(0));
        assert_pause(&write(&mut bench.engine, key, &[b'x'; 11]));
    }
}

#[test]
fn a_writer_may_write_as_soon_as_it_goes_on() {
    let mut bench = Bench::default();
    let key = paused(&mut bench, 0, 10);
    writable(&bench, &[3]);
    bench.turn(|engine, _| {
        assert_fine(&write(engine, key, b"at once"));
    });
    assert_eq!(bench.kernel.sent(3), b"xxxxxxxxxxxat once");
}

#[test]
fn with_both_marks_at_zero_a_writer_pauses_for_every_byte_that_waits() {
    let mut bench = Bench::default();
    let key = limited(&mut bench, 0, 0);
    assert_fine(&write(&mut bench.engine, key, b"taken at once"));
    assert_eq!(bench.kernel.sends(), 1);
    bench.kernel.room(3, Ok(1));
    assert_pause(&write(&mut bench.engine, key, b"xy"));
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s flushed, resume true"]);
}

#[test]
fn lower_marks_send_what_exceeds_them_before_the_writer_pauses() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"hello");
    assert_fine(&bench.engine.set_limits(key, Limits { low: 0, high: 1 }));
    assert_eq!(bench.kernel.sent(3), b"hello");
    assert!(bench.just_turn().is_empty());
}

#[test]
fn lower_marks_can_pause_the_writer() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 100);
    assert_fine(&bench.engine.set_limits(key, Limits { low: 10, high: 100 }));
    assert_pause(&bench.engine.set_limits(key, Limits { low: 10, high: 99 }));
    assert_fine(&bench.engine.set_limits(key, Limits { low: 10, high: 98 }));
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s flushed, resume true"]);
}

#[test]
fn higher_marks_let_a_paused_writer_go_on_at_the_next_progress() {
    let mut bench = Bench::default();
    let key = paused(&mut bench, 0, 10);
    assert_fine(&bench.engine.set_limits(key, Limits { low: 50, high: 100 }));
    bench.kernel.room(3, Ok(1));
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s flushed, resume true"]);
    assert!(bench.engine.is_blocked(key));
}

#[test]
fn a_paused_writer_goes_on_when_its_last_word_has_emptied_its_queue() {
    let mut bench = Bench::default();
    let key = paused(&mut bench, 0, 10);
    bench.engine.write_eof(key).unwrap();
    assert_eq!(bench.just_turn(), ["s flushed, resume true"]);
}

#[test]
fn a_paused_writer_that_closes_is_told_to_go_on_before_its_end() {
    let mut bench = Bench::default();
    let key = paused(&mut bench, 0, 10);
    assert!(matches!(bench.engine.close(key), Closing::AfterFlush));
    writable(&bench, &[3]);
    let log = bench.turn(|engine, _| assert!(engine.settle(key).finished));
    assert_eq!(log, ["s flushed, resume true"]);
}

#[test]
fn a_paused_writer_whose_queue_is_empty_is_told_to_go_on_although_it_closes() {
    let mut bench = Bench::default();
    let key = paused(&mut bench, 0, 10);
    bench.engine.write_eof(key).unwrap();
    assert!(matches!(bench.engine.close(key), Closing::AfterFlush));
    let log = bench.turn(|engine, _| assert!(engine.settle(key).finished));
    assert_eq!(log, ["s flushed, resume true"]);
}

#[test]
fn a_paused_writer_goes_on_when_lower_marks_have_emptied_its_queue() {
    let mut bench = Bench::default();
    let key = paused(&mut bench, 5, 10);
    bench.engine.set_limits(key, Limits { low: 0, high: 0 });
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s flushed, resume true"]);
}

#[test]
fn a_writer_that_pauses_in_its_callback_goes_on_in_the_same_turn_at_the_earliest() {
    let mut bench = Bench::default();
    let key = limited(&mut bench, 0, 10);
    arrives(&bench, 3, b"x");
    bench.kernel.room(3, Ok(0));
    let log = bench.turn(|engine, step| {
        if step == "s received x" {
            assert_pause(&write(engine, key, &[b'x'; 11]));
        }
    });
    assert_eq!(log, ["s received x"]);
    soon(&mut bench.engine, "job");
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["job", "s flushed, resume true"]);
}

#[test]
fn nothing_is_told_about_streams_that_are_gone() {
    let mut bench = Bench::default();
    let key = paused(&mut bench, 0, 10);
    bench.engine.release(key);
    let engine = &mut bench.engine;
    assert_fine(&engine.set_limits(key, Limits { low: 0, high: 0 }));
    assert!(!engine.is_write_paused(key) && !engine.is_blocked(key));
    assert!(matches!(write(engine, key, b"x"), Wrote::Closed));
}

#[test]
fn a_writer_who_waits_for_himself_is_told_when_the_low_mark_is_reached() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_limits(key, Limits { low: 4, high: 100 });
    assert_fine(&write(&mut bench.engine, key, b"1234"));
    assert!(!bench.engine.pause_writer(key));
    assert_fine(&write(&mut bench.engine, key, b"5"));
    assert!(bench.engine.pause_writer(key));
    assert!(bench.engine.is_write_paused(key));
    assert_eq!(bench.just_turn(), ["s flushed, resume true"]);
    assert!(!bench.engine.is_write_paused(key));
}
