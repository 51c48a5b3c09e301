//! The one door for other threads: a queue and a wake-up.
//!
//! Invariant: a job that was posted is either taken by the owner before it sleeps, or the sleeper
//! is woken. The owner says that it goes to sleep, then looks into the queue once more; the poster
//! puts its job into the queue, then asks whether the owner sleeps. Whatever the interleaving, one
//! of them sees the other. Only the first poster of a sleep pays for the wake-up.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernel::Kernel;
use crate::ready::Ready;

/// What the owner thread holds.
#[derive(Debug)]
pub(crate) struct Inbox<J> {
    shared: Arc<Shared<J>>,
}

#[derive(Debug)]
struct Shared<J> {
    posted: Mutex<VecDeque<J>>,
    mail: AtomicBool,
    asleep: AtomicBool,
}

impl<J> Inbox<J> {
    pub(crate) fn new() -> Inbox<J> {
        let shared = Shared {
            posted: Mutex::new(VecDeque::new()),
            mail: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
        };
        Inbox { shared: Arc::new(shared) }
    }

    pub(crate) fn door<K: Kernel>(&self, kernel: &Arc<K>) -> Door<J, K> {
        Door { shared: self.shared.clone(), kernel: kernel.clone() }
    }

    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.shared.mail.load(Ordering::Relaxed)
    }

    /// Moves what was posted so far to the end of the ready queue.
    #[inline]
    pub(crate) fn take_into(&self, ready: &mut Ready<J>) {
        if self.shared.mail.load(Ordering::Acquire) {
            let mut posted = self.shared.lock();
            self.shared.mail.store(false, Ordering::Release);
            ready.append(&mut posted);
        }
    }

    /// Says that the owner is about to wait, for which the kernel is prepared. False if it must
    /// not: something was posted.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.shared.asleep.store(true, Ordering::SeqCst);
        if self.shared.mail.load(Ordering::SeqCst) {
            self.wake_up();
            return false;
        }
        true
    }

    pub(crate) fn wake_up(&self) {
        self.shared.asleep.store(false, Ordering::SeqCst);
    }

    pub(crate) fn visit(&self, each: &mut dyn FnMut(&J)) {
        self.shared.lock().iter().for_each(each);
    }

    pub(crate) fn drain(&self) -> VecDeque<J> {
        std::mem::take(&mut *self.shared.lock())
    }
}

impl<J> Shared<J> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<J>> {
        // No code that can panic runs under this lock; poison would be of no meaning.
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Posts jobs to a loop from any thread. Outlives the loop: jobs posted after its end stay here.
pub struct Door<J, K> {
    shared: Arc<Shared<J>>,
    kernel: Arc<K>,
}

impl<J, K: Kernel> Door<J, K> {
    /// Puts the job into the queue and wakes the loop if it sleeps; gives the job back if there is
    /// no memory. Jobs of one thread keep their order.
    pub fn post(&self, job: J) -> Result<(), J> {
        {
            let mut posted = self.shared.lock();
            if posted.try_reserve(1).is_err() {
                return Err(job);
            }
            posted.push_back(job);
            self.shared.mail.store(true, Ordering::SeqCst);
        }
        self.wake();
        Ok(())
    }

    /// Ends the loop's wait, if it is in one.
    pub fn wake(&self) {
        if self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.kernel.wake();
        }
    }
}

impl<J, K> fmt::Debug for Door<J, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("asleep", &self.shared.asleep).finish_non_exhaustive()
    }
}
