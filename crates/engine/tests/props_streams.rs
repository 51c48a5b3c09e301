//! Whatever a writer does and a kernel takes: every byte is sent once and in order, pause and
//! resume alternate, and nobody waits for ever.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Closing, Fd, FileSent, Key, Limits, Wrote};
use proptest::prelude::*;

const FD: i32 = 3;
const FILE: i32 = 9;

#[derive(Clone, Debug)]
enum Op {
    Write(usize, bool),
    SetLimits(usize, usize),
    /// A file of this size follows the queue, unless one does already.
    SendFile(usize),
    /// A turn, in which sends meet this much room; behind it the kernel takes all.
    Turn(Vec<Room>),
}

#[derive(Clone, Debug)]
enum Room {
    Bytes(usize),
    Full,
    Interrupted,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![10 => 0..200_usize, 5 => 1000..5000_usize, 2 => 60_000..140_000_usize]
}

fn op() -> impl Strategy<Value = Op> {
    let room = prop_oneof![
        4 => size().prop_map(Room::Bytes),
        4 => Just(Room::Full),
        1 => Just(Room::Interrupted),
    ];
    prop_oneof![
        8 => (size(), any::<bool>()).prop_map(|(len, held)| Op::Write(len, held)),
        1 => (size(), size()).prop_map(|(a, b)| Op::SetLimits(a.min(b), a.max(b))),
        1 => Just(Op::SetLimits(0, 0)),
        2 => size().prop_map(Op::SendFile),
        5 => prop::collection::vec(room, 0..4).prop_map(Op::Turn),
    ]
}

/// How the stream ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Eof,
    EofThenClose,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Close), Just(End::Eof), Just(End::EofThenClose)]
}

/// A stream, and what its host knows of it.
struct Writer {
    bench: Bench,
    key: Key,
    written: Vec<u8>,
    paused: bool,
    /// The bytes of the file on its way.
    sending: Option<u64>,
    finished: usize,
}

impl Writer {
    fn new() -> Writer {
        let mut bench = Bench::default();
        let key = bench.engine.open_stream(Fd::new(FD).unwrap(), "s").unwrap();
        bench.engine.start_reading(key).unwrap();
        let written = Vec::new();
        Writer { bench, key, written, paused: false, sending: None, finished: 0 }
    }

    fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match op {
            Op::Write(len, held) => self.write(*len, *held)?,
            Op::SetLimits(low, high) => {
                let wrote =
                    self.bench.engine.set_limits(self.key, Limits { low: *low, high: *high });
                self.heed(&wrote)?;
            }
            Op::SendFile(len) => self.send_file(*len)?,
            Op::Turn(rooms) => {
                for room in rooms {
                    self.bench.kernel.room(
                        FD,
                        match room {
                            Room::Bytes(count) => Ok(*count),
                            Room::Full => Ok(0),
                            Room::Interrupted => Err(ErrorKind::Interrupted.into()),
                        },
                    );
                }
                self.turn()?;
            }
        }
        self.check()
    }

    fn write(&mut self, len: usize, held: bool) -> Result<(), TestCaseError> {
        if self.sending.is_some() {
            // Whoever sends a file writes nothing meanwhile.
            return Ok(());
        }
        let first = self.written.len();
        self.extend(len);
        let data = &self.written[first..];
        let wrote = self.bench.engine.write(self.key, data, || held.then(|| data.to_vec()));
        self.heed(&wrote)?;
        let waiting = self.bench.engine.buffered(self.key);
        let high = self.bench.engine.limits(self.key).high;
        let (over, far_over) = (waiting > high, waiting > 8 * high);
        let told = self.paused || !over;
        // Large writes wait for each other; nothing was attempted yet.
        let joined = !self.bench.engine.is_blocked(self.key) && !far_over;
        prop_assert!(told || joined, "{waiting} bytes wait and the writer was not told");
        Ok(())
    }

    fn send_file(&mut self, len: usize) -> Result<(), TestCaseError> {
        if self.sending.is_some() {
            return Ok(());
        }
        // The file goes on with the pattern where the written bytes end.
        let first = self.written.len();
        self.extend(len);
        self.bench.kernel.file(FILE, &self.written);
        let (file, count) = (Fd::new(FILE).unwrap(), len as u64);
        match self.bench.engine.send_file(self.key, file, first as u64, Some(count)).unwrap() {
            None => self.sending = Some(count),
            Some(FileSent { sent, error }) => prop_assert!(sent == count && error.is_none()),
        }
        Ok(())
    }

    fn extend(&mut self, len: usize) {
        let end = self.written.len() + len;
        let period: Vec<u8> = (0..=250).collect();
        while self.written.len() < end {
            let missing = end - self.written.len();
            let next = &period[self.written.len() % period.len()..];
            self.written.extend_from_slice(&next[..missing.min(next.len())]);
        }
    }

    fn heed(&mut self, wrote: &Wrote) -> Result<(), TestCaseError> {
        match wrote {
            Wrote::Fine => Ok(()),
            Wrote::Pause => {
                prop_assert!(!self.paused, "told to pause twice");
                prop_assert!(self.bench.engine.is_blocked(self.key), "paused without an attempt");
                self.paused = true;
                Ok(())
            }
            other => panic!("{other:?}"),
        }
    }

    /// A turn; the kernel reports room if it was asked to.
    fn turn(&mut self) -> Result<(), TestCaseError> {
        if self.bench.kernel.interest(FD).write {
            self.bench.kernel.ready(&[(FD, false, true)]);
        }
        let Writer { bench, key, paused, sending, finished, .. } = self;
        let log = bench.turn(|engine, step| {
            if step == "s full" {
                assert!(!std::mem::replace(paused, true), "told to pause twice");
                return;
            }
            if step == "s flushed, resume true" {
                assert!(std::mem::take(paused), "told to go on without a pause");
            }
            if let Some(sent) = step.strip_prefix("s file sent ") {
                assert_eq!(sending.take(), sent.parse().ok(), "not the file");
                return;
            }
            *finished += usize::from(engine.settle(*key).finished);
        });
        let told = |step: &String| {
            step == "s full" || step.starts_with("s flushed") || step.starts_with("s file sent")
        };
        prop_assert!(log.iter().all(told), "{log:?}");
        prop_assert!(log.len() <= 3, "{log:?}");
        let waiting = self.bench.engine.buffered(self.key);
        let blocked = self.bench.engine.is_blocked(self.key);
        let unsent = waiting > 0 || self.sending.is_some();
        prop_assert_eq!(unsent, blocked, "unsent bytes wait for the kernel, others do not");
        prop_assert!(waiting > 0 || !self.paused, "paused for ever");
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let (engine, kernel) = (&self.bench.engine, &self.bench.kernel);
        let sent = kernel.sent(FD);
        prop_assert!(self.written.starts_with(&sent), "not what was written");
        let behind = self.written.len() - sent.len() - engine.buffered(self.key);
        match self.sending {
            None => prop_assert_eq!(behind, 0),
            Some(count) => prop_assert!(behind as u64 <= count),
        }
        prop_assert_eq!(engine.is_write_paused(self.key), self.paused);
        prop_assert_eq!(kernel.interest(FD).write, engine.is_blocked(self.key));
        Ok(())
    }

    /// Ends the stream and lets the kernel take the rest.
    fn end(&mut self, end: End) -> Result<(), TestCaseError> {
        if matches!(end, End::Eof | End::EofThenClose) {
            self.bench.engine.write_eof(self.key).unwrap();
            self.check()?;
        }
        let mut ended = 0;
        if matches!(end, End::Close | End::EofThenClose) {
            match self.bench.engine.close(self.key) {
                Closing::Now => ended = 1,
                Closing::AfterFlush => {}
                other => panic!("{other:?}"),
            }
        }
        let mut turns = 0;
        while turns == 0 || self.sending.is_some() || self.bench.engine.buffered(self.key) > 0 {
            self.turn()?;
            turns += 1;
            prop_assert!(turns < 1000, "never sent");
        }
        prop_assert!(self.bench.kernel.sent(FD) == self.written);
        let shut = self.bench.kernel.shuts(FD);
        match end {
            End::Eof => prop_assert_eq!((shut, self.finished), (1, 0)),
            End::Close => prop_assert_eq!((shut, ended + self.finished), (0, 1)),
            End::EofThenClose => prop_assert!(shut <= 1 && ended + self.finished == 1),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn every_byte_is_sent_once_and_in_order(
        ops in prop::collection::vec(op(), 0..25),
        end in end(),
    ) {
        let mut writer = Writer::new();
        for op in &ops {
            writer.apply(op)?;
        }
        writer.end(end)?;
    }
}
