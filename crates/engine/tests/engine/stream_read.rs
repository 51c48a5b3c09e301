//! What a stream reads, how much at a time, and when it listens at all.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Interest, Step};

use crate::setup::{arrives, blocked_stream, fd, readable, soon, stream};

const KIB: usize = 1024;

/// A stream of which data has come, `count` bytes of it.
fn arrives_much(bench: &Bench, count: usize) {
    arrives(bench, 3, &vec![b'x'; count]);
}

#[test]
fn a_new_stream_is_deaf_and_unknown_to_the_poller() {
    let mut bench = Bench::default();
    let key = bench.engine.open_stream(fd(3), "s").unwrap();
    assert_eq!(bench.engine.conn(key), Some(&"s"));
    assert!(bench.kernel.calls().is_empty());
}

#[test]
fn starting_and_stopping_tell_the_poller_once_each() {
    let mut bench = Bench::default();
    let key = bench.engine.open_stream(fd(3), "s").unwrap();
    bench.engine.start_reading(key).unwrap();
    bench.engine.start_reading(key).unwrap();
    assert_eq!(bench.kernel.calls(), ["add 3 r"]);
    bench.engine.stop_reading(key).unwrap();
    bench.engine.stop_reading(key).unwrap();
    assert_eq!(bench.kernel.calls(), ["remove 3"]);
    bench.engine.start_reading(key).unwrap();
    assert_eq!(bench.kernel.calls(), ["add 3 r"]);
}

#[test]
fn a_stream_that_waits_for_the_kernel_keeps_its_other_half_registered() {
    let mut bench = Bench::default();
    let key = blocked_stream(&mut bench, 3, 10);
    bench.engine.stop_reading(key).unwrap();
    bench.engine.start_reading(key).unwrap();
    assert_eq!(bench.kernel.calls(), ["modify 3 w", "modify 3 rw"]);
}

#[test]
fn data_is_received_as_it_came() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "s");
    arrives(&bench, 3, b"hello");
    let log = bench.turn(|engine, _| assert_eq!(engine.received(5), b"hello"));
    assert_eq!(log, ["s received hello"]);
}

#[test]
fn what_was_received_can_be_lent() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "s");
    arrives(&bench, 3, b"hello");
    let mut lent = Vec::new();
    bench.turn(|engine, _| {
        lent = engine.lend_received();
        assert!(engine.received(5).is_empty());
    });
    assert_eq!(lent.get(..5), Some(&b"hello"[..]));
    let place = lent.as_ptr();
    bench.engine.take_back(lent);
    // It is used again, unless there is a larger one.
    bench.engine.take_back(vec![0; 8]);
    arrives(&bench, 3, b"again");
    bench.turn(|engine, _| {
        assert_eq!(engine.received(5), b"again");
        let again = engine.lend_received();
        assert_eq!(again.as_ptr(), place);
    });
}

#[test]
fn an_event_is_one_read() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "s");
    arrives(&bench, 3, b"one");
    bench.kernel.incoming(3, Ok(b"two"));
    assert_eq!(bench.just_turn(), ["s received one"]);
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s received two"]);
}

#[test]
fn streams_do_not_mix_what_they_read() {
    let mut bench = Bench::default();
    for (number, name, data) in [(3, "a", &b"long and 1"[..]), (4, "b", b"2"), (5, "c", b"three")] {
        stream(&mut bench, number, name);
        bench.kernel.incoming(number, Ok(data));
    }
    readable(&bench, &[3, 4, 5]);
    let log = bench.just_turn();
    assert_eq!(log, ["a received long and 1", "b received 2", "c received three"]);
}

#[test]
fn full_reads_make_the_next_one_larger_and_two_lean_ones_small_again() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "s");
    for count in [64 * KIB, 128 * KIB, 128 * KIB, 200 * KIB, 1, 128 * KIB, 1] {
        arrives_much(&bench, count);
        bench.just_turn();
    }
    let asked: Vec<_> = bench.kernel.asked().iter().map(|size| size / KIB).collect();
    assert_eq!(asked, [64, 128, 256, 256, 256, 256, 64]);
}

#[test]
fn what_fills_the_largest_read_goes_where_the_host_wants_it() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    for count in [64 * KIB, 128 * KIB, 256 * KIB] {
        arrives_much(&bench, count);
        bench.just_turn();
    }
    let mut memory = vec![0; 256 * KIB];
    for count in [256 * KIB, 7] {
        arrives_much(&bench, count);
        let log = bench.turn(|engine, step| {
            assert_eq!(step, "s plenty 262144");
            assert_eq!(engine.receive_into(key, &mut memory).unwrap(), count);
        });
        assert_eq!(log.len(), 1);
    }
    arrives(&bench, 3, b"as ever");
    assert_eq!(bench.just_turn(), ["s received as ever"]);
}

#[test]
fn the_rest_of_a_message_does_not_make_the_next_read_small() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "s");
    for count in [64 * KIB, 36 * KIB, 100 * KIB, 100 * KIB, 1, 100 * KIB] {
        arrives_much(&bench, count);
        bench.just_turn();
    }
    let asked: Vec<_> = bench.kernel.asked().iter().map(|size| size / KIB).collect();
    assert_eq!(asked, [64, 128, 128, 128, 128, 128]);
}

