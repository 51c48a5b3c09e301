//! Kernels that take less than they are given, and errors.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Interest, Limits, Wrote};

use crate::setup::{
    arrives, assert_fine, assert_pause, blocked_stream, fill, pattern, readable, soon, stream,
    writable, write, write_held,
};

#[test]
fn a_kernel_that_takes_a_part_is_waited_for() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.room(3, Ok(2));
    write(&mut bench.engine, key, b"hello");
    soon(&mut bench.engine, "job");
    bench.just_turn();
    assert_eq!((bench.kernel.sent(3), bench.engine.buffered(key)), (b"he".to_vec(), 3));
    assert_eq!((bench.kernel.calls(), bench.kernel.sends()), (vec!["modify 3 rw".to_owned()], 1));
    writable(&bench, &[3]);
    assert!(bench.just_turn().is_empty());
    assert_eq!((bench.kernel.sent(3), bench.kernel.sends()), (b"hello".to_vec(), 2));
    assert_eq!(bench.kernel.calls(), ["modify 3 r"]);
}

#[test]
fn a_stream_that_does_not_read_is_registered_only_while_it_waits() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.stop_reading(key).unwrap();
    fill(&mut bench, key, 3, 10);
    assert_eq!(bench.kernel.interest(3), Interest { read: false, write: true });
    writable(&bench, &[3]);
    bench.just_turn();
    assert_eq!(bench.kernel.calls(), ["remove 3"]);
}

#[test]
fn a_stream_that_waits_for_the_kernel_does_not_try_at_every_write() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 5);
    let sends = bench.kernel.sends();
    for _ in 0..10 {
        assert_fine(&write(&mut bench.engine, key, b"more"));
        soon(&mut bench.engine, "job");
        bench.just_turn();
    }
    assert_pause(&write(&mut bench.engine, key, &pattern(70 * 1024)));
    assert_eq!(bench.kernel.sends(), sends);
    writable(&bench, &[3]);
    bench.just_turn();
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (sends + 1, 0));
}

#[test]
fn a_kernel_that_is_full_again_is_waited_for_again() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 5);
    bench.kernel.room(3, Ok(0));
    writable(&bench, &[3]);
    bench.just_turn();
    assert!(bench.engine.is_blocked(key));
    assert!(bench.kernel.calls().is_empty());
}

#[test]
fn a_stream_that_waits_for_nothing_ignores_that_it_could_write() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "s");
    writable(&bench, &[3]);
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.sends(), 0);
}

#[test]
fn a_write_that_was_interrupted_is_repeated() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.room(3, Err(ErrorKind::Interrupted.into()));
    write(&mut bench.engine, key, b"hello");
    bench.just_turn();
    assert_eq!(bench.kernel.sent(3), b"hello");
}

#[test]
fn a_flush_that_fails_is_reported_and_empties_the_queue() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.room(3, Err(ErrorKind::BrokenPipe.into()));
    write(&mut bench.engine, key, b"hello");
    soon(&mut bench.engine, "job");
    assert_eq!(bench.just_turn(), ["s write failed: broken pipe", "job"]);
    assert_eq!(bench.engine.buffered(key), 0);
    assert!(bench.turn(|engine, _| engine.stop(true)).is_empty());
}

#[test]
fn a_stream_that_failed_while_it_waited_waits_no_more() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 5);
    bench.kernel.room(3, Err(ErrorKind::ConnectionReset.into()));
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s write failed: connection reset"]);
    assert_eq!((bench.engine.buffered(key), bench.engine.is_blocked(key)), (0, false));
    assert_eq!(bench.kernel.interest(3), Interest { read: true, write: false });
}

#[test]
fn one_streams_failure_does_not_hold_up_the_others() {
    let mut bench = Bench::default();
    let (a, b) = (stream(&mut bench, 3, "a"), stream(&mut bench, 4, "b"));
    bench.kernel.room(3, Err(ErrorKind::BrokenPipe.into()));
    write(&mut bench.engine, a, b"x");
    write(&mut bench.engine, b, b"y");
    assert_eq!(bench.just_turn(), ["a write failed: broken pipe"]);
    assert_eq!(bench.kernel.sent(4), b"y");
}

#[test]
fn a_stream_that_cannot_wait_for_the_kernel_has_failed() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.room(3, Ok(0));
    bench.kernel.refuse(Some(ErrorKind::OutOfMemory));
    write(&mut bench.engine, key, b"hello");
    assert_eq!(bench.just_turn(), ["s write failed: out of memory"]);
    assert_eq!((bench.engine.buffered(key), bench.engine.is_blocked(key)), (0, false));
}

#[test]
fn data_and_room_of_one_event_are_both_used() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 5);
    bench.kernel.incoming(3, Ok(b"ping"));
    bench.kernel.ready(&[(3, true, true)]);
    let log = bench.turn(|engine, _| assert_fine(&write(engine, key, b"pong")));
    assert_eq!((log, bench.kernel.sends()), (vec!["s received ping".to_owned()], 2));
    assert_eq!(bench.kernel.sent(3), b"qqqqqpong");
}

#[test]
fn hundreds_of_pieces_arrive_in_their_order() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_limits(key, Limits { low: 0, high: usize::MAX });
    let all = pattern(300 * 3000);
    for (number, piece) in all.chunks(3000).enumerate() {
        // Copied and held ones in turn.
        let wrote = if number % 3 == 0 {
            write(&mut bench.engine, key, piece)
        } else {
            write_held(&mut bench.engine, key, piece)
        };
        assert_fine(&wrote);
    }
    bench.just_turn();
    assert!(bench.kernel.sent(3) == all);
    assert_eq!(bench.kernel.sends(), 300_usize.div_ceil(64));
}

#[test]
fn a_kernel_that_takes_a_part_of_several_pieces_is_not_asked_again() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"header");
    write_held(&mut bench.engine, key, &pattern(5000));
    bench.kernel.room(3, Ok(1000));
    bench.just_turn();
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (1, 4006));
    assert!(bench.engine.is_blocked(key));
}

#[test]
fn pieces_that_are_taken_byte_by_byte_arrive_in_their_order() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    let all = pattern(9000);
    for piece in all.chunks(2500) {
        write_held(&mut bench.engine, key, piece);
        bench.kernel.room(3, Ok(999));
    }
    while bench.engine.buffered(key) > 0 {
        bench.kernel.ready(&[(3, true, true)]);
        bench.kernel.room(3, Ok(999));
        bench.just_turn();
    }
    assert!(bench.kernel.sent(3) == all);
}

#[test]
fn a_write_to_a_stream_that_is_gone_is_dropped() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.release(key);
    assert!(matches!(write(&mut bench.engine, key, b"x"), Wrote::Closed));
    assert_eq!(bench.engine.buffered(key), 0);
}

#[test]
fn a_write_inside_a_readers_callback_does_not_disturb_the_data() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    arrives(&bench, 3, b"hello");
    bench.turn(|engine, _| {
        write(engine, key, &pattern(100 * 1024));
        assert_eq!(engine.received(5), b"hello");
    });
    readable(&bench, &[3]);
    bench.just_turn();
}
