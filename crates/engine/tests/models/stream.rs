//! The life of a stream, whatever its host, its peer and the kernel do: every byte is sent once and
//! received once, in order; pause and resume alternate; the end is told once, and nothing after it.

use std::io::ErrorKind;

use arbitrary::{Result, Unstructured};
use oxloop_engine::testing::{Bench, Script, TestHost};
use oxloop_engine::{Closing, Engine, Fd, FileSent, Interest, Key, Limits, Wrote};

const FD: i32 = 3;
const FILE: i32 = 9;

/// What a host does, between two turns or within a callback.
#[derive(Clone, Debug)]
enum Act {
    Write(usize, bool),
    WriteAtOnce(usize),
    FlushNow,
    WriteEof,
    Close,
    Abort,
    Read(bool),
    Offered(bool),
    SetLimits(usize, usize),
    PauseWriter,
    FillLater,
    SendFile(usize),
    StopFile,
}

#[derive(Clone, Debug)]
enum Op {
    Act(Act),
    Incoming(usize),
    EndOfInput,
    BrokenInput,
    /// The poller refuses every change from now on, or no longer.
    Refuse(bool),
    Room(usize),
    BrokenOutput(ErrorKind),
    /// A turn, perhaps with events that are not true, in whose first callback something is done.
    Turn(bool, Option<Act>),
}

/// Says what is played; for who looks at a failure.
const SHOW: bool = false;

/// Plays operations out of a fuzzer's bytes.
pub(crate) fn play(data: &[u8]) {
    let (mut u, mut life) = (Unstructured::new(data), Life::new());
    while let (false, Ok(op)) = (u.is_empty(), op(&mut u)) {
        if SHOW {
            println!("{op:?}");
        }
        life.apply(&op);
        life.check();
    }
    life.end();
}

fn op(u: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match u.int_in_range(0..=31)? {
        0..=13 => Op::Act(act(u)?),
        14..=17 => Op::Incoming(size(u)?),
        18 => Op::EndOfInput,
        19 => Op::BrokenInput,
        20 => Op::Refuse(u.arbitrary()?),
        21..=24 => Op::Room(size(u)?),
        25 => Op::BrokenOutput(*u.choose(&[
            ErrorKind::Interrupted,
            ErrorKind::WouldBlock,
            ErrorKind::ConnectionReset,
        ])?),
        _ => Op::Turn(u.arbitrary()?, if u.arbitrary()? { Some(act(u)?) } else { None }),
    })
}

fn act(u: &mut Unstructured<'_>) -> Result<Act> {
    Ok(match u.int_in_range(0..=23)? {
        0..=6 => Act::Write(size(u)?, u.arbitrary()?),
        7 => Act::WriteAtOnce(size(u)?),
        8 => Act::FlushNow,
        9 => Act::WriteEof,
        10 => Act::Close,
        11 => Act::Abort,
        12..=14 => Act::Read(u.arbitrary()?),
        15 => Act::Offered(u.arbitrary()?),
        16 | 17 => {
            let (a, b) = (size(u)?, size(u)?);
            Act::SetLimits(a.min(b), a.max(b))
        }
        18 => Act::PauseWriter,
        19 | 20 => Act::FillLater,
        21 | 22 => Act::SendFile(size(u)?),
        _ => Act::StopFile,
    })
}

/// Mostly small; some are large for a queue, a few for a read.
fn size(u: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match u.arbitrary::<u8>()? {
        255 => u.int_in_range(200_000..=300_000)?,
        250..=254 => u.int_in_range(60_000..=140_000)?,
        220..=249 => u.int_in_range(1000..=5000)?,
        small => small.into(),
    })
}

/// Appends to a text that does not repeat itself at any power of two.
fn extend(text: &mut Vec<u8>, count: usize) {
    let end = text.len() + count;
    text.extend((text.len()..end).map(|at| b'0' + (at % 61) as u8));
}

/// What the host knows of its stream.
struct Owner {
    key: Key,
    kernel: Script,
    written: Vec<u8>,
    fed: Vec<u8>,
    received: usize,
    reading: bool,
    offered: bool,
    filling: bool,
    paused: bool,
    eof: bool,
    closing: bool,
    ended: bool,
    /// Nothing is sent or received any more.
    over: bool,
    /// It has failed, or was aborted: not all is sent.
    cut: bool,
    /// Where in `written` the file on its way begins.
    sending: Option<(usize, usize)>,
    act: Option<Act>,
}

