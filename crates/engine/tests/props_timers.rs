//! [`Timers`] do what a sorted list would do.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use oxloop_engine::{Key, Moment, Timers};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Push(f64),
    /// Cancels the n-th key that was ever given out.
    Cancel(usize),
    /// Takes one due timer out of the order.
    PopDue(f64),
    /// Takes every due timer out of the order and its job, as a turn does.
    RunDue(f64),
    Drain,
}

/// Few different ones, so that many are equal.
fn deadline() -> impl Strategy<Value = f64> {
    prop_oneof![
        20 => (-5..40_i32).prop_map(f64::from),
        5 => -5.0..40.0,
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(-0.0),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        40 => deadline().prop_map(Op::Push),
        35 => any::<usize>().prop_map(Op::Cancel),
        8 => deadline().prop_map(Op::PopDue),
        3 => (-5.0..5.0).prop_map(Op::RunDue),
        1 => deadline().prop_map(Op::RunDue),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let drain = prop_oneof![1 => Just(Op::Drain), 300 => op()];
    prop::collection::vec(drain, 0..120)
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

#[derive(Default)]
struct Both {
    timers: Timers<usize>,
    model: Model,
    keys: Vec<Key>,
}

impl Both {
    fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Push(deadline) => {
                let job = self.keys.len();
                let key = self.timers.push(moment(deadline), job).unwrap();
                self.model.push(deadline, key, job);
                self.keys.push(key);
            }
            Op::Cancel(number) if !self.keys.is_empty() => {
                let key = self.keys[number % self.keys.len()];
                prop_assert_eq!(self.timers.cancel(key), self.model.cancel(key));
            }
            Op::Cancel(_) => {}
            Op::PopDue(now) => {
                prop_assert_eq!(self.timers.pop_due(moment(now)), self.model.pop_due(now));
            }
            Op::RunDue(now) => self.run_due(now)?,
            Op::Drain => {
                let mut jobs = self.timers.drain();
                jobs.sort_unstable();
                prop_assert_eq!(jobs, std::mem::take(&mut self.model).jobs());
            }
        }
        self.check()
    }

    fn run_due(&mut self, now: f64) -> Result<(), TestCaseError> {
        loop {
            let key = self.timers.pop_due(moment(now));
            prop_assert_eq!(key, self.model.pop_due(now));
            let Some(key) = key else { return Ok(()) };
            let job = self.timers.cancel(key);
            prop_assert!(job.is_some());
            prop_assert_eq!(job, self.model.cancel(key));
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let next = self.model.waiting.first().map(|&(deadline, ..)| moment(deadline));
        prop_assert_eq!(self.timers.next_deadline(), next);
        // Asking for the next deadline has cleared what was cancelled in front of it.
        prop_assert_eq!(self.timers.is_empty(), next.is_none());
        prop_assert_eq!(self.timers.len(), self.model.waiting.len() + self.model.due.len());
        Ok(())
    }

    fn check_jobs(&self) -> Result<(), TestCaseError> {
        let mut jobs: Vec<_> = self.timers.iter().copied().collect();
        jobs.sort_unstable();
        prop_assert_eq!(jobs, self.model.jobs());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn timers_are_a_sorted_list(ops in ops()) {
        let mut both = Both::default();
        for op in &ops {
            both.apply(op)?;
        }
        both.check_jobs()?;
        both.run_due(f64::INFINITY)?;
        both.check()?;
    }

    /// Enough of them that the heap is rebuilt, in any order of cancelling.
    #[test]
    fn mass_cancelling_keeps_the_order_of_the_rest(
        deadlines in prop::collection::vec(deadline(), 70..150),
        order in any::<prop::sample::Index>().prop_map(|index| index.index(usize::MAX)),
        kept in 0..40_usize,
    ) {
        let mut both = Both::default();
        for &deadline in &deadlines {
            both.apply(&Op::Push(deadline))?;
        }
        // Steps through all keys, for a prime is coprime to every length below it.
        let count = deadlines.len();
        for step in 0..count - kept {
            both.apply(&Op::Cancel((order % count) + step * 307))?;
        }
        prop_assert_eq!(both.timers.len(), kept);
        both.check_jobs()?;
        both.run_due(f64::INFINITY)?;
    }
}
