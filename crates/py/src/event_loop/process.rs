//! Child processes: watching for their end, and telling their transports.

use oxloop_engine::{Exit, Exited, Payload};
use oxloop_os::process;
use pyo3::prelude::*;

use super::Loop;
use crate::errors::os_error;
use crate::handle::is_exit;
use crate::hooks::hooks;
use crate::host::Job;
use crate::raw::{Lookup, Ref};

/// Waits for the end of the child `pid`, on behalf of its transport. OSError if the system has no
/// descriptor for it.
pub(super) fn watch(slf: &Bound<'_, Loop>, pid: i32, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    let (py, this) = (slf.py(), slf.get());
    this.check_closed()?;
    let pidfd = process::watch(pid).map_err(|error| os_error(py, &error))?;
    let watched = this.take_over(py, pidfd).and_then(|()| {
        let watched = this.engine().watch_child(pidfd, transport.into());
        watched.map(drop).map_err(|(error, transport)| {
            drop(transport);
            os_error(py, &error)
        })
    });
    if watched.is_err() {
        pidfd.close();
    }
    watched
}

/// A child has ended. Whoever reaped it before us knows how; we do not.
pub(super) fn exited(slf: &Bound<'_, Loop>, ended: Exited<Ref>) -> PyResult<()> {
    let py = slf.py();
    ended.pidfd.close();
    let returncode = ended.exit.ok().map(|exit| match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => -signal,
    });
    let told = slf.method1("_child_exited", (ended.conn.bind(py), returncode));
    match told {
        Err(error) if !is_exit(py, &error) => {
            let report = hooks().get(py, "report_child_error")?;
            report.call1((slf, ended.conn.bind(py), error.into_value(py))).map(drop)
        }
        other => other.map(drop),
    }
}

/// The loop is closed: nobody waits for these any more.
pub(super) fn close_all(all: &[Payload<Job, Ref>]) {
    for payload in all {
        if let Payload::Child(_, pidfd) = payload {
            pidfd.close();
        }
    }
}
