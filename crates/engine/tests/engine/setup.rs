//! The words of the tests.

use oxloop_engine::testing::{Bench, TestHost};
use oxloop_engine::{Closing, Direction, Engine, Fd, Key, Measures, Moment, Name, Replaced, Wrote};

pub(crate) type Loop = Engine<TestHost>;

pub(crate) fn fd(number: i32) -> Fd {
    Fd::new(number).unwrap()
}

pub(crate) fn at(seconds: f64) -> Moment {
    Moment::from_seconds(seconds).unwrap()
}

pub(crate) fn soon(engine: &mut Loop, job: &'static str) {
    engine.call_soon(job).unwrap();
}

pub(crate) fn call_at(engine: &mut Loop, seconds: f64, job: &'static str) -> Key {
    engine.call_at(at(seconds), job).unwrap()
}

pub(crate) fn add_reader(
    engine: &mut Loop,
    number: i32,
    job: &'static str,
) -> Replaced<&'static str> {
    engine.watch(fd(number), Direction::Read, job).unwrap()
}

pub(crate) fn add_writer(
    engine: &mut Loop,
    number: i32,
    job: &'static str,
) -> Replaced<&'static str> {
    engine.watch(fd(number), Direction::Write, job).unwrap()
}

pub(crate) fn remove_reader(engine: &mut Loop, number: i32) -> Option<&'static str> {
    engine.unwatch(fd(number), Direction::Read)
}

pub(crate) fn remove_writer(engine: &mut Loop, number: i32) -> Option<&'static str> {
    engine.unwatch(fd(number), Direction::Write)
}

/// A stream that reads. The calls that registered it are forgotten.
pub(crate) fn stream(bench: &mut Bench, number: i32, name: &'static str) -> Key {
    let key = bench.engine.open_stream(fd(number), name).unwrap();
    bench.engine.start_reading(key).unwrap();
    bench.kernel.calls();
    key
}

/// A stream on a kernel that takes nothing, with `queued` bytes that wait.
pub(crate) fn blocked_stream(bench: &mut Bench, number: i32, queued: usize) -> Key {
    let key = stream(bench, number, "s");
    fill(bench, key, number, queued);
    key
}

/// Makes a stream wait for its kernel, with `queued` bytes. Takes a turn.
pub(crate) fn fill(bench: &mut Bench, key: Key, number: i32, queued: usize) {
    bench.kernel.room(number, Ok(0));
    assert_fine(&write(&mut bench.engine, key, &vec![b'q'; queued]));
    assert!(bench.just_turn().is_empty());
    assert!(bench.engine.is_blocked(key));
    bench.kernel.calls();
}

/// An endpoint that reads; each waiting datagram counts for 8 bytes more than it has.
pub(crate) fn endpoint(bench: &mut Bench, number: i32, name: &'static str) -> Key {
    let measures = Measures { largest: 1 << 16, header: 8 };
    let key = bench.engine.open_endpoint(fd(number), measures, name).unwrap();
    bench.engine.start_reading(key).unwrap();
    bench.kernel.calls();
    key
}

/// Sends a datagram to somewhere.
pub(crate) fn send(engine: &mut Loop, key: Key, data: &[u8]) -> Wrote {
    let to = Name::v4(std::net::Ipv4Addr::LOCALHOST, 9);
    engine.send_datagram(key, Some(&to), data, || None)
}

/// The next wait says that these datagrams have come.
pub(crate) fn mail(bench: &Bench, number: i32, batch: &[&[u8]]) {
    bench.kernel.mail(number, batch);
    readable(bench, &[number]);
}

/// Writes bytes that can only be copied.
pub(crate) fn write(engine: &mut Loop, key: Key, data: &[u8]) -> Wrote {
    engine.write(key, data, || None)
}

/// Writes bytes that can be held.
pub(crate) fn write_held(engine: &mut Loop, key: Key, data: &[u8]) -> Wrote {
    engine.write(key, data, || Some(data.to_vec()))
}

#[track_caller]
pub(crate) fn assert_fine(wrote: &Wrote) {
    assert!(matches!(wrote, Wrote::Fine), "{wrote:?}");
}

#[track_caller]
pub(crate) fn assert_pause(wrote: &Wrote) {
    assert!(matches!(wrote, Wrote::Pause), "{wrote:?}");
}

/// What is written down when a stream that closes has sent all.
pub(crate) const FLUSHED: &str = "s flushed, resume false";

#[track_caller]
pub(crate) fn assert_closing(closing: &Closing, expected: &Closing) {
    assert_eq!(format!("{closing:?}"), format!("{expected:?}"));
}

/// Whether writes are dropped.
pub(crate) fn is_closed(engine: &mut Loop, key: Key) -> bool {
    matches!(write(engine, key, b"x"), Wrote::Closed)
}

/// Bytes that show when they are out of order.
pub(crate) fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|number| (number % 251) as u8).collect()
}

/// Runs a turn in which the kernel has room; says how often the stream finished.
pub(crate) fn finishes(bench: &mut Bench, key: Key) -> usize {
    writable(bench, &[3]);
    let mut finished = 0;
    bench.turn(|engine, step| {
        assert_eq!(step, FLUSHED);
        finished += usize::from(engine.settle(key).finished);
    });
    finished
}

/// The next wait says that these can be read.
pub(crate) fn readable(bench: &Bench, numbers: &[i32]) {
    let events: Vec<_> = numbers.iter().map(|&number| (number, true, false)).collect();
    bench.kernel.ready(&events);
}

/// The next wait says that these can be written.
pub(crate) fn writable(bench: &Bench, numbers: &[i32]) {
    let events: Vec<_> = numbers.iter().map(|&number| (number, false, true)).collect();
    bench.kernel.ready(&events);
}

/// The next wait says that data has come on this stream, and the next read brings it.
pub(crate) fn arrives(bench: &Bench, number: i32, data: &[u8]) {
    bench.kernel.incoming(number, Ok(data));
    readable(bench, &[number]);
}

/// How often the kernel was asked for events.
pub(crate) fn polls(bench: &Bench) -> usize {
    bench.kernel.timeouts().len()
}
