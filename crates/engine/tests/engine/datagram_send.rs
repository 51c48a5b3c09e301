//! Sending datagrams: at once or together, errors, flow control, closing.

use std::io::{Error, ErrorKind};

use oxloop_engine::testing::Bench;
use oxloop_engine::{Closing, Interest, Key, Limits, Wrote};

use crate::setup::{
    Loop, add_reader, assert_closing, assert_fine, assert_pause, call_at, endpoint, mail, readable,
    send, soon, writable,
};

/// An endpoint whose kernel takes nothing more, with one datagram of that size that waits.
fn blocked(bench: &mut Bench, size: usize) -> Key {
    let key = endpoint(bench, 3, "e");
    bench.kernel.room(3, Ok(0));
    assert_fine(&send(&mut bench.engine, key, &vec![b'q'; size]));
    assert!(bench.engine.is_blocked(key));
    key
}

/// Sends what has just come.
fn echo(engine: &mut Loop, key: Key) {
    let data = engine.datagram().0.to_vec();
    assert_fine(&send(engine, key, &data));
}

fn refused() -> Error {
    Error::from(ErrorKind::ConnectionRefused)
}

#[test]
fn the_first_of_a_stretch_leaves_at_once_and_the_others_together() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    soon(&mut bench.engine, "job 1");
    soon(&mut bench.engine, "job 2");
    call_at(&mut bench.engine, 0.0, "timer 1");
    call_at(&mut bench.engine, 0.0, "timer 2");
    bench.turn(|engine, _| {
        for data in [&b"a"[..], b"", b"c"] {
            assert_fine(&send(engine, key, data));
        }
    });
    let lengths: Vec<_> = bench.kernel.posted(3).iter().map(Vec::len).collect();
    assert_eq!(lengths, [1, 5, 1, 5], "a batch of jobs; then timers, in order");
}

#[test]
fn outside_of_a_run_every_datagram_leaves_at_once() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    let send_two = |bench: &mut Bench| {
        assert_fine(&send(&mut bench.engine, key, b"x"));
        assert_fine(&send(&mut bench.engine, key, b"y"));
        assert_eq!(bench.engine.buffered(key), 0);
    };
    send_two(&mut bench);
    bench.just_turn();
    send_two(&mut bench);
    soon(&mut bench.engine, "fails");
    bench.engine.begin_run(false);
    bench.run(|_, _| false);
    bench.engine.end_run();
    send_two(&mut bench);
}

#[test]
fn each_callback_of_an_event_has_a_first_of_its_own() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    add_reader(&mut bench.engine, 4, "one");
    add_reader(&mut bench.engine, 5, "two");
    readable(&bench, &[4, 5]);
    let kernel = bench.kernel.clone();
    bench.turn(|engine, _| {
        let before = kernel.posted(3).len();
        assert_fine(&send(engine, key, b"x"));
        assert_eq!(kernel.posted(3).len(), before + 1);
    });
}

#[test]
fn the_answers_to_a_batch_leave_together() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    add_reader(&mut bench.engine, 4, "other");
    bench.kernel.mail(3, &[b"1", b"2", b"3"]);
    readable(&bench, &[3, 4]);
    let kernel = bench.kernel.clone();
    bench.turn(|engine, step| match step {
        "other" => assert_eq!(kernel.posted(3), [[b"1", b"2", b"3"]]),
        _ => {
            echo(engine, key);
        }
    });
}

#[test]
fn the_answer_to_a_lone_datagram_leaves_at_once() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1"]);
    let kernel = bench.kernel.clone();
    bench.turn(|engine, _| {
        assert_fine(&send(engine, key, b"answer"));
        assert_eq!(kernel.posted(3), [[b"answer".to_vec()]]);
    });
}

#[test]
fn many_leave_in_batches_and_in_order() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2"]);
    bench.turn(|engine, step| {
        if step == "e datagram 1" {
            for number in 0..70_u8 {
                assert_fine(&send(engine, key, &[number]));
            }
        }
    });
    let posted = bench.kernel.posted(3);
    assert_eq!(posted.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 6]);
    assert!(posted.concat().iter().flatten().copied().eq(0..70));
}

#[test]
fn a_cut_batch_goes_on_where_it_was_cut() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2", b"3"]);
    bench.kernel.room(3, Ok(2));
    bench.kernel.room(3, Ok(0));
    bench.turn(|engine, _| echo(engine, key));
    assert_eq!(bench.kernel.posted(3), [[b"1", b"2"]]);
    assert_eq!(bench.engine.buffered(key), 1 + 8);
    assert_eq!(bench.kernel.interest(3), Interest { read: true, write: true });
    writable(&bench, &[3]);
    bench.just_turn();
    assert_eq!(bench.kernel.posted(3).concat(), [b"1", b"2", b"3"]);
    assert_eq!(bench.kernel.interest(3), Interest { read: true, write: false });
}

