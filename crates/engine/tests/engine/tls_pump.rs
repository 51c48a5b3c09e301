//! The record pump, over a session whose records are text.

use std::cell::Cell;
use std::rc::Rc;

use oxloop_engine::testing::{TestHost, ToyError, ToyTls};
use oxloop_engine::{Farewell, FlowChange, Limits, Pump, TlsStep};

pub(crate) type TestPump = Pump<TestHost>;

/// Runs the pump until it is idle; what it asked for, and the output it gave.
pub(crate) fn drive(pump: &TestPump) -> Vec<String> {
    let mut log = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        log.push(match pump.next(&mut buffer, false) {
            TlsStep::Idle => return log,
            TlsStep::Output => {
                let mut output = String::new();
                pump.take_output(|bytes| output = String::from_utf8_lossy(bytes).into_owned())
                    .unwrap();
                format!("output {output:?}")
            }
            TlsStep::Received(count) => {
                format!("received {}", String::from_utf8_lossy(&buffer[..count]))
            }
            TlsStep::Failed(ToyError(text)) => format!("failed {text}"),
            TlsStep::HandshakeFailed(ToyError(text)) => format!("handshake failed {text}"),
            other => format!("{other:?}").to_lowercase(),
        });
    }
}

pub(crate) fn new_pump() -> TestPump {
    Pump::new(ToyTls::default(), Limits { low: 10, high: 100 })
}

/// A connection with both hellos said.
pub(crate) fn open_pump() -> TestPump {
    let pump = new_pump();
    pump.feed(b"H").unwrap();
    assert_eq!(drive(&pump), ["handshaken", "output \"H\""]);
    pump
}

pub(crate) fn write(pump: &TestPump, data: &[u8]) {
    pump.write(data, || Some(data.to_vec())).unwrap();
}

pub(crate) fn feed(pump: &TestPump, data: &[u8]) -> Vec<String> {
    pump.feed(data).unwrap();
    drive(pump)
}

#[test]
fn a_handshake_speaks_first_and_waits() {
    let pump = new_pump();
    assert!(pump.is_handshaking() && pump.is_open());
    assert_eq!(drive(&pump), ["output \"H\""]);
    assert!(drive(&pump).is_empty());
    assert_eq!(feed(&pump, b"H"), ["handshaken"]);
    assert!(!pump.is_handshaking());
}

#[test]
fn data_that_came_with_the_end_of_the_handshake_is_not_forgotten() {
    assert_eq!(feed(&new_pump(), b"HD\x02hi"), ["handshaken", "output \"H\"", "received hi"]);
}

#[test]
fn what_was_written_during_the_handshake_follows_it() {
    let pump = new_pump();
    write(&pump, b"early");
    assert_eq!(drive(&pump), ["output \"H\""]);
    assert_eq!(pump.queued(), 5);
    assert_eq!(feed(&pump, b"H"), ["handshaken", "output \"D\\u{5}early\""]);
    assert_eq!(pump.queued(), 0);
}

#[test]
fn a_failed_handshake_leaves_its_alert() {
    let pump = new_pump();
    drive(&pump);
    assert_eq!(feed(&pump, b"?"), ["handshake failed ?"]);
    let mut alert = Vec::new();
    pump.take_output(|bytes| alert.extend_from_slice(bytes)).unwrap();
    assert_eq!(alert, b"!");
    assert!(!pump.is_open() && drive(&pump).is_empty());
}

#[test]
fn an_end_during_the_handshake_is_a_reset() {
    let pump = new_pump();
    drive(&pump);
    pump.cut(false);
    assert_eq!(drive(&pump), ["reset"]);
}

#[test]
fn records_that_came_together_are_delivered_together() {
    let pump = open_pump();
    assert_eq!(feed(&pump, b"D\x02abD\x01cD\x03def"), ["received abcdef"]);
}

#[test]
fn nothing_is_asked_of_the_session_to_learn_that_nothing_is_there() {
    let pump = open_pump();
    let vain = pump.session().vain_reads();
    feed(&pump, b"D\x02ab");
    feed(&pump, b"D\x02ab");
    assert_eq!(pump.session().vain_reads(), vain);
}

#[test]
fn half_a_record_waits_for_its_other_half() {
    let pump = open_pump();
    assert!(feed(&pump, b"D\x04ab").is_empty());
    assert_eq!(feed(&pump, b"cd"), ["received abcd"]);
}

#[test]
fn a_full_buffer_is_delivered_and_the_rest_follows() {
    let pump = open_pump();
    let mut data = Vec::new();
    for _ in 0..10 {
        data.extend_from_slice(b"D\xc8");
        data.extend_from_slice(&[b'x'; 200]);
    }
    let log = feed(&pump, &data);
    assert_eq!(log.iter().map(|line| line.len() - 9).collect::<Vec<_>>(), [1024, 976]);
}

#[test]
fn an_answer_leaves_after_the_data_that_asked_for_it() {
    let pump = open_pump();
    assert_eq!(feed(&pump, b"D\x01aK"), ["received a", "output \"k\""]);
}

#[test]
fn a_reader_that_pauses_gets_nothing_and_loses_nothing() {
    let pump = open_pump();
    pump.set_reading(false);
    assert!(pump.is_reading_paused());
    assert!(feed(&pump, b"D\x02ab").is_empty());
    pump.set_reading(true);
    assert_eq!(drive(&pump), ["received ab"]);
}

#[test]
fn an_offered_reader_decides_how_much_is_read() {
    let pump = open_pump();
    pump.feed(b"D\x05abcde").unwrap();
    let mut buffer = [0; 3];
    for expected in [&b"abc"[..], b"de"] {
        assert!(matches!(pump.next(&mut [], true), TlsStep::Offer));
        assert!(matches!(pump.read(&mut buffer), TlsStep::Received(n) if n == expected.len()));
        assert_eq!(&buffer[..expected.len()], expected);
    }
    assert!(matches!(pump.next(&mut [], true), TlsStep::Idle));
}

