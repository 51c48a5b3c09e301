//! Timers: a binary heap with lazy cancellation.
//!
//! The heap holds deadlines, the slots hold jobs. Cancelling takes the job out at once and leaves
//! the deadline behind; when more than half of the heap is such leftovers, it is rebuilt. A timer
//! that is cancelled right after it was made (a timeout that did not happen) is still the last of
//! the heap more often than not, and is simply popped.

use crate::moment::Moment;
use crate::slots::{Key, Slots};

/// Jobs by deadline; equal deadlines in the order in which they were pushed.
#[derive(Debug)]
pub struct Timers<J> {
    heap: Vec<Node>,
    jobs: Slots<J>,
    pushed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    deadline: Moment,
    order: u64,
    key: Key,
}

impl Node {
    #[inline]
    fn before(&self, other: &Node) -> bool {
        (self.deadline, self.order) < (other.deadline, other.order)
    }
}

/// Below this many deadlines, leftovers are not worth a rebuild.
const REBUILD_FROM: usize = 64;

impl<J> Default for Timers<J> {
    fn default() -> Self {
        Timers { heap: Vec::new(), jobs: Slots::default(), pushed: 0 }
    }
}

impl<J> Timers<J> {
    /// Gives the job back if there is no memory for it.
    pub fn push(&mut self, deadline: Moment, job: J) -> Result<Key, J> {
        if self.heap.len() == self.heap.capacity() && self.heap.try_reserve(1).is_err() {
            return Err(job);
        }
        let key = self.jobs.insert(job)?;
        self.heap.push(Node { deadline, order: self.pushed, key });
        self.pushed += 1;
        self.sift_up(self.heap.len() - 1);
        Ok(key)
    }

    /// Takes the job of a timer that has not run; `None` if it has, or was cancelled.
    pub fn cancel(&mut self, key: Key) -> Option<J> {
        let job = self.jobs.remove(key)?;
        if self.heap.last().is_some_and(|last| last.key == key) {
            self.heap.pop();
        } else if self.heap.len() >= REBUILD_FROM && self.heap.len() / 2 > self.jobs.len() {
            self.rebuild();
        }
        Some(job)
    }

    /// The earliest deadline.
    pub fn next_deadline(&mut self) -> Option<Moment> {
        while let Some(first) = self.heap.first() {
            if self.jobs.get(first.key).is_some() {
                return Some(first.deadline);
            }
            self.pop_node();
        }
        None
    }

    /// The earliest deadline, which may be one that was cancelled.
    pub fn first_deadline(&self) -> Option<Moment> {
        self.heap.first().map(|first| first.deadline)
    }

    /// The next timer that is due at `now`: it leaves the order, its job stays until
    /// [`Timers::cancel`] takes it, to run it or not.
    pub fn pop_due(&mut self, now: Moment) -> Option<Key> {
        if self.next_deadline()? > now {
            return None;
        }
        self.pop_node().map(|node| node.key)
    }

    pub(crate) fn job(&self, key: Key) -> Option<&J> {
        self.jobs.get(key)
    }

    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// How many jobs are held.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &J> {
        self.jobs.iter().map(|(_, job)| job)
    }

    /// Takes every job out.
    pub fn drain(&mut self) -> Vec<J> {
        self.heap.clear();
        self.jobs.drain()
    }

    fn pop_node(&mut self) -> Option<Node> {
        if self.heap.is_empty() {
            return None;
        }
        let first = self.heap.swap_remove(0);
        self.sift_down(0);
        Some(first)
    }

    fn rebuild(&mut self) {
        let jobs = &self.jobs;
        self.heap.retain(|node| jobs.get(node.key).is_some());
        for at in (0..self.heap.len() / 2).rev() {
            self.sift_down(at);
        }
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.heap[at].before(&self.heap[parent]) {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                break;
            }
            let right = left + 1;
            let child = if right < self.heap.len() && self.heap[right].before(&self.heap[left]) {
                right
            } else {
                left
            };
            if !self.heap[child].before(&self.heap[at]) {
                break;
            }
            self.heap.swap(at, child);
            at = child;
        }
    }
}
