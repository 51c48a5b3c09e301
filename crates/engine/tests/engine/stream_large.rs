//! Large writes: they leave at once, and their rest is held where it is.

use std::io::{self, ErrorKind};

use oxloop_engine::testing::Bench;
use oxloop_engine::{Key, Limits, Wrote};

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
fn an_error_of_the_kernel_keeps_its_number() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.room(3, Err(io::Error::from_raw_os_error(110)));
    let Wrote::Failed(error) = write(&mut bench.engine, key, &pattern(64 * KIB)) else {
        panic!("should fail")
    };
    assert_eq!(error.raw_os_error(), Some(110));
}