#[test]
fn small_writes_share_a_record() {
    let pump = open_pump();
    for piece in [&b"head"[..], b"er ", b"body"] {
        write(&pump, piece);
    }
    assert_eq!(drive(&pump), ["output \"D\\u{b}header body\""]);
}

#[test]
fn nothing_is_encrypted_for_a_stream_that_is_full() {
    let pump = open_pump();
    pump.set_blocked(true);
    write(&pump, b"later");
    assert!(drive(&pump).is_empty());
    assert_eq!(pump.queued(), 5);
    pump.set_blocked(false);
    assert_eq!(drive(&pump), ["output \"D\\u{5}later\""]);
}

#[test]
fn much_data_leaves_in_portions() {
    let pump = open_pump();
    write(&pump, &[b'x'; 1_000_000]);
    let mut portions = 0;
    while let TlsStep::Output = pump.next_write() {
        pump.take_output(|bytes| assert!(bytes.len() < 70_000)).unwrap();
        portions += 1;
    }
    assert_eq!((portions, pump.queued()), (16, 0));
}

#[test]
fn a_session_that_cannot_write_goes_on_when_it_was_fed() {
    let pump = open_pump();
    feed(&pump, b"W");
    write(&pump, b"x");
    assert!(drive(&pump).is_empty() && drive(&pump).is_empty());
    assert_eq!(pump.queued(), 1);
    assert_eq!(feed(&pump, b"w"), ["output \"D\\u{1}x\""]);
}

#[test]
fn garbage_ends_everything_once() {
    let pump = open_pump();
    write(&pump, b"lost");
    assert_eq!(feed(&pump, b"D\x02ab?"), ["received ab", "failed ?"]);
    assert!(!pump.is_open());
    assert!(feed(&pump, b"D\x02ab").is_empty());
}

#[test]
fn an_error_behind_data_waits_while_the_reader_pauses() {
    let pump = open_pump();
    pump.feed(b"D\x02ab?").unwrap();
    let mut buffer = [0; 64];
    assert!(matches!(pump.next(&mut buffer, false), TlsStep::Received(2)));
    pump.set_reading(false);
    assert!(drive(&pump).is_empty());
    let mut kept = None;
    pump.visit(|error| kept = Some(error.clone()));
    assert_eq!(kept, Some(ToyError("?".to_owned())));
    pump.set_reading(true);
    assert_eq!(drive(&pump), ["failed ?"]);
}

#[test]
fn a_writer_pauses_and_goes_on_by_what_waits_here_and_below() {
    let pump = open_pump();
    pump.set_blocked(true);
    write(&pump, &[b'x'; 60]);
    assert_eq!(pump.flow_change(40), None);
    assert_eq!(pump.flow_change(41), Some(FlowChange::Pause));
    assert_eq!(pump.flow_change(41), None);
    assert!(pump.is_write_paused());
    pump.set_blocked(false);
    drive(&pump);
    assert_eq!(pump.flow_change(11), None);
    assert_eq!(pump.flow_change(10), Some(FlowChange::Resume));
}

#[test]
fn a_writer_that_was_paused_before_is_told_to_go_on() {
    let pump = new_pump();
    pump.begin_paused();
    assert_eq!(pump.flow_change(100), None);
    assert_eq!(pump.flow_change(0), Some(FlowChange::Resume));
}

// From within the session: a callback may do anything.

/// Runs `act` inside of every call of the pump's session, with the name of the call.
fn inside(pump: TestPump, act: impl Fn(&TestPump, &str) + 'static) -> Rc<TestPump> {
    let pump = Rc::new(pump);
    // The pump owns what is called, which must not keep it.
    let inner = Rc::downgrade(&pump);
    pump.session().inside(move |call| act(&inner.upgrade().unwrap(), call));
    pump
}

#[test]
fn what_is_written_from_within_is_sent_afterwards_in_order() {
    let once = Cell::new(false);
    let pump = inside(open_pump(), move |pump, call| {
        if call == "write" && !once.replace(true) {
            assert!(pump.is_busy());
            assert!(matches!(pump.next(&mut [0; 8], false), TlsStep::Idle));
            write(pump, b"second");
        }
    });
    write(&pump, b"first");
    assert_eq!(drive(&pump), ["output \"D\\u{5}first\"", "output \"D\\u{6}second\""]);
}

#[test]
fn an_abort_from_within_is_the_end_of_it() {
    for call in ["read", "write", "shutdown"] {
        let pump = inside(open_pump(), move |pump, name| {
            if name == call {
                pump.abort();
            }
        });
        write(&pump, b"data");
        pump.feed(b"D\x02ab").unwrap();
        drive(&pump);
        pump.close();
        assert!(drive(&pump).is_empty(), "{call}");
        assert_eq!(pump.close(), Farewell::Already);
    }
}

#[test]
fn a_close_from_within_a_read_delivers_nothing_more() {
    let pump = inside(open_pump(), |pump, name| {
        if name == "read" {
            pump.close();
        }
    });
    assert_eq!(feed(&pump, b"D\x02ab"), ["output \"G\""]);
}

#[test]
fn an_error_behind_an_abort_from_within_is_told_to_nobody() {
    for goodbye_said in [false, true] {
        let pump = inside(open_pump(), |pump, name| {
            if name == "read" {
                pump.abort();
            }
        });
        assert_eq!(pump.close(), Farewell::Begun);
        if goodbye_said {
            assert_eq!(drive(&pump), ["output \"G\""]);
        }
        assert!(feed(&pump, b"?").is_empty());
    }
}
