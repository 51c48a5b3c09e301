//! What wakes a task: from the loop's thread straight into the ready queue, from others through
//! the door. A task that wakes itself in its own step leaves a note, and is queued when the step is
//! over.
//!
//! Invariant: whoever wakes a task either finds `queued` set, and then the step that is to come
//! sees everything the waker's thread has written before, or sets it and queues the step. Other
//! threads and the step exchange the flag (one of the two reads what the other wrote); the loop's
//! thread needs no exchange, for it runs the steps itself.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::task::{Wake, Waker};

use oxloop_engine::Key;

use crate::host::Job;
use crate::hub::Hub;
use crate::remote::Remote;

/// As many references to a waker has its task.
const OURS: usize = 2;

pub(super) struct TaskWaker {
    /// The token of the task's key.
    task: AtomicU64,
    remote: Remote,
    /// A step is queued.
    queued: AtomicBool,
}

/// The step that is running in this thread.
struct Stepping {
    /// The waker of its task, to tell it from others; never followed.
    waker: Cell<*const ()>,
    /// The task has woken itself.
    again: Cell<bool>,
}

thread_local! {
    static STEPPING: Stepping =
        const { Stepping { waker: Cell::new(ptr::null()), again: Cell::new(false) } };
}

/// Whether `waker` is the one of the task whose step is running, and not of a future in between.
#[inline]
pub(super) fn is_of_step(waker: &Waker) -> bool {
    STEPPING.with(|stepping| stepping.waker.get() == waker.data())
}

impl TaskWaker {
    /// The first step is about to be queued.
    pub(super) fn new(key: Key, remote: Remote) -> TaskWaker {
        TaskWaker { task: AtomicU64::new(key.token()), remote, queued: AtomicBool::new(true) }
    }

    /// Becomes the waker of another task, for which its task must be [alone](TaskWaker::is_alone)
    /// with it.
    pub(super) fn rename(&self, key: Key) {
        self.task.store(key.token(), Ordering::Relaxed);
        self.queued.store(true, Ordering::Relaxed);
    }

    /// Whether nobody has it but its task.
    #[inline]
    pub(super) fn is_alone(self: &Arc<Self>) -> bool {
        let alone = Arc::strong_count(self) == OURS;
        if alone {
            // Who had one has dropped it, and this meets that.
            fence(Ordering::Acquire);
        }
        alone
    }

    #[inline]
    fn key(&self) -> Key {
        Key::from_token(self.task.load(Ordering::Relaxed))
    }

    /// Runs a step of the task, which must not panic. Whether the task has woken itself meanwhile:
    /// then it is to be queued.
    #[inline]
    pub(super) fn during<R>(self: &Arc<Self>, step: impl FnOnce() -> R) -> (R, bool) {
        self.begin_step();
        let own: *const TaskWaker = Arc::as_ptr(self);
        let outer = STEPPING.with(|it| (it.waker.replace(own.cast()), it.again.replace(false)));
        let result = step();
        let again = STEPPING.with(|it| {
            it.waker.set(outer.0);
            it.again.replace(outer.1)
        });
        (result, again)
    }

    /// A step begins: what is woken from here on needs another.
    #[inline]
    fn begin_step(self: &Arc<Self>) {
        if self.is_alone() {
            // Nobody to exchange the flag with.
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
        let own: *const TaskWaker = Arc::as_ptr(self);
        STEPPING.with(|it| {
            if it.waker.get() != own.cast() {
                self.wake_from_outside();
            } else if self.note() {
                it.again.set(true);
            }
        });
    }
}

impl TaskWaker {
    /// On the loop's thread: whether the step is yet to be queued.
    #[inline]
    fn note(&self) -> bool {
        let fresh = !self.queued.load(Ordering::Relaxed);
        if fresh {
            self.queued.store(true, Ordering::Relaxed);
        }
        fresh
    }

    fn wake_from_outside(&self) {
        Hub::with_running(|running| match running {
            Some(hub) if hub.remote.is(&self.remote) => {
                if self.note() {
                    hub.ready(self.key());
                }
            }
            _ => {
                if !self.queued.swap(true, Ordering::AcqRel) {
                    self.remote.post(Job::Task(self.key()));
                }
            }
        });
    }
}
