//! Jobs that are ready to run, first in, first out.

use std::collections::VecDeque;

/// The ready queue. Only the owner thread touches it; others post to the inbox.
#[derive(Debug)]
pub struct Ready<J> {
    jobs: VecDeque<J>,
}

impl<J> Default for Ready<J> {
    fn default() -> Self {
        Ready { jobs: VecDeque::new() }
    }
}

impl<J> Ready<J> {
    /// Gives the job back if there is no memory for it.
    #[inline(always)]
    pub fn push(&mut self, job: J) -> Result<(), J> {
        if self.jobs.len() == self.jobs.capacity() && !self.grow() {
            return Err(job);
        }
        self.jobs.push_back(job);
        Ok(())
    }

    /// As [`Ready::push`], of a job that is made in its place: one of several words that lies
    /// elsewhere first is read back before the processor has it together. False without memory.
    #[inline(always)]
    pub fn push_made(&mut self, make: impl FnOnce() -> J) -> bool {
        if self.jobs.len() == self.jobs.capacity() && !self.grow() {
            return false;
        }
        self.jobs.extend(std::iter::once_with(make));
        true
    }

    #[cold]
    fn grow(&mut self) -> bool {
        self.jobs.try_reserve(1).is_ok()
    }

    #[inline]
    pub fn pop(&mut self) -> Option<J> {
        self.jobs.pop_front()
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &J> {
        self.jobs.iter()
    }

    /// Moves the first `most` of `jobs` to the end of the queue, in their order. Without the memory
    /// for it, none: it succeeds at the latest when the queue has run empty.
    pub fn take_from(&mut self, jobs: &mut VecDeque<J>, most: usize) {
        if self.jobs.is_empty() && jobs.len() <= most {
            std::mem::swap(&mut self.jobs, jobs);
            return;
        }
        let count = jobs.len().min(most);
        if self.jobs.try_reserve(count).is_ok() {
            self.jobs.extend(jobs.drain(..count));
        } else if self.jobs.is_empty() {
            std::mem::swap(&mut self.jobs, jobs);
        }
    }
}
