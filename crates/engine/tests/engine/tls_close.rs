//! How a TLS connection ends: by goodbyes, without one, or by an abort.

use oxloop_engine::{Farewell, FlowChange};

use crate::tls_pump::{drive, feed, new_pump, open_pump, write};

#[test]
fn a_close_says_goodbye_and_waits_for_the_answer() {
    let pump = open_pump();
    assert_eq!(pump.close(), Farewell::Begun);
    assert_eq!(pump.close(), Farewell::Already);
    assert!(!pump.is_open());
    assert_eq!(drive(&pump), ["output \"G\""]);
    assert_eq!(feed(&pump, b"G"), ["closed"]);
    assert!(drive(&pump).is_empty());
}

#[test]
fn a_close_sends_what_was_written_first() {
    let pump = open_pump();
    write(&pump, b"last");
    pump.close();
    assert_eq!(drive(&pump), ["output \"D\\u{4}last\"", "output \"G\""]);
}

#[test]
fn a_close_waits_for_a_stream_that_is_full() {
    let pump = open_pump();
    pump.set_blocked(true);
    write(&pump, b"last");
    pump.close();
    assert!(drive(&pump).is_empty());
    pump.set_blocked(false);
    assert_eq!(drive(&pump), ["output \"D\\u{4}last\"", "output \"G\""]);
}

#[test]
fn a_close_during_the_handshake_is_an_abort() {
    assert_eq!(new_pump().close(), Farewell::Abort);
}

#[test]
fn what_comes_after_our_goodbye_is_for_nobody() {
    let pump = open_pump();
    pump.close();
    drive(&pump);
    assert!(feed(&pump, b"D\x02ab").is_empty());
    assert!(feed(&pump, b"D\x02").is_empty());
    assert_eq!(feed(&pump, b"abG"), ["closed"]);
}

#[test]
fn what_had_come_before_our_goodbye_is_for_nobody_either() {
    let pump = open_pump();
    pump.set_reading(false);
    feed(&pump, b"D\x02ab");
    pump.close();
    assert_eq!(drive(&pump), ["output \"G\""]);
    assert_eq!(feed(&pump, b"G"), ["closed"]);
}

#[test]
fn goodbyes_that_cross_each_other_are_enough() {
    let pump = open_pump();
    pump.set_reading(false);
    feed(&pump, b"D\x02abG");
    pump.close();
    assert_eq!(drive(&pump), ["output \"G\"", "closed"]);
}

#[test]
fn the_peers_goodbye_comes_after_its_data_and_once() {
    let pump = open_pump();
    assert_eq!(feed(&pump, b"D\x02abG"), ["received ab", "ended"]);
    write(&pump, b"answer");
    pump.close();
    assert_eq!(drive(&pump), ["output \"D\\u{6}answer\"", "output \"G\"", "closed"]);
}

#[test]
fn the_peers_goodbye_waits_while_the_reader_pauses() {
    let pump = open_pump();
    pump.set_reading(false);
    assert!(feed(&pump, b"G").is_empty());
    pump.set_reading(true);
    assert_eq!(drive(&pump), ["ended"]);
}

#[test]
fn an_end_without_goodbye_is_told_apart() {
    let pump = open_pump();
    pump.feed(b"D\x02ab").unwrap();
    pump.cut(false);
    assert_eq!(drive(&pump), ["received ab", "truncated", "closed"]);
    assert!(!pump.is_open());
}

#[test]
fn what_was_written_is_sent_although_the_peer_has_gone_silent() {
    let pump = open_pump();
    pump.set_blocked(true);
    write(&pump, b"kept");
    pump.feed(b"D\x02ab").unwrap();
    pump.cut(false);
    assert_eq!(drive(&pump), ["received ab", "truncated"]);
    pump.set_blocked(false);
    assert_eq!(drive(&pump), ["output \"D\\u{4}kept\"", "closed"]);
}

#[test]
fn half_a_record_at_the_end_is_cut() {
    let pump = open_pump();
    assert_eq!(feed(&pump, b"D\x01aD\x04ab"), ["received a"]);
    pump.cut(false);
    assert_eq!(drive(&pump), ["truncated", "closed"]);
}

#[test]
fn nothing_is_cut_if_we_had_the_last_word() {
    let pump = open_pump();
    feed(&pump, b"D\x02ab");
    write(&pump, b"answer");
    drive(&pump);
    pump.cut(false);
    assert_eq!(drive(&pump), ["ended"]);
    pump.close();
    assert_eq!(drive(&pump), ["closed"]);
}

#[test]
fn an_end_without_goodbye_can_be_forgiven() {
    let pump = open_pump();
    pump.set_reading(false);
    feed(&pump, b"D\x02ab");
    pump.cut(true);
    assert!(drive(&pump).is_empty());
    pump.set_reading(true);
    assert_eq!(drive(&pump), ["received ab", "ended"]);
    pump.close();
    assert_eq!(drive(&pump), ["closed"]);
}

#[test]
fn the_end_of_the_stream_answers_our_goodbye() {
    let pump = open_pump();
    pump.close();
    drive(&pump);
    pump.cut(false);
    assert_eq!(drive(&pump), ["closed"]);
}

#[test]
fn the_end_of_the_stream_after_the_peers_goodbye_is_no_cut() {
    let pump = open_pump();
    feed(&pump, b"G");
    pump.close();
    pump.cut(false);
    assert_eq!(drive(&pump), ["closed"]);
}

#[test]
fn garbage_instead_of_a_goodbye_is_an_error() {
    let pump = open_pump();
    pump.close();
    drive(&pump);
    assert_eq!(feed(&pump, b"?"), ["failed ?"]);
}

#[test]
fn an_abort_drops_what_was_not_sent() {
    let pump = open_pump();
    write(&pump, b"lost");
    pump.abort();
    assert!(drive(&pump).is_empty());
    assert_eq!((pump.queued(), pump.close()), (0, Farewell::Already));
}

#[test]
fn what_waits_for_a_peer_that_is_gone_does_not_keep_the_connection() {
    let pump = open_pump();
    feed(&pump, b"W");
    write(&pump, b"never sent");
    assert!(drive(&pump).is_empty());
    pump.cut(false);
    assert_eq!(drive(&pump), ["ended"]);
    pump.close();
    assert_eq!(drive(&pump), ["closed"]);
    assert_eq!(pump.queued(), 0);
}

#[test]
fn a_writer_that_waits_is_not_told_to_go_on_by_an_abort() {
    let pump = open_pump();
    pump.set_blocked(true);
    write(&pump, &[b'x'; 200]);
    assert_eq!(pump.flow_change(0), Some(FlowChange::Pause));
    pump.abort();
    assert_eq!(pump.flow_change(0), None);
    assert!(pump.is_write_paused());
}
