//! Reads into memory of the host.

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;

use crate::setup::{arrives, readable, stream};

#[test]
fn an_offered_read_goes_into_the_owners_memory() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_offered(key, true);
    arrives(&bench, 3, b"hello world");
    let mut buffer = [0; 5];
    let log = bench.turn(|engine, _| assert_eq!(engine.receive_into(key, &mut buffer).unwrap(), 5));
    assert_eq!((log, &buffer), (vec!["s offer".to_owned()], b"hello"));
    readable(&bench, &[3]);
    bench.turn(|engine, _| assert_eq!(engine.receive_into(key, &mut buffer).unwrap(), 5));
    assert_eq!(&buffer, b" worl");
}

#[test]
fn an_offer_that_is_not_taken_leaves_the_data_in_the_kernel() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_offered(key, true);
    arrives(&bench, 3, b"hello");
    assert_eq!(bench.just_turn(), ["s offer"]);
    assert!(bench.kernel.asked().is_empty());
    bench.engine.set_offered(key, false);
    readable(&bench, &[3]);
    assert_eq!(bench.just_turn(), ["s received hello"]);
}

#[test]
fn nothing_in_an_offered_buffer_is_the_end() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_offered(key, true);
    arrives(&bench, 3, b"");
    bench.turn(|engine, _| assert_eq!(engine.receive_into(key, &mut [0; 5]).unwrap(), 0));
    assert_eq!(bench.kernel.calls(), ["remove 3"]);
}

#[test]
fn nothing_in_a_buffer_without_room_is_not_the_end() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_offered(key, true);
    arrives(&bench, 3, b"hello");
    bench.turn(|engine, _| assert_eq!(engine.receive_into(key, &mut []).unwrap(), 0));
    assert!(bench.kernel.calls().is_empty());
}

#[test]
fn an_offered_read_reports_errors_to_the_caller() {
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_offered(key, true);
    bench.kernel.incoming(3, Err(ErrorKind::ConnectionReset.into()));
    readable(&bench, &[3]);
    bench.turn(|engine, _| {
        let error = engine.receive_into(key, &mut [0; 5]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn an_owner_that_stopped_or_left_before_taking_the_offer_gets_nothing() {
    // The buffer comes from code that may do anything.
    let mut bench = Bench::default();
    let key = stream(&mut bench, 3, "s");
    bench.engine.set_offered(key, true);
    arrives(&bench, 3, b"hello");
    bench.turn(|engine, _| {
        engine.stop_reading(key).unwrap();
        let error = engine.receive_into(key, &mut [0; 5]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        engine.release(key);
        let error = engine.receive_into(key, &mut [0; 5]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
    assert!(bench.kernel.asked().is_empty());
}
