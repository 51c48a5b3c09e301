//! Large writes, kernels that take less than they are given, and errors.

use std::io::{self, ErrorKind};

use oxloop_engine::testing::Bench;
use oxloop_engine::{Interest, Key, Limits, Wrote};

use crate::setup::{
    arrives, assert_fine, assert_pause, blocked_stream, readable, soon, stream, writable, write,
    write_held,
};

const KIB: usize = 1024;

/// Bytes that show when they are out of order.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|number| (number % 251) as u8).collect()
}

#[track_caller]
fn assert_failed(wrote: &Wrote, kind: ErrorKind) {
    assert!(matches!(wrote, Wrote::Failed(error) if error.kind() == kind), "{wrote:?}");
}

/// Whether the owner of written bytes was asked to hold them.
fn held_of(bench: &mut Bench, key: Key, data: &[u8]) -> bool {
    let mut asked = false;
    bench.engine.write(key, data, || {
        asked = true;
        None
    });
    asked
}

#[test]
fn a_write_of_64_kib_leaves_at_once_and_a_smaller_one_does_not() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert_fine(&write(&mut bench.engine, key, &pattern(64 * KIB - 1)));
    assert_eq!(bench.kernel.sends(), 0);
    bench.just_turn();
    assert_fine(&write(&mut bench.engine, key, &pattern(64 * KIB)));
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (2, 0));
}

#[test]
fn a_large_write_behind_a_small_one_takes_it_along_at_once() {
    let body = pattern(64 * KIB);
    for high in [64 * KIB, 1024 * KIB] {
        let mut bench = Bench::default();
        let key = stream(&mut bench, 3, "s");
        bench.engine.set_limits(key, Limits { low: 0, high });
        assert_fine(&write(&mut bench.engine, key, b"header"));
        assert_fine(&write_held(&mut bench.engine, key, &body));
        assert_eq!(bench.kernel.sends(), 1);
        assert!(bench.kernel.sent(3) == [b"header", &body[..]].concat());
        bench.just_turn();
        assert_eq!(bench.kernel.sends(), 1);
    }
}

#[test]
fn the_rest_of_a_large_write_waits_for_the_kernel_without_a_second_attempt() {
    for high in [64 * KIB, 1024 * KIB] {
        let mut bench = Bench::default();
        let key = stream(&mut bench, 3, "s");
        bench.engine.set_limits(key, Limits { low: 0, high });
        let data = pattern(200 * KIB);
        bench.kernel.room(3, Ok(50 * KIB));
        let wrote = write_held(&mut bench.engine, key, &data);
        assert_eq!(matches!(wrote, Wrote::Pause), high == 64 * KIB);
        assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (1, 150 * KIB));
        assert_eq!(bench.kernel.calls(), ["modify 3 rw"]);
        writable(&bench, &[3]);
        bench.just_turn();
        assert!(bench.kernel.sent(3) == data);
    }
}

#[test]
fn a_large_write_that_the_kernel_does_not_take_waits_as_a_whole() {
    for (kind, attempts) in [(ErrorKind::WouldBlock, 1), (ErrorKind::Interrupted, 2)] {
        let mut bench = Bench::default();
        let key = stream(&mut bench, 3, "s");
        let data = pattern(100 * KIB);
        bench.kernel.room(3, Err(kind.into()));
        bench.kernel.room(3, Err(ErrorKind::WouldBlock.into()));
        assert_pause(&write(&mut bench.engine, key, &data));
        assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (attempts, data.len()));
        assert!(bench.engine.is_blocked(key));
    }
}

#[test]
fn a_large_write_that_fails_is_the_writers_to_know() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.room(3, Err(ErrorKind::BrokenPipe.into()));
    let wrote = write(&mut bench.engine, key, &pattern(64 * KIB));
    assert_failed(&wrote, ErrorKind::BrokenPipe);
    assert_eq!(bench.engine.buffered(key), 0);
    assert!(bench.just_turn().is_empty());
}

#[test]
fn a_large_write_that_cannot_wait_is_the_writers_to_know() {
    // The poller refuses to tell when the kernel has room again.
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.room(3, Ok(KIB));
    bench.kernel.refuse(Some(ErrorKind::OutOfMemory));
    let wrote = write(&mut bench.engine, key, &pattern(100 * KIB));
    assert_failed(&wrote, ErrorKind::OutOfMemory);
    assert_eq!((bench.engine.buffered(key), bench.engine.is_blocked(key)), (0, false));
}

#[test]
fn only_what_has_to_wait_and_is_large_is_held() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert!(!held_of(&mut bench, key, &pattern(2 * KIB - 1)));
    assert!(held_of(&mut bench, key, &pattern(2 * KIB)));
    bench.just_turn();
    assert!(!held_of(&mut bench, key, &pattern(64 * KIB)));
    bench.kernel.room(3, Ok(64 * KIB - 100));
    assert!(!held_of(&mut bench, key, &pattern(64 * KIB)));
}

#[test]
fn the_rest_of_held_bytes_starts_where_the_kernel_stopped() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    let data = pattern(100 * KIB);
    for room in [10 * KIB, 7, 30 * KIB] {
        bench.kernel.room(3, Ok(room));
    }
    write_held(&mut bench.engine, key, &data);
    for _ in 0..3 {
        writable(&bench, &[3]);
        bench.just_turn();
    }
    assert!(bench.kernel.sent(3) == data);
}

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
    crate::setup::fill(&mut bench, key, 3, 10);
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
    assert_pause(&write(&mut bench.engine, key, &pattern(70 * KIB)));
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
    assert_eq!(log, ["s received ping"]);
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
fn an_error_of_the_kernel_keeps_its_number() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.room(3, Err(io::Error::from_raw_os_error(110)));
    let Wrote::Failed(error) = write(&mut bench.engine, key, &pattern(64 * KIB)) else {
        panic!("should fail")
    };
    assert_eq!(error.raw_os_error(), Some(110));
}

#[test]
fn a_write_inside_a_readers_callback_does_not_disturb_the_data() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    arrives(&bench, 3, b"hello");
    bench.turn(|engine, _| {
        write(engine, key, &pattern(100 * KIB));
        assert_eq!(engine.received(5), b"hello");
    });
    readable(&bench, &[3]);
    bench.just_turn();
}
