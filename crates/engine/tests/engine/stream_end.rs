//! The end of writing, and waiting for an empty queue.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Closing, Settled};

use crate::setup::{
    arrives, assert_closing, blocked_stream, fd, finishes, is_closed, stream, writable, write,
};

#[test]
fn the_end_of_writing_is_said_at_once_if_nothing_is_queued() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.write_eof(key).unwrap();
    assert!(bench.kernel.was_shut(3));
    assert!(is_closed(&mut bench.engine, key));
    arrives(&bench, 3, b"still reading");
    assert_eq!(bench.just_turn(), ["s received still reading"]);
}

#[test]
fn the_end_of_writing_takes_along_what_waits_for_the_flush() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"last words");
    bench.engine.write_eof(key).unwrap();
    assert!(bench.kernel.was_shut(3));
    assert_eq!(bench.kernel.sent(3), b"last words");
}

#[test]
fn the_end_of_writing_waits_for_the_queue_and_is_said_once() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 10);
    bench.kernel.room(3, Ok(0));
    bench.engine.write_eof(key).unwrap();
    bench.engine.write_eof(key).unwrap();
    assert!(!bench.kernel.was_shut(3));
    assert!(is_closed(&mut bench.engine, key));
    writable(&bench, &[3]);
    bench.just_turn();
    assert!(bench.kernel.was_shut(3));
    assert_eq!(bench.kernel.shuts(3), 1);
    bench.engine.write_eof(key).unwrap();
    bench.engine.close(key);
    assert_eq!(bench.kernel.shuts(3), 1);
}

#[test]
fn a_last_word_that_fails_is_an_error() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"last words");
    bench.kernel.room(3, Err(ErrorKind::BrokenPipe.into()));
    let error = bench.engine.write_eof(key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(!bench.kernel.was_shut(3));
    assert!(bench.just_turn().is_empty());
}

#[test]
fn a_stream_whose_writing_has_ended_can_be_closed() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.write_eof(key).unwrap();
    assert_closing(&bench.engine.close(key), &Closing::Now);
    let other = blocked_stream(&mut bench, 3, 10);
    bench.kernel.room(3, Ok(0));
    bench.engine.write_eof(other).unwrap();
    bench.kernel.room(3, Ok(0));
    assert_closing(&bench.engine.close(other), &Closing::AfterFlush);
    assert_eq!(finishes(&mut bench, other), 1);
}

#[test]
fn a_released_stream_answers_as_one_that_has_ended() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 10);
    assert_eq!(bench.engine.release(key), Some("s"));
    assert_eq!(bench.kernel.calls(), ["remove 3"]);
    let engine = &mut bench.engine;
    assert_closing(&engine.close(key), &Closing::Already);
    assert!(!engine.abort(key));
    assert!(engine.send_file(key, fd(9), 0, None).is_err());
    assert_eq!(engine.stop_file(key), None);
    engine.write_eof(key).unwrap();
    assert!(!bench.kernel.was_shut(3));
    assert_eq!(bench.engine.settle(key), Settled { finished: false });
}