#[test]
fn an_error_is_that_of_the_call_that_sent() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    bench.kernel.room(3, Err(refused()));
    assert!(matches!(send(&mut bench.engine, key, b"1"), Wrote::Failed(_)));
    assert_fine(&send(&mut bench.engine, key, b"2"));
    assert_eq!(
        (bench.kernel.posted(3), bench.engine.buffered(key)),
        (vec![vec![b"2".to_vec()]], 0)
    );
}

#[test]
fn an_error_in_a_batch_drops_one_datagram_and_the_rest_goes_out() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2", b"3", b"4"]);
    bench.kernel.room(3, Ok(1));
    bench.kernel.room(3, Err(refused()));
    bench.kernel.room(3, Err(refused()));
    let log = bench.turn(|engine, step| {
        if step.starts_with("e datagram ") && !step.contains("failed") {
            echo(engine, key);
        }
    });
    assert_eq!(log[4..], ["e datagram failed: connection refused"; 2]);
    assert_eq!(bench.kernel.posted(3), [[b"1"], [b"4"]]);
}

#[test]
fn an_interrupted_call_is_made_again() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    bench.kernel.room(3, Err(ErrorKind::Interrupted.into()));
    assert_fine(&send(&mut bench.engine, key, b"1"));
    assert_eq!(bench.engine.buffered(key), 9);
    bench.just_turn();
    assert_eq!(bench.kernel.posted(3), [[b"1"]]);
}

#[test]
fn what_waits_keeps_its_place() {
    let mut bench = Bench::default();
    let key = blocked(&mut bench, 1);
    assert_fine(&send(&mut bench.engine, key, b"second"));
    assert!(bench.kernel.posted(3).is_empty());
    writable(&bench, &[3]);
    bench.just_turn();
    assert_eq!(bench.kernel.posted(3), [[b"q".to_vec(), b"second".to_vec()]]);
}

#[test]
fn a_refused_registration_fails_the_datagram_and_nothing_waits() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    bench.kernel.refuse(Some(ErrorKind::OutOfMemory));
    bench.kernel.room(3, Ok(0));
    assert!(matches!(send(&mut bench.engine, key, b"1"), Wrote::Failed(_)));
    assert_eq!((bench.engine.buffered(key), bench.engine.is_blocked(key)), (0, false));
    bench.kernel.refuse(None);
    assert_fine(&send(&mut bench.engine, key, b"2"));
    assert_eq!(bench.kernel.posted(3), [[b"2"]]);
}

#[test]
fn a_registration_refused_to_a_batch_is_an_error_of_its_own() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2"]);
    bench.kernel.room(3, Ok(0));
    let kernel = bench.kernel.clone();
    let log = bench.turn(|engine, _| {
        kernel.refuse(Some(ErrorKind::OutOfMemory));
        send(engine, key, b"x");
    });
    assert_eq!(log[2], "e datagram failed: out of memory");
    assert!(!bench.engine.is_blocked(key));
}

#[test]
fn the_writer_pauses_above_the_high_mark_and_goes_on_at_the_low_one() {
    let mut bench = Bench::default();
    let key = blocked(&mut bench, 92);
    assert_fine(&bench.engine.set_limits(key, Limits { low: 108, high: 200 }));
    assert_fine(&send(&mut bench.engine, key, &[0; 92]));
    assert_pause(&send(&mut bench.engine, key, &[0; 100]));
    assert_fine(&send(&mut bench.engine, key, b""));
    assert_eq!(bench.engine.buffered(key), 100 + 100 + 108 + 8);
    bench.kernel.room(3, Ok(1));
    bench.kernel.room(3, Ok(0));
    writable(&bench, &[3]);
    assert!(bench.just_turn().is_empty());
    bench.kernel.room(3, Ok(2));
    bench.kernel.room(3, Ok(0));
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["e flushed, resume true"]);
    assert!(!bench.engine.settle(key).finished);
}

#[test]
fn lower_limits_may_pause_at_once() {
    let mut bench = Bench::default();
    let key = blocked(&mut bench, 100);
    assert_pause(&bench.engine.set_limits(key, Limits { low: 0, high: 50 }));
    assert!(bench.engine.is_write_paused(key));
    assert_eq!(bench.engine.limits(key), Limits { low: 0, high: 50 });
}

#[test]
fn the_kernel_is_asked_before_the_writer_pauses() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2"]);
    bench.turn(|engine, step| {
        if step == "e datagram 1" {
            assert_fine(&send(engine, key, &[0; 40_000]));
            assert_fine(&send(engine, key, &[0; 40_000]));
            assert_eq!(engine.buffered(key), 0);
        }
    });
    assert_eq!(bench.kernel.posted(3).len(), 1);
}

