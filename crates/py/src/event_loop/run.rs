//! Driving the engine: what each of its steps means in Python.

use std::panic::{AssertUnwindSafe, catch_unwind};

use oxloop_engine::{Moment, Step};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::clock::now;
use super::signals::Signals;
use super::{Loop, LoopRef};
use crate::errors::os_error;
use crate::handle::{debug_run, run_job};
use crate::hooks::hooks;
use crate::host::Job;
use crate::raw::{Raised, Ref, forget_running_loop, panic_error};
use crate::transport::Transport;

/// A clock of the program's that shows no time.
const NO_TIME: &str =
    "loop.time() returned NaN: it has to return seconds, as time.monotonic() does";

/// Runs turns until `stop()`. Whatever happens, the loop is not running afterwards.
pub(super) fn run_forever(slf: &Bound<'_, Loop>) -> PyResult<()> {
    let py = slf.py();
    // Looked up before the run: afterwards there may be no memory to do so.
    let end = hooks().get(py, "end_run")?;
    hooks().get(py, "begin_run")?.call1((slf,))?;
    let run = catch_unwind(AssertUnwindSafe(|| run_until_stopped(slf)));
    // SAFETY: one live object; the result is a new reference, or null with an exception.
    let ended = unsafe {
        Ref::from_owned(py, ffi::PyObject_CallOneArg(end.as_ptr(), slf.as_ptr())).map(drop)
    };
    if let (Err(_), Some(key)) = (&ended, &hooks().running_loop_key) {
        forget_running_loop(py, key, slf.as_ptr());
    }
    match run {
        Ok(result) => result.and(ended),
        Err(panic) => ended.and(Err(panic_error(&*panic))),
    }
}

fn run_until_stopped(slf: &Bound<'_, Loop>) -> PyResult<()> {
    let py = slf.py();
    loop {
        // By name: a subclass may have one of its own, which is a turn and no more.
        slf.call_method0(hooks().names._run_once.bind(py).cast::<PyString>()?)?;
        if slf.get().engine().is_stopping() {
            return Ok(());
        }
    }
}

/// Runs turns until `stop()` if the loop is running, exactly one turn if it is not.
pub(super) fn run_once(slf: &Bound<'_, Loop>) -> PyResult<()> {
    let py = slf.py();
    let this = slf.get();
    let hooks = hooks();
    this.run_patched.set(hooks.get(py, "is_handle_run_patched")?.call0()?.is_truthy()?);
    Loop::find_overrides(slf)?;
    this.engine().begin_run(this.thread.get() == 0);
    let mut signals = Signals::new();
    let result = catch_unwind(AssertUnwindSafe(|| turns(slf, &mut signals)))
        .unwrap_or_else(|panic| Err(panic_error(&*panic)));
    let result = if result.is_err() { result.and(fill_all(py, this)) } else { result };
    this.engine().end_run();
    signals.disarm(slf, result)
}

/// An exception ended the run. TLS transports prepare what was written, so that it can leave.
#[cold]
fn fill_all(py: Python<'_>, this: &Loop) -> PyResult<()> {
    loop {
        let key = this.engine().next_fill();
        let Some(key) = key else { return Ok(()) };
        Transport::fill_now(py, this, key)?;
    }
}

fn turns(slf: &Bound<'_, Loop>, signals: &mut Signals) -> PyResult<()> {
    let py = slf.py();
    let this = slf.get();
    loop {
        let mut job = this.engine().next_job();
        while let Some(ready) = job {
            run(py, slf, ready)?;
            job = this.engine().next_job();
        }
        let step = this.engine().step();
        match step {
            Step::Job(job) => run(py, slf, job)?,
            Step::Clock => {
                check_signals(py)?;
                this.engine().set_strict_clock(!this.clock.is_own());
                // SAFETY: `slf` is alive for the call.
                let now = now(py, unsafe { LoopRef::from_self(slf.as_ptr()) })?;
                let now = Moment::from_seconds(now).map_err(|_| PyValueError::new_err(NO_TIME))?;
                this.engine().tell(now);
            }
            Step::Wait(mut wait) => {
                signals.arm(slf)?;
                // A signal that came before the descriptor was armed is only known to this.
                check_signals(py)?;
                // Python may have run, and a signal's handler in it, since the engine decided.
                this.engine().reconsider(&mut wait);
                let wait = py.detach(move || {
                    wait.block();
                    wait
                });
                let waited = this.engine().waited(wait);
                waited.map_err(|error| os_error(py, &error))?;
                check_signals(py)?;
            }
            Step::Watch(key, direction) => super::watch::fire(py, slf, key, direction)?,
            Step::Received(key, count) => Transport::received(py, this, key, count)?,
            Step::Offer(key) => Transport::offered(py, this, key)?,
            Step::Plenty(key, size) => Transport::plenty(py, this, key, size)?,
            Step::Ended(key) => Transport::ended(py, this, key)?,
            Step::ReadFailed(key, error) => Transport::read_failed(py, this, key, &error)?,
            Step::Datagram(key) => Transport::datagram_received(py, this, key)?,
            Step::DatagramFailed(key, error) => {
                Transport::datagram_failed(py, this, key, &error)?;
            }
            Step::Fill(key) => Transport::fill(py, this, key)?,
            Step::Full(key) => Transport::full(py, this, key)?,
            Step::Flushed(key, flushed) => Transport::flushed(py, this, key, flushed)?,
            Step::FileSent(key, sent) => Transport::file_sent(py, this, key, sent)?,
            Step::WriteFailed(key, error) => Transport::write_failed(py, this, key, &error)?,
            Step::Accepted(key, fd, peer) => super::accept::accepted(slf, key, fd, peer)?,
            Step::AcceptFailed(key, failure) => super::accept::failed(slf, key, &failure)?,
            Step::Exited(ended) => super::process::exited(slf, ended)?,
            Step::Resolved(future, answer) => super::resolve::resolved(py, &future, answer)?,
            Step::PollFailed(error) => return Err(os_error(py, &error)),
            Step::Done => return Ok(()),
        }
    }
}

/// Runs the Python handlers of signals that have come.
#[inline]
fn check_signals(py: Python<'_>) -> PyResult<()> {
    // SAFETY: attached.
    if unsafe { ffi::PyErr_CheckSignals() } < 0 { Err(PyErr::fetch(py)) } else { Ok(()) }
}

#[inline(always)]
pub(super) fn run(py: Python<'_>, slf: &Bound<'_, Loop>, job: Job) -> Result<(), Raised> {
    let this = slf.get();
    if (this.debug.get() || this.run_patched.get()) && job.is_handle() {
        return Ok(debug_run(py, slf, &job.0)?);
    }
    run_job(py, slf, job)
}
