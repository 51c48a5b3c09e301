//! Names: lookups on threads of their own, answers as steps of the loop.
//!
//! Invariant: whoever waits for an answer is kept here, never on a thread; threads have nothing but
//! numbers and text. Nobody is waited for: not when a lookup is forgotten, nor when the loop ends.

mod literal;
mod pool;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use oxloop_os::resolve::{Answer, Query};

use crate::engine::Engine;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::slots::{Key, Slots};
use crate::step::Step;

pub use literal::needs_no_network;

use pool::Pool;

/// Answers a query; on any thread, in its own time.
pub type LookUp = Arc<dyn Fn(&Query) -> Answer + Send + Sync>;

pub(crate) struct Resolver<H: Host> {
    waiting: Slots<H::Conn>,
    pool: Option<Pool>,
    /// Out of the pool, not handed out yet.
    answers: VecDeque<(Key, Answer)>,
}

impl<H: Host> Default for Resolver<H> {
    fn default() -> Self {
        Resolver { waiting: Slots::default(), pool: None, answers: VecDeque::new() }
    }
}

impl<H: Host> Resolver<H> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &H::Conn> {
        self.waiting.iter().map(|(_, conn)| conn)
    }

    pub(crate) fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Takes in what the threads have found out.
    #[inline]
    pub(crate) fn collect(&mut self) {
        if let Some(pool) = &self.pool {
            pool.take_into(&mut self.answers);
        }
    }

    pub(crate) fn drain(&mut self) -> Vec<H::Conn> {
        self.pool = None;
        self.answers.clear();
        self.waiting.drain()
    }
}

impl<H: Host> Engine<H> {
    /// Looks `query` up on a thread; [`Step::Resolved`] brings the answer for `conn`. On an error
    /// (there are no threads, no memory) it comes back.
    pub fn look_up(&mut self, query: Query, conn: H::Conn) -> Result<Key, (io::Error, H::Conn)> {
        let Engine { kernel, resolver, inbox, .. } = self;
        let key = match resolver.waiting.insert(conn) {
            Ok(key) => key,
            Err(conn) => return Err((io::ErrorKind::OutOfMemory.into(), conn)),
        };
        if resolver.pool.as_ref().is_none_or(Pool::is_forked) {
            resolver.pool = Some(Pool::new(kernel.look_up(), inbox.ringer(kernel)));
        }
        let Some(pool) = &resolver.pool else { unreachable!("it was made above") };
        match pool.submit(key, query) {
            Ok(()) => Ok(key),
            Err(error) => match resolver.waiting.remove(key) {
                Some(conn) => Err((error, conn)),
                None => unreachable!("it was inserted above"),
            },
        }
    }

    /// Nobody waits for that answer any more; who did. A lookup that has not begun is not made.
    pub fn forget_lookup(&mut self, key: Key) -> Option<H::Conn> {
        let conn = self.resolver.waiting.remove(key)?;
        if let Some(pool) = &self.resolver.pool {
            pool.cancel(key);
        }
        Some(conn)
    }

    pub(crate) fn next_answer(&mut self) -> Option<Step<H>> {
        while let Some((key, answer)) = self.resolver.answers.pop_front() {
            if let Some(conn) = self.resolver.waiting.remove(key) {
                return Some(Step::Resolved(conn, answer));
            }
        }
        None
    }
}
