//! [`Slots`] are a map whose keys are never used again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::{HashMap, HashSet};

use oxloop_engine::{Key, Slots};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Insert,
    /// These name the n-th key that was ever given out.
    Remove(usize),
    Change(usize),
    Get(usize),
    Drain,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        30 => Just(Op::Insert),
        25 => any::<usize>().prop_map(Op::Remove),
        10 => any::<usize>().prop_map(Op::Change),
        10 => any::<usize>().prop_map(Op::Get),
        1 => Just(Op::Drain),
    ];
    prop::collection::vec(op, 0..100)
}

#[derive(Default)]
struct Both {
    slots: Slots<usize>,
    model: HashMap<Key, usize>,
    keys: Vec<Key>,
}

impl Both {
    fn apply(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let key = match *op {
            Op::Remove(number) | Op::Change(number) | Op::Get(number) if !self.keys.is_empty() => {
                Some(self.keys[number % self.keys.len()])
            }
            _ => None,
        };
        match (op, key) {
            (Op::Insert, _) => {
                let value = self.keys.len();
                let key = self.slots.insert(value).unwrap();
                self.model.insert(key, value);
                self.keys.push(key);
            }
            (Op::Remove(_), Some(key)) => {
                prop_assert_eq!(self.slots.remove(key), self.model.remove(&key));
            }
            (Op::Change(_), Some(key)) => {
                let (ours, its) = (self.slots.get_mut(key), self.model.get_mut(&key));
                prop_assert_eq!(&ours, &its);
                ours.into_iter().chain(its).for_each(|value| *value += 1000);
            }
            (Op::Get(_), Some(key)) => {
                prop_assert_eq!(self.slots.get(key), self.model.get(&key));
            }
            (Op::Drain, _) => self.drain()?,
            _ => {}
        }
        prop_assert_eq!(self.slots.len(), self.model.len());
        prop_assert_eq!(self.slots.is_empty(), self.model.is_empty());
        Ok(())
    }

    fn drain(&mut self) -> Result<(), TestCaseError> {
        let mut ours = self.slots.drain();
        let mut its: Vec<_> = self.model.drain().map(|(_, value)| value).collect();
        ours.sort_unstable();
        its.sort_unstable();
        prop_assert_eq!(ours, its);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn slots_are_a_map(ops in ops()) {
        let mut both = Both::default();
        for op in &ops {
            both.apply(op)?;
        }
        let seen: HashMap<_, _> = both.slots.iter().map(|(key, &value)| (key, value)).collect();
        prop_assert_eq!(seen, both.model);
    }

    #[test]
    fn no_key_and_no_token_is_given_out_twice(ops in ops()) {
        let mut both = Both::default();
        for op in &ops {
            both.apply(op)?;
        }
        let tokens: HashSet<_> = both.keys.iter().map(|key| key.token()).collect();
        prop_assert_eq!(tokens.len(), both.keys.len());
        prop_assert!(!tokens.contains(&u64::MAX), "the poller's own token");
        for &key in &both.keys {
            prop_assert_eq!(Key::from_token(key.token()), key);
        }
    }

    #[test]
    fn a_token_and_a_key_are_the_same_thing(token: u64) {
        prop_assert_eq!(Key::from_token(token).token(), token);
    }
}
