//! How a stream ends: close and abort, and that it ends once.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Closing, Interest, Key, Settled};

use crate::setup::{
    FLUSHED, assert_closing, assert_fine, assert_pause, blocked_stream, finishes, is_closed,
    readable, soon, stream, writable, write,
};

/// A stream that was closed with ten bytes queued, of which the kernel takes none.
fn closing(bench: &mut Bench) -> Key {
    let key = blocked_stream(bench, 3, 10);
    bench.kernel.room(3, Ok(0));
    assert_closing(&bench.engine.close(key), &Closing::AfterFlush);
    key
}

#[test]
fn a_stream_with_nothing_queued_closes_now() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert_closing(&bench.engine.close(key), &Closing::Now);
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
    assert!(bench.just_turn().is_empty());
    assert!(!bench.engine.settle(key).finished);
}

#[test]
fn what_waits_for_the_flush_is_sent_by_closing() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"last words");
    assert_closing(&bench.engine.close(key), &Closing::Now);
    assert_eq!(bench.kernel.sent(3), b"last words");
    assert!(bench.just_turn().is_empty());
    assert!(!bench.engine.settle(key).finished);
}

#[test]
fn what_the_kernel_does_not_take_is_sent_before_the_end() {
    let mut bench = Bench::default();
    let key = closing(&mut bench);
    assert_eq!(bench.kernel.interest(3), Interest { read: false, write: true });
    assert_eq!(finishes(&mut bench, key), 1);
    assert_eq!(bench.kernel.sent(3).len(), 10);
    assert_eq!(bench.engine.settle(key), Settled { finished: false });
    assert!(bench.just_turn().is_empty());
}

#[test]
fn a_stream_that_is_closing_finishes_only_when_all_is_sent() {
    let mut bench = Bench::default();
    let key = closing(&mut bench);
    bench.kernel.room(3, Ok(9));
    writable(&bench, &[3]);
    assert!(bench.just_turn().is_empty());
    assert!(!bench.engine.settle(key).finished);
    assert_eq!(finishes(&mut bench, key), 1);
}

#[test]
fn closing_twice_says_so() {
    let mut bench = Bench::default();
    let key = closing(&mut bench);
    assert_closing(&bench.engine.close(key), &Closing::Already);
    finishes(&mut bench, key);
    assert_closing(&bench.engine.close(key), &Closing::Already);
    let other = stream(&mut bench, 4, "s");
    bench.engine.close(other);
    assert_closing(&bench.engine.close(other), &Closing::Already);
}

#[test]
fn closing_tries_once_more_what_the_kernel_did_not_take() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 10);
    assert_closing(&bench.engine.close(key), &Closing::Now);
    assert_eq!(bench.kernel.sent(3), b"qqqqqqqqqq");
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
}

#[test]
fn a_stream_that_is_closing_reads_no_more() {
    let mut bench = Bench::default();
    closing(&mut bench);
    bench.kernel.incoming(3, Ok(b"too late"));
    bench.kernel.room(3, Ok(0));
    bench.kernel.ready(&[(3, true, true)]);
    assert!(bench.just_turn().is_empty());
}

#[test]
fn a_stream_that_is_closing_takes_writes_until_its_queue_is_empty() {
    let mut bench = Bench::default();
    let key = closing(&mut bench);
    assert_fine(&write(&mut bench.engine, key, b" and goodbye"));
    assert_eq!(finishes(&mut bench, key), 1);
    assert_eq!(bench.kernel.sent(3), b"qqqqqqqqqq and goodbye");
    assert!(is_closed(&mut bench.engine, key));
}

#[test]
fn a_goodbye_that_is_written_at_the_flush_is_sent_before_the_end() {
    let mut bench = Bench::default();
    let key = closing(&mut bench);
    writable(&bench, &[3]);
    let (mut round, mut finished) = (0, Vec::new());
    bench.turn(|engine, _| {
        round += 1;
        if round == 1 {
            assert_fine(&write(engine, key, b" goodbye"));
        }
        finished.push(engine.settle(key).finished);
    });
    assert_eq!(finished, [false, true]);
    assert_eq!(bench.kernel.sent(3), b"qqqqqqqqqq goodbye");
}

#[test]
fn a_close_in_the_same_batch_stops_the_read() {
    let mut bench = Bench::default();
    let first = stream(&mut bench, 3, "first");
    let second = stream(&mut bench, 4, "second");
    bench.kernel.incoming(3, Ok(b"x"));
    bench.kernel.incoming(4, Ok(b"x"));
    readable(&bench, &[3, 4]);
    let log = bench.turn(|engine, _| {
        engine.close(first);
        engine.close(second);
    });
    assert_eq!(log, ["first received x"]);
}

