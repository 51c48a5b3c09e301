//! Large writes: they leave at once, or join each other where they are held; their rest is held
//! where it is.

use std::io::{self, ErrorKind};

use oxloop_engine::testing::Bench;
use oxloop_engine::{Closing, Key, Limits, Wrote};

use crate::setup::{assert_fine, assert_pause, pattern, stream, writable, write, write_held};

const KIB: usize = 1024;

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
fn what_is_not_worth_a_copy_leaves_at_once_unless_something_waits_before_it() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert_fine(&bench.engine.write_at_once(key, b"alone"));
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (1, 0));
    assert_fine(&write(&mut bench.engine, key, b"first "));
    assert_fine(&bench.engine.write_at_once(key, b"second"));
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (2, 0));
    assert_eq!(bench.kernel.sent(3), b"alonefirst second");
}

#[test]
fn a_large_write_behind_a_small_one_takes_it_along_at_once() {
    let body = pattern(64 * KIB);
    for high in [64 * KIB, 1024 * KIB] {
        let mut bench = Bench::default();
        let key = stream(&mut bench, 3, "s");
        bench.engine.set_limits(key, Limits { low: 0, high });
        assert_fine(&write(&mut bench.engine, key, b"header"));
        assert_fine(&write(&mut bench.engine, key, &body));
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
        let wrote = write(&mut bench.engine, key, &data);
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
fn only_what_is_worth_it_is_held() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert!(!held_of(&mut bench, key, &pattern(2 * KIB - 1)));
    assert!(held_of(&mut bench, key, &pattern(2 * KIB)));
    bench.just_turn();
    // What is left is so little that it is copied.
    bench.kernel.room(3, Ok(1024 * KIB - 100));
    write_held(&mut bench.engine, key, &pattern(1024 * KIB));
    assert_eq!(bench.engine.buffered(key), 100);
    writable(&bench, &[3]);
    bench.just_turn();
    assert!(bench.kernel.sent(3).ends_with(&pattern(1024 * KIB)));
}

#[test]
fn large_writes_that_are_held_join_until_they_are_eight_high_marks() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    let data = pattern(256 * KIB);
    for _ in 0..2 {
        assert_fine(&write_held(&mut bench.engine, key, &data));
    }
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (0, 512 * KIB));
    assert_fine(&write_held(&mut bench.engine, key, &data));
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (1, 0));
    assert_fine(&write_held(&mut bench.engine, key, &data));
    bench.just_turn();
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (2, 0));
    assert!(bench.kernel.sent(3) == data.repeat(4));
}

#[test]
fn who_writes_without_end_in_one_job_goes_on_joining() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    let data = pattern(256 * KIB);
    for _ in 0..99 {
        assert_fine(&write_held(&mut bench.engine, key, &data));
    }
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (33, 0));
}

#[test]
fn a_small_write_behind_large_ones_takes_them_along() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert_fine(&write_held(&mut bench.engine, key, &pattern(100 * KIB)));
    assert_fine(&write(&mut bench.engine, key, b"end"));
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (1, 0));
    bench.just_turn();
    assert_eq!(bench.kernel.sends(), 1);
}

#[test]
fn who_joins_is_paused_by_the_flush_that_leaves_too_much() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert_fine(&write_held(&mut bench.engine, key, &pattern(256 * KIB)));
    bench.kernel.room(3, Ok(100 * KIB));
    assert_eq!(bench.just_turn(), ["s full"]);
    assert_eq!((bench.engine.buffered(key), bench.engine.is_write_paused(key)), (156 * KIB, true));
    bench.kernel.room(3, Ok(60 * KIB));
    writable(&bench, &[3]);
    assert!(bench.just_turn().is_empty(), "told once");
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s flushed, resume true"]);
    assert!(bench.kernel.sent(3) == pattern(256 * KIB));
}

#[test]
fn who_has_closed_is_not_paused() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert_fine(&write_held(&mut bench.engine, key, &pattern(256 * KIB)));
    bench.kernel.room(3, Ok(KIB));
    assert!(matches!(bench.engine.close(key), Closing::AfterFlush));
    bench.kernel.room(3, Ok(KIB));
    writable(&bench, &[3]);
    assert!(bench.just_turn().is_empty());
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s flushed, resume false"]);
}

#[test]
fn nothing_joins_above_the_marks_of_who_wants_no_buffer() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_limits(key, Limits { low: 0, high: 0 });
    assert_fine(&write_held(&mut bench.engine, key, &pattern(64 * KIB)));
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (1, 0));
}

#[test]
fn streams_hold_four_mebibytes_together_while_they_join() {
    let mut bench = Bench::default();
    let data = pattern(512 * KIB);
    for fd in 3..11 {
        let key = stream(&mut bench, fd, "s");
        assert_fine(&write_held(&mut bench.engine, key, &data));
    }
    assert_eq!(bench.kernel.sends(), 0);
    let key = stream(&mut bench, 11, "s");
    assert_fine(&write_held(&mut bench.engine, key, &data));
    assert_eq!(bench.kernel.sends(), 1);
    bench.just_turn();
    assert_fine(&write_held(&mut bench.engine, key, &data));
    assert_eq!(bench.kernel.sends(), 9);
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
fn an_error_of_the_kernel_keeps_its_number() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.room(3, Err(io::Error::from_raw_os_error(110)));
    let Wrote::Failed(error) = write(&mut bench.engine, key, &pattern(64 * KIB)) else {
        panic!("should fail")
    };
    assert_eq!(error.raw_os_error(), Some(110));
}
