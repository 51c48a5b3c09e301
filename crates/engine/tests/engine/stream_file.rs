//! Files behind the write queue.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Closing, FileSent, Interest, Key, Limits, Wrote};

use crate::setup::{
    FLUSHED, arrives, assert_closing, blocked_stream, fd, pattern, stream, writable, write,
};

const FILE: i32 = 9;

/// Starts to send a file of `size` bytes.
fn send(bench: &mut Bench, key: Key, size: usize) -> Option<FileSent> {
    bench.kernel.file(FILE, &pattern(size));
    bench.engine.send_file(key, fd(FILE), 0, None).unwrap()
}

/// A stream whose kernel took 100 bytes of a file of 1000.
fn sending(bench: &mut Bench) -> Key {
    let key = stream(bench, 3, "s");
    bench.kernel.room(3, Ok(100));
    bench.kernel.room(3, Ok(0));
    assert!(send(bench, key, 1000).is_none());
    assert!(bench.just_turn().is_empty());
    key
}

#[track_caller]
fn assert_sent(sent: Option<FileSent>, bytes: u64) {
    assert!(matches!(sent, Some(FileSent { sent, error: None }) if sent == bytes));
}

#[test]
fn a_file_that_the_kernel_takes_at_once_needs_no_step() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert_sent(send(&mut bench, key, 1000), 1000);
    assert_eq!(bench.kernel.sent(3), pattern(1000));
    assert!(bench.just_turn().is_empty());
    assert!(bench.kernel.calls().is_empty(), "nothing to wait for");
}

#[test]
fn a_part_of_a_file_is_sent_and_no_more() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.file(FILE, &pattern(1000));
    assert_sent(bench.engine.send_file(key, fd(FILE), 10, Some(20)).unwrap(), 20);
    assert_eq!(bench.kernel.sent(3), pattern(1000)[10..30]);
    assert_sent(bench.engine.send_file(key, fd(FILE), 990, Some(20)).unwrap(), 10);
    assert_sent(bench.engine.send_file(key, fd(FILE), 5000, None).unwrap(), 0);
    assert_sent(bench.engine.send_file(key, fd(FILE), u64::MAX, Some(u64::MAX)).unwrap(), 0);
}

#[test]
fn what_the_kernel_does_not_take_waits_for_it() {
    let mut bench = Bench::default();
    sending(&mut bench);
    assert!(bench.kernel.interest(3).write);
    for _ in 0..2 {
        bench.kernel.room(3, Ok(100));
        bench.kernel.room(3, Ok(0));
        writable(&bench, &[3]);
        assert!(bench.just_turn().is_empty());
    }
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s file sent 1000"]);
    assert_eq!(bench.kernel.sent(3), pattern(1000));
    assert!(!bench.kernel.interest(3).write);
}

#[test]
fn a_file_follows_what_was_queued() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 10);
    assert!(send(&mut bench, key, 5).is_none());
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s file sent 5"]);
    assert_eq!(bench.kernel.sent(3), [&[b'q'; 10][..], &pattern(5)].concat());
    write(&mut bench.engine, key, b"behind");
    bench.just_turn();
    assert!(bench.kernel.sent(3).ends_with(b"\x04behind"));
}

#[test]
fn queued_bytes_leave_at_once_with_the_file() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"header");
    assert_sent(send(&mut bench, key, 3), 3);
    assert_eq!(bench.kernel.sent(3), b"header\x00\x01\x02");
}

#[test]
fn reading_goes_on_meanwhile() {
    let mut bench = Bench::default();
    sending(&mut bench);
    arrives(&bench, 3, b"x");
    assert_eq!(bench.just_turn(), ["s received x"]);
}

#[test]
fn a_paused_writer_goes_on_before_the_file_is_told() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_limits(key, Limits { low: 0, high: 0 });
    bench.kernel.room(3, Ok(0));
    assert!(matches!(write(&mut bench.engine, key, b"x"), Wrote::Pause));
    assert!(send(&mut bench, key, 5).is_none());
    writable(&bench, &[3]);
    let log = bench.turn(|engine, _| assert!(!engine.settle(key).finished));
    assert_eq!(log, ["s flushed, resume true", "s file sent 5"]);
}

#[test]
fn one_event_sends_a_share_of_a_large_file() {
    const SHARE: usize = 2 * 1024 * 1024;
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert!(send(&mut bench, key, SHARE + 1).is_none());
    assert_eq!(bench.kernel.sent(3).len(), SHARE);
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), [format!("s file sent {}", SHARE + 1)]);
}

#[test]
fn interrupted_calls_are_made_again() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.room(3, Err(ErrorKind::Interrupted.into()));
    assert_sent(send(&mut bench, key, 5), 5);
}