#[test]
fn a_rest_that_cannot_be_sent_fails_the_close() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"last words");
    bench.kernel.room(3, Err(ErrorKind::BrokenPipe.into()));
    let closing = bench.engine.close(key);
    assert!(matches!(&closing, Closing::Failed(error) if error.kind() == ErrorKind::BrokenPipe));
    assert_eq!(bench.engine.buffered(key), 0);
    assert!(bench.engine.abort(key));
    assert!(bench.just_turn().is_empty());
}

#[test]
fn a_close_that_failed_is_not_reported_as_finished_as_well() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"last words");
    bench.kernel.room(3, Err(ErrorKind::BrokenPipe.into()));
    bench.engine.close(key);
    assert!(bench.just_turn().is_empty());
}

#[test]
fn a_flush_that_fails_while_closing_is_reported_once() {
    let mut bench = Bench::default();
    let key = closing(&mut bench);
    bench.kernel.room(3, Err(ErrorKind::ConnectionReset.into()));
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s write failed: connection reset"]);
    assert!(bench.engine.abort(key));
    assert!(bench.just_turn().is_empty());
    assert!(!bench.engine.settle(key).finished);
}

#[test]
fn an_abort_drops_the_queue_and_says_whether_it_came_first() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 10);
    assert!(bench.engine.abort(key));
    assert!(!bench.engine.abort(key));
    assert_eq!((bench.engine.buffered(key), bench.engine.is_blocked(key)), (0, false));
    assert_eq!(bench.kernel.calls(), ["remove 3"]);
    assert!(is_closed(&mut bench.engine, key));
    assert_closing(&bench.engine.close(key), &Closing::Already);
    bench.just_turn();
    assert!(bench.kernel.sent(3).is_empty());
}

#[test]
fn an_abort_sends_what_only_waits_for_the_flush() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"goodbye");
    assert!(bench.engine.abort(key));
    assert_eq!(bench.kernel.sent(3), b"goodbye");
    assert!(bench.just_turn().is_empty());
    assert_eq!(bench.kernel.sends(), 1);
}

#[test]
fn an_abort_drops_what_the_kernel_does_not_take() {
    for room in [Ok(4), Ok(0), Err(ErrorKind::ConnectionReset.into())] {
        let mut bench = Bench::default();
        let key = stream(&mut bench, 3, "s");
        write(&mut bench.engine, key, b"goodbye");
        bench.kernel.room(3, room);
        assert!(bench.engine.abort(key));
        assert_eq!((bench.engine.buffered(key), bench.engine.is_blocked(key)), (0, false));
        assert!(bench.just_turn().is_empty());
        assert_eq!(bench.kernel.sends(), 1);
    }
}

#[test]
fn an_abort_overtakes_a_close() {
    let mut bench = Bench::default();
    let key = closing(&mut bench);
    assert!(bench.engine.abort(key));
    assert!(!bench.engine.settle(key).finished);
    let closed = stream(&mut bench, 4, "closed");
    bench.engine.close(closed);
    assert!(!bench.engine.abort(closed));
}

#[test]
fn an_abort_while_the_flush_is_reported_leaves_nothing_to_settle() {
    let mut bench = Bench::default();
    let key = closing(&mut bench);
    writable(&bench, &[3]);
    bench.turn(|engine, _| {
        assert!(engine.abort(key));
        assert!(!engine.settle(key).finished);
    });
}

#[test]
fn a_stream_may_be_released_when_it_finishes() {
    let mut bench = Bench::default();
    let key = closing(&mut bench);
    soon(&mut bench.engine, "job");
    bench.kernel.ready(&[(3, true, true)]);
    let log = bench.turn(|engine, step| {
        if step == FLUSHED && engine.settle(key).finished {
            assert_eq!(engine.release(key), Some("s"));
        }
    });
    assert_eq!(log, ["job", FLUSHED]);
    assert_eq!(bench.engine.conn(key), None);
}

#[test]
fn a_writer_that_waits_is_not_told_to_go_on_by_an_abort() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    soon(&mut bench.engine, "write and abort");
    bench.kernel.room(3, Ok(0));
    let log = bench.turn(|engine, _| {
        assert_fine(&write(engine, key, b"to be flushed"));
        assert_pause(&write(engine, key, &[b'x'; 100_000]));
        assert!(engine.abort(key));
    });
    assert_eq!(log, ["write and abort"]);
    assert!(bench.just_turn().is_empty());
}
