//! Values of one thread in places that others may reach.

use std::mem::ManuallyDrop;
use std::thread::{self, ThreadId};

thread_local! {
    static ME: ThreadId = thread::current().id();
}

fn me() -> ThreadId {
    // A thread that is ending has no such place any more.
    ME.try_with(|me| *me).unwrap_or_else(|_| thread::current().id())
}

/// A value that only the thread that made it touches. Dropped by another, it stays for ever: its
/// end may be no one else's business.
#[derive(Debug)]
pub(crate) struct Home<T> {
    value: ManuallyDrop<T>,
    thread: ThreadId,
}

// SAFETY: `get`, `into_inner` and `drop` touch the value in its own thread only.
unsafe impl<T> Send for Home<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Home<T> {}

impl<T> Home<T> {
    pub(crate) fn new(value: T) -> Home<T> {
        Home { value: ManuallyDrop::new(value), thread: me() }
    }

    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.thread == me()
    }

    /// `None` in another thread.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        self.is_here().then(|| &*self.value)
    }

    /// `None` in another thread, and then the value is lost.
    pub(crate) fn into_inner(self) -> Option<T> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once: `drop` does not run.
        this.is_here().then(|| unsafe { ManuallyDrop::take(&mut this.value) })
    }
}

impl<T> Drop for Home<T> {
    fn drop(&mut self) {
        if self.is_here() {
            // SAFETY: once, at the end.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}
