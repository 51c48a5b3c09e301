//! A loop for threads that are not attached to the interpreter.
//!
//! They cannot make objects, so their calls wait in a list of the remote's own, and one object, the
//! ticket, moves between the remote and the loop's queues: whoever finds it here posts it, and the
//! loop runs the list when it meets it. Invariants: the ticket is in one of the two places while the
//! loop is open; nothing is posted once it is closed; no call is dropped under the lock, since that
//! runs code, and none by a thread that is not attached.

use std::collections::VecDeque;
use std::fmt;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oxloop_abi::Call;
use oxloop_engine::{Door, System};
use pyo3::ffi;
use pyo3::prelude::*;

use super::NativeCall;
use super::call::{OwnedCall, run};
use crate::event_loop::Loop;
use crate::host::Job;
use crate::raw::Ref;

/// See the module.
pub(crate) struct Remote {
    state: Mutex<State>,
    /// Null once the loop is closed or gone. Written and followed by attached threads.
    owner: AtomicPtr<Loop>,
}

#[derive(Default)]
struct State {
    /// None once the loop is closed: its descriptors are gone with it, whoever keeps the remote.
    door: Option<Door<Job, System>>,
    calls: VecDeque<OwnedCall>,
    ticket: Option<Ref>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl Remote {
    pub(crate) fn new(
        py: Python<'_>,
        owner: &Loop,
        door: Door<Job, System>,
    ) -> PyResult<Arc<Remote>> {
        let state = Mutex::new(State { door: Some(door), ..State::default() });
        let owner = AtomicPtr::new(std::ptr::from_ref(owner).cast_mut());
        let remote = Arc::new(Remote { state, owner });
        let ticket = NativeCall::mail(py, remote.clone())?;
        remote.lock().ticket = Some(ticket);
        Ok(remote)
    }

    /// From any thread. The call is given back if the loop is closed or there is no memory.
    pub(super) fn post(&self, call: Call) -> Result<(), Call> {
        if let Some((py, owner)) = self.on_own_thread() {
            return push(py, owner, call);
        }
        let mut state = self.lock();
        let State { door: Some(door), calls, ticket } = &mut *state else { return Err(call) };
        if calls.try_reserve(1).is_err() {
            return Err(call);
        }
        if let Some(found) = ticket.take()
            && let Err(Job(found)) = door.post(Job(found))
        {
            *ticket = Some(found);
            return Err(call);
        }
        calls.push_back(OwnedCall::new(call));
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().door.is_none()
    }

    /// The loop, if it runs in this thread and the thread is attached.
    fn on_own_thread(&self) -> Option<(Python<'static>, &Loop)> {
        // SAFETY: no preconditions. Attached to the interpreter, the loop cannot go away; it says so
        // here before it does.
        unsafe {
            if ffi::PyGILState_Check() == 0 {
                return None;
            }
            let owner = self.owner.load(Ordering::Acquire).as_ref()?;
            owner.is_on_own_thread().then(|| (Python::assume_attached(), owner))
        }
    }

    /// The loop has met the ticket. What comes while the calls run waits for the next turn.
    pub(super) fn run_posted(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, Loop>,
        ticket: Ref,
    ) -> PyResult<()> {
        let mut calls = std::mem::take(&mut self.lock().calls);
        let mut done = Ok(());
        while done.is_ok()
            && let Some(call) = calls.pop_front()
        {
            done = run(py, owner, call, None);
        }
        let mut state = self.lock();
        if state.door.is_some() {
            // What an exception has kept from running comes first.
            while let Some(call) = calls.pop_back() {
                state.calls.push_front(call);
            }
            let mut ticket = Some(ticket);
            if !state.calls.is_empty() {
                let pushed =
                    ticket.take().map(|ticket| owner.get().engine().call_soon(Job(ticket)));
                ticket = pushed.and_then(Result::err).map(|Job(ticket)| ticket);
            }
            state.ticket = ticket;
        }
        done
    }

    /// The loop is closed, or is about to go. Attached.
    pub(crate) fn close(&self) {
        self.owner.store(null_mut(), Ordering::Release);
        let left = std::mem::take(&mut *self.lock());
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under this lock; poison would be of no meaning.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `call_soon` by the loop's thread.
fn push(py: Python<'_>, owner: &Loop, call: Call) -> Result<(), Call> {
    let object = NativeCall::object(py, OwnedCall::new(call), None).map_err(|(_, call)| call)?;
    let pushed = owner.engine().call_soon(Job(object));
    pushed.map_err(|Job(object)| NativeCall::take_back(&object).unwrap_or(call))
}
