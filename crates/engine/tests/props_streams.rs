//! Whatever a writer does and a kernel takes: every byte is sent once and in order, pause and
//! resume alternate, and nobody waits for ever.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use std::io::ErrorKind;

use oxloop_engine::testing::Bench;
use oxloop_engine::{Closing, Fd, Key, Limits, Wrote};
use proptest::prelude::*;

const FD: i32 = 3;

#[derive(Clone, Debug)]
enum Op {
    Write(usize, bool),
    SetLimits(usize, usize),
    AwaitEmpty,
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
        1 => Just(Op::AwaitEmpty),
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
    awaiting: bool,
    finished: usize,
}

impl Writer {
    fn new() -> Writer {
        let mut bench = Bench::default();
        let key = bench.engine.open_stream(Fd::new(FD).unwrap(), "s").unwrap();
        bench.engine.start_reading(key).unwrap();
        let written = Vec::new();
        Writer { bench, key, written, paused: false, awaiting: false, finished: 0 }
    }

    fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match op {
            Op::Write(len, held) => self.write(*len, *held)?,
            Op::SetLimits(low, high) => {
                let wrote =
                    self.bench.engine.set_limits(self.key, Limits { low: *low, high: *high });
                self.heed(&wrote)?;
            }
            Op::AwaitEmpty => {
                let empty = self.bench.engine.await_empty(self.key).unwrap();
                prop_assert_eq!(empty, self.bench.engine.buffered(self.key) == 0);
                self.awaiting = !empty;
            }
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
        let first = self.written.len();
        let period: Vec<u8> = (0..=250).collect();
        while self.written.len() < first + len {
            let missing = first + len - self.written.len();
            let next = &period[self.written.len() % period.len()..];
            self.written.extend_from_slice(&next[..missing.min(next.len())]);
        }
        let data = &self.written[first..];
        let wrote = self.bench.engine.write(self.key, data, || held.then(|| data.to_vec()));
        self.heed(&wrote)?;
        let waiting = self.bench.engine.buffered(self.key);
        let over = waiting > self.bench.engine.limits(self.key).high;
        prop_assert!(self.paused || !over, "{waiting} bytes wait and the writer was not told");
        Ok(())
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
        let Writer { bench, key, paused, awaiting, finished, .. } = self;
        let log = bench.turn(|engine, step| {
            if step == "s flushed, resume true" {
                assert!(std::mem::take(paused), "told to go on without a pause");
            }
            let settled = engine.settle(*key);
            assert!(!settled.emptied || std::mem::take(awaiting), "told to nobody");
            *finished += usize::from(settled.finished);
        });
        prop_assert!(log.iter().all(|step| step.starts_with("s flushed")), "{log:?}");
        prop_assert!(log.len() <= 2, "{log:?}");
        let waiting = self.bench.engine.buffered(self.key);
        let blocked = self.bench.engine.is_blocked(self.key);
        prop_assert_eq!(waiting > 0, blocked, "unsent bytes wait for the kernel, others do not");
        prop_assert!(waiting > 0 || !self.paused, "paused for ever");
        prop_assert!(waiting > 0 || !self.awaiting, "waits for ever");
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let (engine, kernel) = (&self.bench.engine, &self.bench.kernel);
        let sent = kernel.sent(FD);
        prop_assert!(self.written.starts_with(&sent), "not what was written");
        prop_assert_eq!(sent.len() + engine.buffered(self.key), self.written.len());
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
        while turns == 0 || self.bench.engine.buffered(self.key) > 0 {
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