#[test]
fn a_large_message_comes_in_pieces_and_complete() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "s");
    let message: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    bench.kernel.incoming(3, Ok(&message));
    let mut got = Vec::new();
    while got.len() < message.len() {
        readable(&bench, &[3]);
        bench.engine.begin_run(true);
        while let step = bench.engine.step()
            && !matches!(step, Step::Done)
        {
            match step {
                Step::Wait(mut wait) => {
                    wait.block();
                    bench.engine.waited(wait).unwrap();
                }
                Step::Received(_, count) => got.extend_from_slice(bench.engine.received(count)),
                Step::Plenty(key, size) => {
                    let old = got.len();
                    got.resize(old + size, 0);
                    let count = bench.engine.receive_into(key, &mut got[old..]).unwrap();
                    got.truncate(old + count);
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(got == message);
    assert_eq!(bench.kernel.asked().len(), 6);
}

#[test]
fn each_stream_has_its_own_appetite() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "hungry");
    stream(&mut bench, 4, "modest");
    arrives_much(&bench, 64 * KIB);
    bench.just_turn();
    arrives(&bench, 4, b"x");
    bench.just_turn();
    arrives(&bench, 3, b"x");
    bench.just_turn();
    assert_eq!(bench.kernel.asked(), [64 * KIB, 64 * KIB, 128 * KIB]);
}

#[test]
fn the_end_is_reported_once_and_listened_for_no_more() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.ready(&[(3, true, true)]);
    readable(&bench, &[3]);
    bench.kernel.incoming(3, Ok(b""));
    bench.kernel.incoming(3, Ok(b""));
    assert_eq!(bench.just_turn(), ["s ended"]);
    assert_eq!(bench.kernel.calls(), ["remove 3"]);
    assert!(bench.just_turn().is_empty());
    bench.engine.start_reading(key).unwrap();
    assert!(bench.kernel.calls().is_empty());
}

#[test]
fn a_stream_that_ended_still_waits_for_the_kernel_to_take_more() {
    let mut bench = Bench::default();
    blocked_stream(&mut bench, 3, 10);
    arrives(&bench, 3, b"");
    assert_eq!(bench.just_turn(), ["s ended"]);
    assert_eq!(bench.kernel.interest(3), Interest { read: false, write: true });
}

#[test]
fn a_read_that_fails_is_reported() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "s");
    bench.kernel.incoming(3, Err(ErrorKind::ConnectionReset.into()));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s read failed: connection reset"]);
}

#[test]
fn a_read_that_would_block_or_was_interrupted_is_nothing() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "s");
    for kind in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
        bench.kernel.incoming(3, Err(kind.into()));
        readable(&bench, &[3]);
        assert!(bench.just_turn().is_empty());
    }
    arrives(&bench, 3, b"still here");
    assert_eq!(bench.just_turn(), ["s received still here"]);
}

#[test]
fn a_stream_that_was_stopped_in_the_same_batch_reads_nothing() {
    let mut bench = Bench::default();
    stream(&mut bench, 3, "first");
    let second = stream(&mut bench, 4, "second");
    bench.kernel.incoming(3, Ok(b"x"));
    bench.kernel.incoming(4, Ok(b"kept by the kernel"));
    readable(&bench, &[3, 4]);
    let log = bench.turn(|engine, _| engine.stop_reading(second).unwrap());
    assert_eq!(log, ["first received x"]);
    bench.engine.start_reading(second).unwrap();
    readable(&bench, &[4]);
    assert_eq!(bench.just_turn(), ["second received kept by the kernel"]);
}

#[test]
fn a_stream_that_a_job_stopped_after_the_poll_reads_nothing() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    soon(&mut bench.engine, "stop");
    arrives(&bench, 3, b"x");
    let log = bench.turn(|engine, _| engine.stop_reading(key).unwrap());
    assert_eq!(log, ["stop"]);
    assert!(bench.kernel.asked().is_empty());
}

#[test]
fn a_stream_may_be_released_by_its_own_data() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.kernel.incoming(3, Ok(b"bye"));
    bench.kernel.ready(&[(3, true, true)]);
    bench.turn(|engine, _| assert_eq!(engine.release(key), Some("s")));
    assert_eq!(bench.kernel.calls(), ["remove 3"]);
    assert_eq!(bench.engine.release(key), None);
}

#[test]
fn a_poller_that_refuses_is_an_error_and_can_be_asked_again() {
    let mut bench = Bench::default();
    let key = bench.engine.open_stream(fd(3), "s").unwrap();
    bench.kernel.refuse(Some(ErrorKind::OutOfMemory));
    let error = bench.engine.start_reading(key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    bench.kernel.refuse(None);
    bench.engine.start_reading(key).unwrap();
    arrives(&bench, 3, b"hello");
    assert_eq!(bench.just_turn(), ["s received hello"]);
}

#[test]
fn a_key_that_names_nothing_any_more_does_nothing() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.release(key);
    bench.kernel.calls();
    bench.engine.start_reading(key).unwrap();
    bench.engine.stop_reading(key).unwrap();
    bench.engine.set_offered(key, true);
    assert_eq!(bench.engine.conn(key), None);
    assert!(bench.kernel.calls().is_empty());
}
