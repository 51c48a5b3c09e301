//! Joined writes: when what was written leaves.

use oxloop_engine::testing::Bench;

use crate::setup::{
    add_reader, arrives, assert_fine, call_at, fd, readable, soon, stream, write, write_held,
};

#[test]
fn a_small_write_does_not_leave_at_once() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert_fine(&write(&mut bench.engine, key, b"hello"));
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(key)), (0, 5));
}

#[test]
fn the_writes_of_one_callback_are_one_send() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    arrives(&bench, 3, b"request");
    bench.turn(|engine, _| {
        for line in ["one ", "two ", "three"] {
            assert_fine(&write(engine, key, line.as_bytes()));
        }
    });
    assert_eq!((bench.kernel.sends(), bench.kernel.sent(3)), (1, b"one two three".to_vec()));
}

#[test]
fn small_and_held_writes_of_one_callback_are_one_send_too() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    let body = vec![b'b'; 10_000];
    arrives(&bench, 3, b"request");
    bench.turn(|engine, _| {
        assert_fine(&write(engine, key, b"header"));
        assert_fine(&write_held(engine, key, &body));
        assert_fine(&write(engine, key, b"footer"));
    });
    assert_eq!(bench.kernel.sends(), 1);
    assert!(bench.kernel.sent(3) == [&b"header"[..], &body, b"footer"].concat());
}

#[test]
fn no_answer_waits_for_another_connections_callback() {
    let mut bench = Bench::default();
    let (a, b) = (stream(&mut bench, 3, "a"), stream(&mut bench, 4, "b"));
    bench.kernel.incoming(3, Ok(b"x"));
    bench.kernel.incoming(4, Ok(b"x"));
    readable(&bench, &[3, 4]);
    let kernel = bench.kernel.clone();
    bench.turn(|engine, step| {
        if step.starts_with('a') {
            write(engine, a, b"answer");
        } else {
            assert_eq!(kernel.sent(3), b"answer");
            write(engine, b, b"other");
        }
    });
    assert_eq!(kernel.sent(4), b"other");
}

#[test]
fn what_a_watchs_callback_writes_leaves_before_the_next_event() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 9, "s");
    add_reader(&mut bench.engine, 3, "first");
    add_reader(&mut bench.engine, 4, "second");
    readable(&bench, &[3, 4]);
    let kernel = bench.kernel.clone();
    bench.turn(|engine, step| match step {
        "first" => assert_fine(&write(engine, key, b"x")),
        _ => assert_eq!(kernel.sent(9), b"x"),
    });
}

#[test]
fn what_an_accepted_connection_is_greeted_with_leaves_before_the_next_one() {
    let mut bench = Bench::default();
    bench.engine.listen(fd(3), 5, "l").unwrap();
    let key = stream(&mut bench, 9, "s");
    bench.kernel.arrival(Ok(10));
    bench.kernel.arrival(Ok(11));
    readable(&bench, &[3]);
    let kernel = bench.kernel.clone();
    bench.turn(|engine, step| match step {
        "l accepted 10" => assert_fine(&write(engine, key, b"x")),
        _ => assert_eq!(kernel.sent(9), b"x"),
    });
    assert_eq!(kernel.sends(), 1);
}

#[test]
fn the_writes_of_all_ready_jobs_are_one_send_before_the_first_event() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 9, "s");
    add_reader(&mut bench.engine, 3, "io");
    for job in ["1", "2", "3"] {
        soon(&mut bench.engine, job);
    }
    readable(&bench, &[3]);
    let kernel = bench.kernel.clone();
    bench.turn(|engine, step| match step {
        "io" => assert_eq!((kernel.sends(), kernel.sent(9)), (1, b"123".to_vec())),
        job => {
            assert_eq!(kernel.sends(), 0);
            assert_fine(&write(engine, key, job.as_bytes()));
        }
    });
}

#[test]
fn the_writes_of_all_due_timers_are_one_send_at_the_end_of_the_turn() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    for timer in ["1", "2", "3"] {
        call_at(&mut bench.engine, 0.0, timer);
    }
    let kernel = bench.kernel.clone();
    bench.turn(|engine, timer| {
        assert_eq!(kernel.sends(), 0);
        assert_fine(&write(engine, key, timer.as_bytes()));
    });
    assert_eq!((kernel.sends(), kernel.sent(3)), (1, b"123".to_vec()));
}

#[test]
fn a_flush_serves_every_stream_that_was_written_to() {
    let mut bench = Bench::default();
    let keys: Vec<_> = (10..20).map(|number| stream(&mut bench, number, "s")).collect();
    soon(&mut bench.engine, "broadcast");
    bench.turn(|engine, _| {
        for &key in &keys {
            write(engine, key, b"all");
            write(engine, key, b" of you");
        }
    });
    assert_eq!(bench.kernel.sends(), 10);
    assert!((10..20).all(|number| bench.kernel.sent(number) == b"all of you"));
}

#[test]
fn a_turn_without_a_poll_flushes_as_well() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    soon(&mut bench.engine, "1");
    bench.engine.begin_run(false);
    let mut turns = 0;
    let kernel = bench.kernel.clone();
    bench.run(|engine, _| {
        assert_eq!(kernel.sends(), turns);
        write(engine, key, b"x");
        soon(engine, "again");
        turns += 1;
        turns < 40
    });
    assert!(kernel.timeouts().len() < 40);
}

#[test]
fn a_stream_is_flushed_again_after_it_was_flushed() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    for (turn, data) in [(1, "one"), (2, " two"), (3, " three")] {
        write(&mut bench.engine, key, data.as_bytes());
        soon(&mut bench.engine, "job");
        bench.just_turn();
        assert_eq!(bench.kernel.sends(), turn);
    }
    assert_eq!(bench.kernel.sent(3), b"one two three");
}

#[test]
fn a_stream_that_was_released_before_the_flush_sends_nothing() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    write(&mut bench.engine, key, b"hello");
    bench.engine.release(key);
    let new = stream(&mut bench, 3, "new");
    bench.just_turn();
    assert_eq!((bench.kernel.sends(), bench.engine.buffered(new)), (0, 0));
}

#[test]
fn bytes_are_sent_as_they_were_when_written() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    let mut small = b"before".to_vec();
    let mut large = vec![b'b'; 5000];
    write(&mut bench.engine, key, &small);
    write_held(&mut bench.engine, key, &large);
    small.fill(b'?');
    large.fill(b'?');
    bench.just_turn();
    assert!(bench.kernel.sent(3) == [&b"before"[..], &[b'b'; 5000]].concat());
}

#[test]
fn writing_nothing_is_fine_and_sends_nothing() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    assert_fine(&write(&mut bench.engine, key, b""));
    bench.just_turn();
    assert_eq!(bench.kernel.sends(), 0);
    write_held(&mut bench.engine, key, &[b'x'; 3000]);
    assert_fine(&write(&mut bench.engine, key, b""));
    bench.just_turn();
    assert_eq!((bench.kernel.sends(), bench.kernel.sent(3).len()), (1, 3000));
}
