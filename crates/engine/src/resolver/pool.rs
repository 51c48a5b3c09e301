//! The threads that wait for the network.
//!
//! They are made when there is work and nobody idle, and end when there was none for a while. They
//! hold nothing of the host's, and the kernel only while they wake it, under the lock: an engine that
//! ends does not wait for their lookups, and leaves no descriptor open behind it. A forked child has none of them, and a lock may be held by
//! one that is not there: it takes a new pool and never looks into the old one.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oxloop_os::resolve::{self, Answer, Query};

use crate::resolver::LookUp;
use crate::slots::Key;

/// As many lookups go on at once at most: they wait for the network, not for a processor.
const THREADS: usize = 8;
/// A thread without work ends after this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tells the owner of the loop that there is an answer. From any thread.
pub(crate) type Ring = Box<dyn Fn() + Send + Sync>;

pub(super) struct Pool {
    shared: Arc<Shared>,
    process: u32,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    /// There are answers: who asks often need not take the lock.
    answered: AtomicBool,
    look_up: LookUp,
    ring: Ring,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Key, Query)>,
    answers: VecDeque<(Key, Answer)>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Pool {
    pub(super) fn new(look_up: LookUp, ring: Ring) -> Pool {
        let (state, work) = (Mutex::default(), Condvar::new());
        let shared = Shared { state, work, answered: AtomicBool::new(false), look_up, ring };
        Pool { shared: Arc::new(shared), process: std::process::id() }
    }

    /// Whether this is another process than that of the threads.
    pub(super) fn is_forked(&self) -> bool {
        self.process != std::process::id()
    }

    /// Has a thread look `query` up. Fails if there is none and none can be made.
    pub(super) fn submit(&self, key: Key, query: Query) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.queue.try_reserve(1).map_err(|_| io::ErrorKind::OutOfMemory)?;
        state.queue.push_back((key, query));
        if state.queue.len() > state.idle && state.threads < THREADS {
            match self.spawn() {
                Ok(()) => state.threads += 1,
                // The others get to it.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    state.queue.pop_back();
                    return Err(error);
                }
            }
        }
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    fn spawn(&self) -> io::Result<()> {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name("oxloop-resolver".to_owned());
        thread.spawn(move || shared.work()).map(drop)
    }

    /// Does not begin the lookup, if it has not begun.
    pub(super) fn cancel(&self, key: Key) {
        if !self.is_forked() {
            self.shared.lock().queue.retain(|(queued, _)| *queued != key);
        }
    }

    #[inline]
    pub(super) fn take_into(&self, answers: &mut VecDeque<(Key, Answer)>) {
        if self.shared.answered.load(Ordering::Acquire) && !self.is_forked() {
            let mut state = self.shared.lock();
            self.shared.answered.store(false, Ordering::Release);
            answers.append(&mut state.answers);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.is_forked() {
            let mut state = self.shared.lock();
            state.closed = true;
            state.queue.clear();
            drop(state);
            self.shared.work.notify_all();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock; poison would be of no meaning.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread.
    fn work(&self) {
        resolve::block_signals();
        let mut state = self.lock();
        while !state.closed {
            if let Some((key, query)) = state.queue.pop_front() {
                drop(state);
                let answer = (self.look_up)(&query);
                state = self.lock();
                if state.closed {
                    break;
                }
                state.answers.push_back((key, answer));
                self.answered.store(true, Ordering::Release);
                // Under the lock: whoever has closed the pool knows that nobody uses the kernel.
                (self.ring)();
                continue;
            }
            state.idle += 1;
            let waited = self.work.wait_timeout(state, PATIENCE);
            let (guard, patience) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.idle -= 1;
            if patience.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}
