//! [`Timers`] do what a sorted list would do.

#![allow(dead_code, reason = "property tests and fuzzers each use a part of it")]

use arbitrary::{Result, Unstructured};
use oxloop_engine::{Key, Moment, Timers};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Push(f64),
    /// Cancels the n-th key that was ever given out.
    Cancel(usize),
    /// Takes one due timer out of the order.
    PopDue(f64),
    /// Takes every due timer out of the order and its job, as a turn does.
    RunDue(f64),
    Drain,
}

/// The list: what waits, in order, and what has left the order but was not taken.
#[derive(Default)]
struct Model {
    waiting: Vec<(f64, Key, usize)>,
    due: Vec<(Key, usize)>,
}

impl Model {
    fn push(&mut self, deadline: f64, key: Key, job: usize) {
        // Behind all that are as early: partition_point keeps equal ones in front.
        let at = self.waiting.partition_point(|&(other, ..)| other <= deadline);
        self.waiting.insert(at, (deadline, key, job));
    }

    fn cancel(&mut self, key: Key) -> Option<usize> {
        if let Some(at) = self.waiting.iter().position(|&(_, other, _)| other == key) {
            return Some(self.waiting.remove(at).2);
        }
        let at = self.due.iter().position(|&(other, _)| other == key)?;
        Some(self.due.remove(at).1)
    }

    fn pop_due(&mut self, now: f64) -> Option<Key> {
        if self.waiting.first()?.0 > now {
            return None;
        }
        let (_, key, job) = self.waiting.remove(0);
        self.due.push((key, job));
        Some(key)
    }

    fn jobs(&self) -> Vec<usize> {
        let waiting = self.waiting.iter().map(|&(.., job)| job);
        let mut jobs: Vec<_> = waiting.chain(self.due.iter().map(|&(_, job)| job)).collect();
        jobs.sort_unstable();
        jobs
    }
}

fn moment(seconds: f64) -> Moment {
    Moment::from_seconds(seconds).unwrap()
}

/// Timers, and the list that they should be.
#[derive(Default)]
pub(crate) struct Both {
    pub(crate) timers: Timers<usize>,
    model: Model,
    keys: Vec<Key>,
}

impl Both {
    pub(crate) fn apply(&mut self, op: &Op) {
        match *op {
            Op::Push(deadline) => {
                let job = self.keys.len();
                let key = self.timers.push(moment(deadline), job).unwrap();
                self.model.push(deadline, key, job);
                self.keys.push(key);
            }
            Op::Cancel(number) if !self.keys.is_empty() => {
                let key = self.keys[number % self.keys.len()];
                assert_eq!(self.timers.cancel(key), self.model.cancel(key));
            }
            Op::Cancel(_) => {}
            Op::PopDue(now) => {
                assert_eq!(self.timers.pop_due(moment(now)), self.model.pop_due(now));
            }
            Op::RunDue(now) => self.run_due(now),
            Op::Drain => {
                let mut jobs = self.timers.drain();
                jobs.sort_unstable();
                assert_eq!(jobs, std::mem::take(&mut self.model).jobs());
            }
        }
        self.check();
    }

    pub(crate) fn run_due(&mut self, now: f64) {
        loop {
            let key = self.timers.pop_due(moment(now));
            assert_eq!(key, self.model.pop_due(now));
            let Some(key) = key else { return };
            let job = self.timers.cancel(key);
            assert!(job.is_some());
            assert_eq!(job, self.model.cancel(key));
        }
    }

    pub(crate) fn check(&mut self) {
        let next = self.model.waiting.first().map(|&(deadline, ..)| moment(deadline));
        assert_eq!(self.timers.next_deadline(), next);
        // Asking for the next deadline has cleared what was cancelled in front of it.
        assert_eq!(self.timers.is_empty(), next.is_none());
        assert_eq!(self.timers.len(), self.model.waiting.len() + self.model.due.len());
    }

    pub(crate) fn check_jobs(&self) {
        let mut jobs: Vec<_> = self.timers.iter().copied().collect();
        jobs.sort_unstable();
        assert_eq!(jobs, self.model.jobs());
    }
}

/// Operations out of a fuzzer's bytes.
pub(crate) fn play(data: &[u8]) {
    let (mut u, mut both) = (Unstructured::new(data), Both::default());
    while let (false, Ok(op)) = (u.is_empty(), op(&mut u)) {
        both.apply(&op);
    }
    both.check_jobs();
    both.run_due(f64::INFINITY);
    both.check();
}

fn op(u: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match u.int_in_range(0..=15)? {
        0..=6 => Op::Push(deadline(u)?),
        7..=11 => Op::Cancel(u.arbitrary::<u16>()?.into()),
        12 | 13 => Op::PopDue(deadline(u)?),
        14 => Op::RunDue(deadline(u)?),
        _ => Op::Drain,
    })
}

/// Few different ones, so that many are equal.
fn deadline(u: &mut Unstructured<'_>) -> Result<f64> {
    Ok(match u.arbitrary::<i8>()? {
        i8::MIN => f64::NEG_INFINITY,
        i8::MAX => f64::INFINITY,
        126 => -0.0,
        number => f64::from(number) / 4.0,
    })
}
