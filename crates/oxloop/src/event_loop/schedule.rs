//! Callbacks: now, later, at a time; and their handles.

use std::any::type_name;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::{Duration, Instant};

use oxloop_engine::{Key, Slots};

use crate::error::{Error, Result};
use crate::event_loop::Loop;
use crate::host::Job;
use crate::hub::Hub;

/// What somebody was given to call, and who gave it.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    name: fn() -> &'static str,
    place: &'static Location<'static>,
}

impl Origin {
    #[track_caller]
    pub(crate) fn of<F>() -> Origin {
        Origin { name: type_name::<F>, place: Location::caller() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} made at {}", (self.name)(), self.place)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A callback in its place.
pub(crate) struct Call {
    pub(super) run: Run,
    pub(super) origin: Origin,
}

pub(super) enum Run {
    Once(Box<dyn FnOnce()>),
    /// Of a descriptor that is watched; `None` while it runs.
    Again(Option<Box<dyn FnMut()>>),
}

/// The callbacks of a loop. The engine knows them by their keys alone.
pub(crate) type Calls = Slots<Call>;

impl Hub {
    /// Gives a callback a place; the job that runs it.
    pub(super) fn add_call(&self, run: Run, origin: Origin) -> Result<Key> {
        self.check_open()?;
        let added = self.calls.borrow_mut().insert(Call { run, origin });
        added.map_err(|call| {
            drop(call);
            Error::OutOfMemory
        })
    }

    /// Calls a callback in the next turn.
    pub(crate) fn call_soon(&self, callback: Box<dyn FnOnce()>, origin: Origin) -> Result<Key> {
        let key = self.add_call(Run::Once(callback), origin)?;
        let queued = self.engine().call_soon(Job::Call(key));
        if queued.is_err() {
            self.drop_call(key);
            return Err(Error::OutOfMemory);
        }
        Ok(key)
    }

    /// Calls a callback when a delay is over.
    pub(crate) fn call_later(
        &self,
        delay: Duration,
        callback: Box<dyn FnOnce()>,
        origin: Origin,
    ) -> Result<(Key, Key)> {
        self.schedule_at(after(delay), callback, origin)
    }

    /// The keys of the callback and of its timer.
    fn schedule_at(
        &self,
        when: Instant,
        callback: Box<dyn FnOnce()>,
        origin: Origin,
    ) -> Result<(Key, Key)> {
        let key = self.add_call(Run::Once(callback), origin)?;
        match self.call_at(when, Job::Call(key)) {
            Ok(timer) => Ok((key, timer)),
            Err(error) => {
                self.drop_call(key);
                Err(error)
            }
        }
    }

    /// Calls a callback at a time.
    #[cfg(feature = "hyper")]
    pub(crate) fn call_at_time(
        &self,
        when: Instant,
        callback: Box<dyn FnOnce()>,
        origin: Origin,
    ) -> Result<(Key, Key)> {
        self.schedule_at(when, callback, origin)
    }

    #[cfg(any(feature = "tls", feature = "hyper"))]
    /// Forgets what [`Hub::call_later`] was given.
    pub(crate) fn cancel_later(&self, (key, timer): (Key, Key)) {
        self.cancel_timer(timer);
        self.drop_call(key);
    }

    /// Drops a callback that has not run. False if it has, or was dropped already.
    pub(super) fn drop_call(&self, key: Key) -> bool {
        let call = self.calls.borrow_mut().remove(key);
        call.is_some()
    }
}

impl Loop {
    /// Calls `callback` in the next turn, after those that are waiting already.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::OutOfMemory`].
    #[track_caller]
    pub fn call_soon<F: FnOnce() + 'static>(&self, callback: F) -> Result<Handle> {
        let key = self.hub.call_soon(Box::new(callback), Origin::of::<F>())?;
        Ok(Handle { hub: self.hub.clone(), key })
    }

    /// Calls `callback` when `delay` is over.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::OutOfMemory`].
    #[track_caller]
    pub fn call_later<F: FnOnce() + 'static>(
        &self,
        delay: Duration,
        callback: F,
    ) -> Result<TimerHandle> {
        self.schedule_at(after(delay), Box::new(callback), Origin::of::<F>())
    }

    /// Calls `callback` when the clock has reached `when`. Callbacks run in the order of their
    /// times; of equal ones, in the order in which they were given.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::OutOfMemory`].
    #[track_caller]
    pub fn call_at<F: FnOnce() + 'static>(
        &self,
        when: Instant,
        callback: F,
    ) -> Result<TimerHandle> {
        self.schedule_at(when, Box::new(callback), Origin::of::<F>())
    }

    fn schedule_at(
        &self,
        when: Instant,
        callback: Box<dyn FnOnce()>,
        origin: Origin,
    ) -> Result<TimerHandle> {
        let (key, timer) = self.hub.schedule_at(when, callback, origin)?;
        Ok(TimerHandle { handle: Handle { hub: self.hub.clone(), key }, timer, when })
    }
}

/// The time after a delay. One beyond the end of the clock is about thirty years away.
pub(crate) fn after(delay: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    let now = Instant::now();
    now.checked_add(delay).unwrap_or(now + FAR)
}

/// A callback that was scheduled. Dropping the handle changes nothing.
#[derive(Clone)]
pub struct Handle {
    hub: Rc<Hub>,
    key: Key,
}

impl Handle {
    /// Drops the callback. False if it has run or was cancelled already.
    pub fn cancel(&self) -> bool {
        self.hub.drop_call(self.key)
    }

    /// Whether the callback will still be called.
    pub fn is_pending(&self) -> bool {
        self.hub.calls.borrow().get(self.key).is_some()
    }
}

/// A callback that was scheduled for a time. Dropping the handle changes nothing.
#[derive(Clone)]
pub struct TimerHandle {
    handle: Handle,
    timer: Key,
    when: Instant,
}

impl TimerHandle {
    /// Drops the callback. False if it has run or was cancelled already.
    pub fn cancel(&self) -> bool {
        self.handle.hub.cancel_timer(self.timer);
        self.handle.cancel()
    }

    /// Whether the callback will still be called.
    pub fn is_pending(&self) -> bool {
        self.handle.is_pending()
    }

    /// When it is to be called.
    pub fn when(&self) -> Instant {
        self.when
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.hub.calls.borrow();
        let origin = calls.get(self.key).map(|call| call.origin);
        f.debug_tuple("Handle").field(&origin).finish()
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle")
            .field("handle", &self.handle)
            .field("when", &self.when)
            .finish()
    }
}