struct Life {
    bench: Bench,
    owner: Owner,
    /// No more data can come.
    last_fed: bool,
    refusing: bool,
    /// The poller may know less, or more, than it should.
    vague: bool,
}

type Loop = Engine<TestHost>;

impl Owner {
    fn fail(&mut self, engine: &mut Loop) {
        engine.abort(self.key);
        self.forget_file(engine);
        (self.over, self.cut) = (true, true);
    }

    fn forget_file(&mut self, engine: &mut Loop) {
        if let Some(sent) = engine.stop_file(self.key) {
            let (first, count) = self.sending.take().expect("a file nobody sends");
            assert!(sent <= count as u64, "more of the file than there is");
            self.written.truncate(first + sent as usize);
        }
    }

    fn act(&mut self, engine: &mut Loop, act: &Act) {
        let key = self.key;
        match *act {
            Act::Write(len, held) => self.write(engine, len, held, false),
            Act::WriteAtOnce(len) => self.write(engine, len, false, true),
            Act::FlushNow => {
                if engine.flush_now(key).is_err() {
                    self.fail(engine);
                }
            }
            Act::WriteEof if !self.closing => {
                self.eof = true;
                if engine.write_eof(key).is_err() {
                    self.fail(engine);
                }
            }
            Act::WriteEof => {}
            Act::Close => self.close(engine),
            Act::Abort => {
                assert_eq!(engine.abort(key), !self.over);
                self.fail(engine);
            }
            Act::Read(reading) if !self.closing && !self.over => {
                self.reading = reading;
                let set =
                    if reading { engine.start_reading(key) } else { engine.stop_reading(key) };
                if set.is_err() {
                    self.fail(engine);
                }
            }
            Act::Read(_) => {}
            Act::Offered(offered) => {
                self.offered = offered;
                engine.set_offered(key, offered);
            }
            Act::SetLimits(low, high) => {
                let wrote = engine.set_limits(key, Limits { low, high });
                self.heed(engine, &wrote);
            }
            Act::PauseWriter => self.paused |= engine.pause_writer(key),
            Act::FillLater if !self.over => {
                self.filling = true;
                engine.fill_later(key);
            }
            Act::FillLater => {}
            Act::SendFile(len) => self.send_file(engine, len),
            Act::StopFile => self.forget_file(engine),
        }
    }

    fn write(&mut self, engine: &mut Loop, len: usize, held: bool, at_once: bool) {
        if self.sending.is_some() || self.eof {
            // Whoever sends a file, or has said that this was all, writes nothing.
            return;
        }
        let first = self.written.len();
        extend(&mut self.written, len);
        let data = &self.written[first..];
        let wrote = if at_once {
            engine.write_at_once(self.key, data)
        } else {
            engine.write(self.key, data, || held.then(|| data.to_vec()))
        };
        if self.over {
            assert!(matches!(wrote, Wrote::Closed), "{wrote:?}");
            self.written.truncate(first);
            return;
        }
        self.heed(engine, &wrote);
        let (waiting, high) = (engine.buffered(self.key), engine.limits(self.key).high);
        // Large writes wait for each other; nothing was attempted yet.
        let joined = !engine.is_blocked(self.key) && waiting <= 8 * high;
        let told = self.over || self.paused || waiting <= high || joined;
        assert!(told, "{waiting} bytes wait and nobody was told");
    }

    fn heed(&mut self, engine: &mut Loop, wrote: &Wrote) {
        match wrote {
            Wrote::Fine => {}
            Wrote::Pause => {
                assert!(!std::mem::replace(&mut self.paused, true), "told to pause twice");
            }
            Wrote::Failed(_) => self.fail(engine),
            Wrote::Closed => panic!("it is open"),
        }
    }

    fn send_file(&mut self, engine: &mut Loop, len: usize) {
        if self.sending.is_some() || self.eof || self.closing || self.over {
            return;
        }
        // The file goes on with the text where the written bytes end.
        let first = self.written.len();
        extend(&mut self.written, len);
        self.kernel.file(FILE, &self.written);
        self.sending = Some((first, len));
        let file = Fd::new(FILE).unwrap();
        match engine.send_file(self.key, file, first as u64, Some(len as u64)) {
            Ok(None) => {}
            Ok(Some(sent)) => self.file_sent(&sent),
            Err(_) => self.fail(engine),
        }
    }

