//! Streams that are one end of a pipe.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Closing, End, Interest, Key, Settled};

use crate::setup::{assert_closing, assert_fine, fd, readable, soon, stream, writable, write};

const JOINED: End = End::Writing { at_once: false };
const AT_ONCE: End = End::Writing { at_once: true };

fn pipe(bench: &mut Bench, number: i32, end: End) -> Key {
    let key = bench.engine.open_pipe(fd(number), end, "p").unwrap();
    bench.engine.start_reading(key).unwrap();
    bench.kernel.calls();
    key
}

#[test]
fn a_reading_end_is_read_as_a_file() {
    let mut bench = Bench::default();
    pipe(&mut bench, 3, End::Reading);
    bench.kernel.incoming(3, Ok(b"data"));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["p received data"]);
    assert!(bench.kernel.is_file(3));
    bench.kernel.incoming(3, Ok(b""));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["p ended"]);
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
}

#[test]
fn a_reading_ends_error() {
    let mut bench = Bench::default();
    pipe(&mut bench, 3, End::Reading);
    bench.kernel.incoming(3, Err(ErrorKind::PermissionDenied.into()));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["p read failed: permission denied"]);
}

#[test]
fn a_writing_end_is_written_as_a_file() {
    let mut bench = Bench::default();
    let key = pipe(&mut bench, 3, JOINED);
    write(&mut bench.engine, key, b"one ");
    write(&mut bench.engine, key, b"two");
    assert_eq!(bench.kernel.sends(), 0);
    soon(&mut bench.engine, "job");
    bench.just_turn();
    assert_eq!((bench.kernel.sent(3), bench.kernel.sends()), (b"one two".to_vec(), 1));
    assert!(bench.kernel.is_file(3));
}

#[test]
fn several_pieces_are_one_call() {
    let mut bench = Bench::default();
    let key = pipe(&mut bench, 3, JOINED);
    write(&mut bench.engine, key, b"small");
    let large = vec![b'x'; 4096];
    assert_fine(&bench.engine.write(key, &large, || Some(large.clone())));
    soon(&mut bench.engine, "job");
    bench.just_turn();
    assert_eq!((bench.kernel.sent(3).len(), bench.kernel.sends()), (5 + 4096, 1));
    assert!(bench.kernel.is_file(3));
}

#[test]
fn what_others_write_to_as_well_is_written_at_once() {
    let mut bench = Bench::default();
    let key = pipe(&mut bench, 3, AT_ONCE);
    write(&mut bench.engine, key, b"one ");
    assert_eq!(bench.kernel.sent(3), b"one ");
    write(&mut bench.engine, key, b"two");
    assert_eq!((bench.kernel.sent(3), bench.kernel.sends()), (b"one two".to_vec(), 2));
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.sends(), 2);
}

#[test]
fn what_an_interrupted_write_left_goes_first() {
    let mut bench = Bench::default();
    let key = pipe(&mut bench, 3, AT_ONCE);
    bench.kernel.room(3, Err(ErrorKind::Interrupted.into()));
    write(&mut bench.engine, key, b"one ");
    write(&mut bench.engine, key, b"two");
    assert_eq!(bench.kernel.sent(3), b"one two");
}

#[test]
fn a_full_pipe_keeps_the_order() {
    let mut bench = Bench::default();
    let key = pipe(&mut bench, 3, AT_ONCE);
    bench.kernel.room(3, Ok(2));
    write(&mut bench.engine, key, b"one ");
    write(&mut bench.engine, key, b"two");
    assert_eq!(bench.kernel.sent(3), b"on");
    assert_eq!(bench.kernel.interest(3), Interest { read: true, write: true });
    writable(&bench, &[3]);
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.sent(3), b"one two");
}

#[test]
fn a_flush_that_nobody_else_would_make() {
    let mut bench = Bench::default();
    let key = pipe(&mut bench, 3, JOINED);
    write(&mut bench.engine, key, b"now");
    bench.engine.flush_now(key).unwrap();
    assert_eq!(bench.kernel.sent(3), b"now");
    bench.kernel.room(3, Ok(0));
    write(&mut bench.engine, key, b"later");
    bench.engine.flush_now(key).unwrap();
    bench.engine.flush_now(key).unwrap();
    assert_eq!((bench.kernel.sent(3), bench.kernel.sends()), (b"now".to_vec(), 2));
}

#[test]
fn the_readers_end_is_told_once() {
    let mut bench = Bench::default();
    let key = pipe(&mut bench, 3, JOINED);
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["p ended"]);
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
    assert!(bench.kernel.asked().is_empty(), "a writing end is never read");
    bench.kernel.room(3, Err(ErrorKind::BrokenPipe.into()));
    write(&mut bench.engine, key, b"x");
    assert_eq!(bench.just_turn(), ["p write failed: broken pipe"]);
}

#[test]
fn a_writing_end_closes_when_all_is_written() {
    let mut bench = Bench::default();
    let key = pipe(&mut bench, 3, JOINED);
    bench.kernel.room(3, Ok(2));
    bench.kernel.room(3, Ok(0));
    write(&mut bench.engine, key, b"last");
    assert_closing(&bench.engine.close(key), &Closing::AfterFlush);
    writable(&bench, &[3]);
    let mut settled = Vec::new();
    bench.turn(|engine, _| settled.push(engine.settle(key)));
    assert_eq!(settled, []);
    writable(&bench, &[3]);
    bench.turn(|engine, _| settled.push(engine.settle(key)));
    assert_eq!(settled, [Settled { finished: true }]);
    assert_eq!(bench.kernel.sent(3), b"last");
    assert!(!bench.kernel.was_shut(3));
}

#[test]
fn sockets_are_not_read_as_files() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.incoming(3, Ok(b"data"));
    readable(&bench, &[3]);
    write(&mut bench.engine, key, b"x");
    bench.just_turn();
    assert!(!bench.kernel.is_file(3));
}
