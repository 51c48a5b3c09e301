//! Child processes.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Exit, Interest, Owner, Payload};

use crate::setup::{add_reader, fd, readable, soon};

#[test]
fn an_end_is_told_once_and_nothing_stays() {
    let mut bench = Bench::default();
    bench.engine.watch_child(fd(3), "child").unwrap();
    assert!(matches!(bench.engine.owner_of(fd(3)), Owner::Child));
    bench.kernel.exit(3, Ok(Exit::Code(5)));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["child exited Ok(Code(5))"]);
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
    assert!(matches!(bench.engine.owner_of(fd(3)), Owner::Nobody));
    assert!(bench.engine.drain().is_empty());
}

#[test]
fn many_ends_in_one_turn() {
    let mut bench = Bench::default();
    for (number, name) in [(3, "a"), (4, "b"), (5, "c")] {
        bench.engine.watch_child(fd(number), name).unwrap();
        bench.kernel.exit(number, Ok(Exit::Signal(number)));
    }
    readable(&bench, &[5, 3, 4]);
    soon(&mut bench.engine, "job");
    let expected =
        ["job", "c exited Ok(Signal(5))", "a exited Ok(Signal(3))", "b exited Ok(Signal(4))"];
    assert_eq!(bench.just_turn(), expected);
}

#[test]
fn one_that_has_not_ended_is_asked_again() {
    let mut bench = Bench::default();
    bench.engine.watch_child(fd(3), "child").unwrap();
    readable(&bench, &[3]);
    assert!(bench.just_turn().is_empty());
    bench.kernel.exit(3, Err(ErrorKind::Interrupted.into()));
    readable(&bench, &[3]);
    assert!(bench.just_turn().is_empty());
    bench.kernel.exit(3, Ok(Exit::Code(0)));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["child exited Ok(Code(0))"]);
}

#[test]
fn one_that_somebody_else_has_reaped() {
    let mut bench = Bench::default();
    bench.engine.watch_child(fd(3), "child").unwrap();
    bench.kernel.exit(3, Err(ErrorKind::NotFound.into()));
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["child exited Err(Kind(NotFound))"]);
}

#[test]
fn a_refused_registration_gives_the_payload_back() {
    let mut bench = Bench::default();
    bench.kernel.refuse(Some(ErrorKind::OutOfMemory));
    let (error, conn) = bench.engine.watch_child(fd(3), "child").unwrap_err();
    assert_eq!((error.kind(), conn), (ErrorKind::OutOfMemory, "child"));
    assert!(matches!(bench.engine.owner_of(fd(3)), Owner::Nobody));
}

#[test]
fn a_closed_loop_gives_back_its_children() {
    let mut bench = Bench::default();
    bench.engine.watch_child(fd(3), "child").unwrap();
    let mut seen = Vec::new();
    bench.engine.visit(|payload| {
        if let Payload::Child(conn, pidfd) = payload {
            seen.push((*conn, pidfd));
        }
    });
    assert_eq!(seen, [("child", fd(3))]);
    assert!(
        matches!(bench.engine.drain().as_slice(), [Payload::Child("child", pidfd)] if *pidfd == fd(3))
    );
    assert_eq!(bench.kernel.interest(3), Interest::NONE);
}

#[test]
fn who_takes_the_number_takes_its_events() {
    let mut bench = Bench::default();
    bench.engine.watch_child(fd(3), "child").unwrap();
    bench.kernel.close(3);
    add_reader(&mut bench.engine, 3, "reader");
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["reader"]);
}
