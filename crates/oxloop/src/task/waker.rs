//! What wakes a task: from the loop's thread straight into the ready queue, from others through
//! the door.
//!
//! Invariant: whoever wakes a task either finds `queued` set, and then the step that is to come
//! sees everything the waker's thread has written before, or sets it and queues the step. Other
//! threads and the step exchange the flag (one of the two reads what the other wrote); the loop's
//! thread needs no exchange, for it runs the steps itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Wake;

use oxloop_engine::Key;

use crate::host::Job;
use crate::hub::Hub;
use crate::remote::Remote;

/// As many references to a waker has its task.
const OURS: usize = 2;

pub(super) struct TaskWaker {
    pub(super) key: Key,
    pub(super) remote: Remote,
    /// A step is queued.
    pub(super) queued: AtomicBool,
}

impl TaskWaker {
    /// A step begins: what is woken from here on needs another.
    #[inline]
    pub(super) fn begin_step(self: &Arc<Self>) {
        if Arc::strong_count(self) == OURS {
            // Nobody else has a waker to exchange the flag with. Who had one has dropped it, and the
            // fence meets that.
            fence(Ordering::Acquire);
            self.queued.store(false, Ordering::Relaxed);
        } else {
            self.queued.swap(false, Ordering::AcqRel);
        }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        Hub::with_running(|running| match running {
            Some(hub) if hub.remote.is(&self.remote) => {
                if !self.queued.load(Ordering::Relaxed) {
                    self.queued.store(true, Ordering::Relaxed);
                    hub.ready(Job::Task(self.key));
                }
            }
            _ => {
                if !self.queued.swap(true, Ordering::AcqRel) {
                    self.remote.post(Job::Task(self.key));
                }
            }
        });
    }
}
