//! The one door for other threads: a queue and a wake-up.
//!
//! Invariant: a job that was posted is either taken by the owner before it sleeps, or the sleeper
//! is woken. The owner says that it goes to sleep, then looks into the queue once more; the poster
//! puts its job into the queue, then asks whether the owner sleeps. Whatever the interleaving, one
//! of them sees the other. Only the first poster of a sleep pays for the wake-up. Whether the owner
//! sleeps is only ever swapped, never stored: so these changes are one chain, and each sees what was
//! done before those in front of it.
//!
//! A flood is taken in by and by: a turn takes at most [`FLOOD`] jobs, so that timers and events, and
//! what they schedule, come in between.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::kernel::Kernel;
use crate::ready::Ready;
use crate::sync::{AtomicBool, Mutex, MutexGuard};

/// The most jobs that are taken in at a time. A model has no time for as many.
const FLOOD: usize = if cfg!(loom) { 2 } else { 1024 };

/// What the owner thread holds.
#[derive(Debug)]
pub(crate) struct Inbox<J> {
    shared: Arc<Shared<J>>,
    bell: Arc<Bell>,
    /// Taken out of the queue, and too much for one turn.
    backlog: VecDeque<J>,
}

#[derive(Debug)]
struct Shared<J> {
    posted: Mutex<VecDeque<J>>,
    bell: Arc<Bell>,
}

/// What the owner and those who call it see of each other. Holds no job, so that a thread which
/// must not drop one may have it.
#[derive(Debug, Default)]
struct Bell {
    mail: AtomicBool,
    asleep: AtomicBool,
}

impl Bell {
    /// Something was posted: ends the owner's wait, if it is in one.
    fn ring<K: Kernel>(&self, kernel: &K) {
        self.mail.store(true, Ordering::SeqCst);
        self.wake(kernel);
    }

    fn wake<K: Kernel>(&self, kernel: &K) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            kernel.wake();
        }
    }
}

impl<J> Inbox<J> {
    pub(crate) fn new() -> Inbox<J> {
        let bell = Arc::new(Bell::default());
        let shared = Shared { posted: Mutex::new(VecDeque::new()), bell: bell.clone() };
        Inbox { shared: Arc::new(shared), bell, backlog: VecDeque::new() }
    }

    pub(crate) fn door<K: Kernel>(&self, kernel: &Arc<K>) -> Door<J, K> {
        Door { shared: self.shared.clone(), kernel: kernel.clone() }
    }

    /// For threads with mail of another kind: the next [`Inbox::take_into`] says that there is some.
    /// Does not keep the kernel.
    pub(crate) fn ringer<K: Kernel>(&self, kernel: &Arc<K>) -> Box<dyn Fn() + Send + Sync> {
        let (bell, kernel) = (self.bell.clone(), Arc::downgrade(kernel));
        Box::new(move || {
            if let Some(kernel) = kernel.upgrade() {
                bell.ring(&*kernel);
            }
        })
    }

    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.bell.mail.load(Ordering::Relaxed) || !self.backlog.is_empty()
    }

    /// Moves what was posted so far to the end of the ready queue, or of much the first part. True
    /// if there was any mail.
    #[inline]
    pub(crate) fn take_into(&mut self, ready: &mut Ready<J>) -> bool {
        let mail = self.bell.mail.load(Ordering::Acquire);
        if mail || !self.backlog.is_empty() {
            self.take_some(ready);
        }
        mail
    }

    fn take_some(&mut self, ready: &mut Ready<J>) {
        if self.backlog.is_empty() {
            let mut posted = self.shared.lock();
            // Before looking at what rings without this lock: it rings again for what comes later.
            self.bell.mail.swap(false, Ordering::SeqCst);
            std::mem::swap(&mut self.backlog, &mut posted);
        }
        ready.take_from(&mut self.backlog, FLOOD);
    }

    /// The first job of what was taken out of the queue and not given to the ready queue.
    pub(crate) fn next_of_backlog(&mut self) -> Option<J> {
        self.backlog.pop_front()
    }

    pub(crate) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Says that the owner is about to wait, for which the kernel is prepared. False if it must
    /// not: something was posted.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.bell.asleep.swap(true, Ordering::SeqCst);
        if self.bell.mail.load(Ordering::SeqCst) {
            self.wake_up();
            return false;
        }
        true
    }

    pub(crate) fn wake_up(&self) {
        self.bell.asleep.swap(false, Ordering::SeqCst);
    }

    pub(crate) fn visit(&self, each: &mut dyn FnMut(&J)) {
        self.backlog.iter().for_each(&mut *each);
        self.shared.lock().iter().for_each(each);
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = J> {
        let posted = std::mem::take(&mut *self.shared.lock());
        std::mem::take(&mut self.backlog).into_iter().chain(posted)
    }
}

impl<J> Shared<J> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<J>> {
        // No code that can panic runs under this lock; poison would be of no meaning.
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether as many jobs wait as the loop takes in at a time, or a multiple of it.
#[derive(Debug)]
pub struct Crowd(pub bool);

/// Posts jobs to a loop from any thread. Outlives the loop: jobs posted after its end stay here.
pub struct Door<J, K> {
    shared: Arc<Shared<J>>,
    kernel: Arc<K>,
}

impl<J, K: Kernel> Door<J, K> {
    /// Puts the job into the queue and wakes the loop if it sleeps; gives the job back if there is
    /// no memory. Jobs of one thread keep their order. Says whether so many wait already that their
    /// poster had better let the owner run: not of each job, for that costs more than the job.
    pub fn post(&self, job: J) -> Result<Crowd, J> {
        let waiting = {
            let mut posted = self.shared.lock();
            if posted.try_reserve(1).is_err() {
                return Err(job);
            }
            posted.push_back(job);
            self.shared.bell.mail.store(true, Ordering::SeqCst);
            posted.len()
        };
        self.wake();
        Ok(Crowd(waiting.is_multiple_of(FLOOD)))
    }

    /// Ends the loop's wait, if it is in one.
    pub fn wake(&self) {
        self.shared.bell.wake(&*self.kernel);
    }
}

impl<J, K> Clone for Door<J, K> {
    fn clone(&self) -> Self {
        Door { shared: self.shared.clone(), kernel: self.kernel.clone() }
    }
}

impl<J, K> fmt::Debug for Door<J, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("bell", &self.shared.bell).finish_non_exhaustive()
    }
}