    fn file_sent(&mut self, file: &FileSent) {
        let (first, count) = self.sending.take().expect("a file nobody sends");
        assert!(file.error.is_some() || file.sent == count as u64);
        self.written.truncate(first + file.sent as usize);
    }

    fn close(&mut self, engine: &mut Loop) {
        let closing = engine.close(self.key);
        let before = std::mem::replace(&mut self.closing, true);
        self.reading = false;
        match closing {
            Closing::Now => assert!(!std::mem::replace(&mut self.over, true)),
            Closing::AfterFlush => assert!(!before && !self.over),
            Closing::Failed(_) => self.fail(engine),
            Closing::Already => assert!(before || self.over),
        }
    }

    /// What a step of the engine brings.
    fn step(&mut self, engine: &mut Loop, step: &str) {
        // Who asked to prepare something is told also when it is for nothing.
        assert!(!self.over || step == "s fill", "{step} after the end");
        let step = step.strip_prefix("s ").unwrap();
        let (name, rest) = step.split_once(' ').unwrap_or((step, ""));
        let mut flushed = false;
        match (name, rest) {
            ("received", data) => self.receive(data.as_bytes()),
            ("offer", _) => self.receive_into(engine, 10_000),
            ("plenty", size) => self.receive_into(engine, size.parse().unwrap()),
            ("ended", _) => self.end_of_input(),
            ("full", _) => {
                assert!(!std::mem::replace(&mut self.paused, true), "told to pause twice");
            }
            ("fill", _) => assert!(std::mem::take(&mut self.filling), "nothing to fill"),
            ("flushed,", resume) => {
                flushed = true;
                if resume == "resume true" {
                    assert!(std::mem::take(&mut self.paused), "told to go on without a pause");
                }
            }
            ("file", sent) => {
                let (sent, error) =
                    sent.strip_prefix("sent ").unwrap().split_once(',').map_or_else(
                        || (sent.strip_prefix("sent ").unwrap(), None),
                        |(sent, error)| (sent, Some(error.to_owned())),
                    );
                let error = error.map(std::io::Error::other);
                self.file_sent(&FileSent { sent: sent.parse().unwrap(), error });
            }
            ("read" | "write", failed) => {
                assert!(failed.starts_with("failed"), "{step}");
                self.fail(engine);
            }
            _ => panic!("{step}"),
        }
        if let Some(act) = self.act.take() {
            self.act(engine, &act);
        }
        if flushed && engine.settle(self.key).finished {
            assert!(self.closing && !self.over, "finished, and nobody has closed it");
            self.over = true;
        }
    }

    fn receive(&mut self, data: &[u8]) {
        assert!(self.reading && !self.ended, "nobody reads");
        assert!(self.fed[self.received..].starts_with(data), "not what was sent");
        self.received += data.len();
    }

    fn receive_into(&mut self, engine: &mut Loop, size: usize) {
        let mut buffer = vec![0; size];
        match engine.receive_into(self.key, &mut buffer) {
            Ok(0) => self.end_of_input(),
            Ok(count) => self.receive(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.fail(engine),
        }
    }

    fn end_of_input(&mut self) {
        assert!(self.reading && !std::mem::replace(&mut self.ended, true), "told twice");
        assert_eq!(self.received, self.fed.len(), "the end before the last bytes");
    }
}

impl Life {
    fn new() -> Life {
        let mut bench = Bench::default();
        let key = bench.engine.open_stream(Fd::new(FD).unwrap(), "s").unwrap();
        let owner = Owner {
            key,
            kernel: bench.kernel.clone(),
            written: Vec::new(),
            fed: Vec::new(),
            received: 0,
            reading: false,
            offered: false,
            filling: false,
            paused: false,
            eof: false,
            closing: false,
            ended: false,
            over: false,
            cut: false,
            sending: None,
            act: None,
        };
        Life { bench, owner, last_fed: false, refusing: false, vague: false }
    }