#[test]
fn closing_with_nothing_queued_is_over_at_once() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    assert_closing(&bench.engine.close(key), &Closing::Now);
    assert_closing(&bench.engine.close(key), &Closing::Already);
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
}

#[test]
fn closing_flushes_what_is_queued() {
    let mut bench = Bench::default();
    let key = blocked(&mut bench, 1);
    bench.kernel.room(3, Ok(0));
    assert_closing(&bench.engine.close(key), &Closing::AfterFlush);
    assert_fine(&send(&mut bench.engine, key, b"goodbye"));
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["e flushed, resume false"]);
    assert!(bench.engine.settle(key).finished);
    assert!(!bench.engine.settle(key).finished);
    assert_eq!(bench.kernel.posted(3).concat(), [b"q".to_vec(), b"goodbye".to_vec()]);
}

#[test]
fn closing_tells_the_errors_of_what_is_queued_first() {
    let mut bench = Bench::default();
    let key = blocked(&mut bench, 1);
    send(&mut bench.engine, key, b"2");
    bench.kernel.room(3, Err(refused()));
    assert_closing(&bench.engine.close(key), &Closing::AfterFlush);
    let mut finished = Vec::new();
    let log = bench.turn(|engine, _| finished.push(engine.settle(key).finished));
    assert_eq!(log, ["e datagram failed: connection refused", "e flushed, resume false"]);
    assert_eq!((finished, bench.kernel.posted(3)), (vec![false, true], vec![vec![b"2".to_vec()]]));
}

#[test]
fn a_paused_writer_that_closes_is_resumed() {
    let mut bench = Bench::default();
    let key = blocked(&mut bench, 100);
    assert_pause(&bench.engine.set_limits(key, Limits { low: 10, high: 20 }));
    assert_closing(&bench.engine.close(key), &Closing::AfterFlush);
    writable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["e flushed, resume true"]);
    assert!(bench.engine.settle(key).finished);
}

#[test]
fn closing_in_a_batch_sends_the_answers() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    mail(&bench, 3, &[b"1", b"2", b"3"]);
    let kernel = bench.kernel.clone();
    bench.turn(|engine, _| {
        send(engine, key, b"a");
        send(engine, key, b"b");
        assert_closing(&engine.close(key), &Closing::Now);
        assert_eq!(kernel.posted(3), [[b"a", b"b"]]);
    });
}

#[test]
fn abort_drops_what_is_queued() {
    let mut bench = Bench::default();
    let key = blocked(&mut bench, 1);
    assert!(bench.engine.abort(key));
    assert!(!bench.engine.abort(key));
    assert_eq!((bench.engine.buffered(key), bench.kernel.interest(3)), (0, Interest::NONE));
    assert!(bench.just_turn().is_empty());
    assert!(bench.kernel.posted(3).is_empty());
}

#[test]
fn an_endpoint_at_its_end_sends_what_it_can_and_keeps_nothing() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    bench.engine.close(key);
    assert_fine(&send(&mut bench.engine, key, b"last"));
    bench.kernel.room(3, Ok(0));
    assert_fine(&send(&mut bench.engine, key, b"lost"));
    assert_eq!(
        (bench.kernel.posted(3), bench.engine.buffered(key)),
        (vec![vec![b"last".to_vec()]], 0)
    );
    bench.engine.release(key);
    assert!(matches!(send(&mut bench.engine, key, b"x"), Wrote::Closed));
}

#[test]
fn held_bytes_are_sent_as_they_are() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    bench.kernel.room(3, Ok(0));
    let wrote = bench.engine.send_datagram(key, None, b"held", || Some(b"held".to_vec()));
    assert_fine(&wrote);
    assert!(bench.engine.send_queued(key));
    assert_eq!(bench.kernel.posted(3), [[b"held".to_vec()]]);
}

#[test]
fn a_writer_that_waits_is_not_told_to_go_on_by_an_abort() {
    let mut bench = Bench::default();
    let key = endpoint(&mut bench, 3, "e");
    bench.engine.set_limits(key, Limits { low: 10, high: 50 });
    soon(&mut bench.engine, "send and abort");
    bench.kernel.room(3, Ok(1));
    bench.kernel.room(3, Ok(0));
    bench.kernel.room(3, Ok(0));
    let log = bench.turn(|engine, _| {
        assert_fine(&send(engine, key, b"at once"));
        assert_fine(&send(engine, key, b"to be flushed"));
        assert_pause(&send(engine, key, &[0; 100]));
        assert!(engine.abort(key));
    });
    assert_eq!(log, ["send and abort"]);
    assert!(bench.just_turn().is_empty());
}