#[test]
fn a_file_that_cannot_be_sent_leaves_the_stream_well() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.fail("send_file", ErrorKind::InvalidInput);
    let over = send(&mut bench, key, 5).unwrap();
    assert_eq!((over.sent, over.error.unwrap().kind()), (0, ErrorKind::InvalidInput));
    write(&mut bench.engine, key, b"x");
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.sent(3), b"x");
}

#[test]
fn an_error_on_the_way_says_how_much_was_sent() {
    let mut bench = Bench::default();
    sending(&mut bench);
    bench.kernel.room(3, Err(ErrorKind::ConnectionReset.into()));
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s file sent 100, connection reset"]);
    assert!(!bench.kernel.interest(3).write);
}

#[test]
fn a_queue_that_cannot_be_sent_is_the_streams_failure() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"x");
    bench.kernel.room(3, Err(ErrorKind::BrokenPipe.into()));
    bench.kernel.file(FILE, b"file");
    assert!(bench.engine.send_file(key, fd(FILE), 0, None).is_err());
    assert_eq!(bench.engine.stop_file(key), Some(0));
    assert!(bench.kernel.sent(3).is_empty());
}

#[test]
fn a_stopped_file_says_how_much_was_sent_and_is_sent_no_further() {
    let mut bench = Bench::default();
    let key = sending(&mut bench);
    assert_eq!(bench.engine.stop_file(key), Some(100));
    assert_eq!(bench.engine.stop_file(key), None);
    assert_eq!(bench.kernel.interest(3), Interest { read: true, write: false });
    write(&mut bench.engine, key, b"next");
    assert!(bench.just_turn().is_empty());
    assert!(bench.kernel.sent(3).ends_with(b"next"));
    assert_eq!(bench.kernel.sent(3).len(), 104);
}

#[test]
fn a_file_stopped_behind_a_queue_leaves_the_queue() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 10);
    assert!(send(&mut bench, key, 5).is_none());
    assert_eq!(bench.engine.stop_file(key), Some(0));
    writable(&bench, &[3]);
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.sent(3), [b'q'; 10]);
}

#[test]
fn a_stream_closes_after_its_file() {
    let mut bench = Bench::default();
    let key = sending(&mut bench);
    assert_closing(&bench.engine.close(key), &Closing::AfterFlush);
    assert!(!bench.engine.settle(key).finished);
    writable(&bench, &[3]);
    let mut finished = 0;
    let log = bench.turn(|engine, step| {
        finished += usize::from(step == FLUSHED && engine.settle(key).finished);
    });
    assert_eq!(log, ["s file sent 1000", FLUSHED]);
    assert_eq!(finished, 1);
}

#[test]
fn a_stream_that_was_to_close_after_its_file_closes_when_it_is_stopped() {
    let mut bench = Bench::default();
    let key = sending(&mut bench);
    assert_closing(&bench.engine.close(key), &Closing::AfterFlush);
    bench.engine.stop_file(key);
    let log = bench.turn(|engine, _| assert!(engine.settle(key).finished));
    assert_eq!(log, [FLUSHED]);
}

#[test]
fn the_end_of_writing_is_said_after_the_file() {
    let mut bench = Bench::default();
    let key = sending(&mut bench);
    bench.kernel.room(3, Ok(0));
    bench.engine.write_eof(key).unwrap();
    assert!(!bench.kernel.was_shut(3));
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s file sent 1000"]);
    assert!(bench.kernel.was_shut(3));
}

#[test]
fn the_end_of_writing_may_find_the_kernel_with_room() {
    let mut bench = Bench::default();
    let key = sending(&mut bench);
    bench.engine.write_eof(key).unwrap();
    assert!(bench.kernel.was_shut(3));
    assert_eq!(bench.just_turn(), ["s file sent 1000"]);
}

#[test]
fn an_aborted_stream_sends_no_more_of_its_file() {
    let mut bench = Bench::default();
    let key = sending(&mut bench);
    assert!(bench.engine.abort(key));
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.engine.stop_file(key), Some(100));
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.sent(3).len(), 100);
}

#[test]
fn a_stream_that_writes_no_more_and_one_with_a_file_take_none() {
    let mut bench = Bench::default();
    let key = sending(&mut bench);
    let error = |over: Option<FileSent>| over.unwrap().error.unwrap().kind();
    let second = bench.engine.send_file(key, fd(FILE), 0, None).unwrap();
    assert_eq!(error(second), ErrorKind::BrokenPipe);
    assert_eq!(bench.engine.stop_file(key), Some(100), "the first one");
    bench.engine.write_eof(key).unwrap();
    let after = bench.engine.send_file(key, fd(FILE), 0, None).unwrap();
    assert_eq!(error(after), ErrorKind::BrokenPipe);
}