    fn apply(&mut self, op: &Op) {
        let Life { bench, owner, .. } = self;
        match op {
            Op::Act(act) => owner.act(&mut bench.engine, act),
            Op::Incoming(len) if !self.last_fed && *len > 0 => {
                let first = owner.fed.len();
                extend(&mut owner.fed, *len);
                bench.kernel.incoming(FD, Ok(&owner.fed[first..]));
            }
            Op::Incoming(_) => {}
            Op::EndOfInput => self.last(Ok(b"")),
            Op::BrokenInput => self.last(Err(ErrorKind::ConnectionReset.into())),
            Op::Refuse(refuse) => {
                (self.refusing, self.vague) = (*refuse, true);
                bench.kernel.refuse(refuse.then_some(ErrorKind::OutOfMemory));
            }
            Op::Room(count) => bench.kernel.room(FD, Ok(*count)),
            Op::BrokenOutput(kind) => bench.kernel.room(FD, Err((*kind).into())),
            Op::Turn(false_events, act) => {
                owner.act.clone_from(act);
                self.turn(*false_events);
            }
        }
    }

    fn last(&mut self, end: std::io::Result<&[u8]>) {
        if !std::mem::replace(&mut self.last_fed, true) {
            self.bench.kernel.incoming(FD, end);
        }
    }

    fn turn(&mut self, false_events: bool) {
        let Life { bench, owner, .. } = self;
        let Interest { read, write } = bench.kernel.interest(FD);
        bench.kernel.ready(&[(FD, read || false_events, write || false_events)]);
        let log = bench.turn(|engine, step| owner.step(engine, step));
        assert!(log.len() < 12, "{log:?}");
        owner.act = None;
    }

    fn check(&self) {
        let Life { bench, owner, .. } = self;
        let engine = &bench.engine;
        let sent = bench.kernel.sent(FD);
        assert!(owner.written.starts_with(&sent), "not what was written");
        let waiting = engine.buffered(owner.key);
        if !owner.over {
            let behind = owner.written.len() - sent.len() - waiting;
            assert!(behind <= owner.sending.map_or(0, |(_, count)| count), "bytes are missing");
            assert_eq!(engine.is_write_paused(owner.key), owner.paused);
            assert!(!engine.is_blocked(owner.key) || waiting > 0 || owner.sending.is_some());
        } else if !owner.cut {
            assert_eq!(sent.len(), owner.written.len(), "closed before all was sent");
        }
        assert!(bench.kernel.shuts(FD) <= 1 && (owner.eof || !bench.kernel.was_shut(FD)));
        if !self.vague {
            let read = owner.reading && !owner.ended && !owner.over;
            let write = engine.is_blocked(owner.key);
            assert_eq!(bench.kernel.interest(FD), Interest { read, write });
        }
    }

    /// Lets the peer send and the kernel take the rest, and the stream end.
    fn end(&mut self) {
        self.apply(&Op::Refuse(false));
        let vague = std::mem::take(&mut self.vague);
        self.apply(&Op::Act(Act::Read(true)));
        let mut vain = 0;
        while vain < 10 {
            let before = (self.owner.received, self.bench.kernel.sent(FD).len());
            self.turn(vague);
            let after = (self.owner.received, self.bench.kernel.sent(FD).len());
            vain = if before == after { vain + 1 } else { 0 };
        }
        let owner = &self.owner;
        if owner.reading && !owner.over {
            assert_eq!(owner.received, owner.fed.len(), "never received");
        }
        self.apply(&Op::Act(Act::Close));
        for _ in 0..10 {
            self.turn(vague);
        }
        assert!(self.owner.over, "never closed");
        self.check_released();
    }

    fn check_released(&mut self) {
        let Life { bench, owner, .. } = self;
        let sent = bench.kernel.sent(FD);
        assert!(owner.written.starts_with(&sent));
        assert!(owner.cut || sent.len() == owner.written.len());
        assert_eq!(bench.engine.release(owner.key), Some("s"));
        assert_eq!(bench.kernel.interest(FD), Interest::NONE);
        assert_eq!(bench.engine.release(owner.key), None);
        assert!(matches!(bench.engine.write(owner.key, b"x", || None), Wrote::Closed));
        assert!(bench.engine.drain().is_empty());
    }
}
