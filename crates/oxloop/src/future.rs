//! [`Future`]: a result that somebody sets later.

use std::cell::{Cell, RefCell};
use std::error;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use oxloop_engine::{Key, Slots};

use crate::event_loop::{Loop, Origin};
use crate::hub::Hub;

/// A result that is not there yet, as asyncio's `Future`: whoever has a clone may set it, await it,
/// or be called when it is there.
///
/// ```
/// let event_loop = oxloop::EventLoop::new();
/// let answer = event_loop.create_future();
/// let setter = answer.clone();
/// event_loop.call_soon(move || setter.set_result(42).unwrap())?;
/// assert_eq!(event_loop.run_until_complete(answer)?.unwrap(), 42);
/// # Ok::<(), oxloop::Error>(())
/// ```
pub struct Future<T> {
    shared: Rc<Shared<T>>,
    /// The place of this clone's waker.
    waiting: Cell<Option<Key>>,
}

struct Shared<T> {
    hub: Rc<Hub>,
    state: RefCell<State<T>>,
}

struct State<T> {
    outcome: Option<Result<T, FutureError>>,
    wakers: Slots<Waker>,
    callbacks: Vec<(Box<dyn FnOnce()>, Origin)>,
}

/// Why a [`Future`] has no result.
#[derive(Clone, Debug)]
pub enum FutureError {
    /// It was cancelled.
    Cancelled,
    /// What [`Future::set_exception`] was given.
    Exception(Rc<dyn error::Error>),
}

/// The future is done already, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidState;

impl<T> Future<T> {
    fn new(hub: Rc<Hub>) -> Future<T> {
        let state = State { outcome: None, wakers: Slots::default(), callbacks: Vec::new() };
        let shared = Rc::new(Shared { hub, state: RefCell::new(state) });
        Future { shared, waiting: Cell::new(None) }
    }

    /// Gives it its result.
    ///
    /// # Errors
    /// [`InvalidState`] if it is done.
    pub fn set_result(&self, result: T) -> Result<(), InvalidState> {
        self.finish(Ok(result))
    }

    /// Gives it an error for a result.
    ///
    /// # Errors
    /// [`InvalidState`] if it is done.
    pub fn set_exception(&self, error: impl error::Error + 'static) -> Result<(), InvalidState> {
        self.finish(Err(FutureError::Exception(Rc::new(error))))
    }

    /// Cancels it. False if it is done.
    pub fn cancel(&self) -> bool {
        self.finish(Err(FutureError::Cancelled)).is_ok()
    }

    /// Whether it has a result, an error, or was cancelled.
    pub fn is_done(&self) -> bool {
        self.shared.state.borrow().outcome.is_some()
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.shared.state.borrow().outcome, Some(Err(FutureError::Cancelled)))
    }

    /// Calls `callback` in the turn after the future is done; soon, if it is already.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed), [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    #[track_caller]
    pub fn add_done_callback<F>(&self, callback: F) -> crate::Result<()>
    where
        F: FnOnce(&Future<T>) + 'static,
        T: 'static,
    {
        self.shared.hub.check_open()?;
        let (future, origin) = (self.clone(), Origin::of::<F>());
        let callback: Box<dyn FnOnce()> = Box::new(move || callback(&future));
        let mut state = self.shared.state.borrow_mut();
        if state.outcome.is_none() {
            state.callbacks.push((callback, origin));
            return Ok(());
        }
        drop(state);
        self.shared.hub.call_soon(callback, origin).map(drop)
    }

    /// The result.
    ///
    /// # Errors
    /// [`InvalidState`] if there is none yet.
    pub fn result(&self) -> Result<Result<T, FutureError>, InvalidState>
    where
        T: Clone,
    {
        self.shared.state.borrow().outcome.clone().ok_or(InvalidState)
    }

    fn finish(&self, outcome: Result<T, FutureError>) -> Result<(), InvalidState> {
        let mut state = self.shared.state.borrow_mut();
        if state.outcome.is_some() {
            drop(state);
            drop(outcome);
            return Err(InvalidState);
        }
        state.outcome = Some(outcome);
        let (wakers, callbacks) = (state.wakers.drain(), std::mem::take(&mut state.callbacks));
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        for (callback, origin) in callbacks {
            // Of a closed loop nobody is called.
            let _ = self.shared.hub.call_soon(callback, origin);
        }
        Ok(())
    }

    fn take_waker(&self) -> Option<Waker> {
        let key = self.waiting.take()?;
        self.shared.state.borrow_mut().wakers.remove(key)
    }
}

impl<T: Clone> std::future::Future for Future<T> {
    type Output = Result<T, FutureError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let before = self.take_waker();
        let waker = match before {
            Some(waker) if waker.will_wake(cx.waker()) => waker,
            _ => cx.waker().clone(),
        };
        let mut state = self.shared.state.borrow_mut();
        if let Some(outcome) = &state.outcome {
            let outcome = outcome.clone();
            drop(state);
            return Poll::Ready(outcome);
        }
        let waiting = state.wakers.insert(waker);
        drop(state);
        match waiting {
            Ok(key) => {
                self.waiting.set(Some(key));
                Poll::Pending
            }
            // No memory: better asked again than forgotten.
            Err(waker) => {
                waker.wake();
                Poll::Pending
            }
        }
    }
}

impl<T> Clone for Future<T> {
    fn clone(&self) -> Self {
        Future { shared: self.shared.clone(), waiting: Cell::new(None) }
    }
}

impl<T> Drop for Future<T> {
    fn drop(&mut self) {
        let waker = self.take_waker();
        drop(waker);
    }
}

impl<T> Unpin for Future<T> {}

impl Loop {
    /// Makes a future that somebody will set.
    pub fn create_future<T>(&self) -> Future<T> {
        Future::new(self.hub.clone())
    }
}

impl fmt::Display for FutureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FutureError::Cancelled => f.write_str("cancelled"),
            FutureError::Exception(error) => error.fmt(f),
        }
    }
}

impl error::Error for FutureError {}

impl fmt::Display for InvalidState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid state")
    }
}

impl error::Error for InvalidState {}

impl<T> fmt::Debug for Future<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (done, cancelled) = (self.is_done(), self.is_cancelled());
        f.debug_struct("Future").field("done", &done).field("cancelled", &cancelled).finish()
    }
}
