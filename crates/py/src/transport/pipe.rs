//! Pipe transports: what they do otherwise than stream transports.
//!
//! A read pipe only reads, a write pipe only writes and notices that its reader is gone. Both are
//! streams of the engine. Pipes keep the descriptor they were given; a terminal or a socket goes
//! both ways, and somebody else may watch its number for the other direction (another pipe
//! transport, `add_reader`), so its stream has a duplicate.

use oxloop_engine::{End, Fd};
use oxloop_os::file::{self, FileKind};
use pyo3::Borrowed;
use pyo3::exceptions::{PyBrokenPipeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView};

use super::Transport;
use super::types::{Kind, base_slots};
use crate::errors::os_error;
use crate::event_loop::{Loop, file_descriptor};
use crate::hooks::hooks;
use crate::raw::{Lookup, Ref, copy_context};

/// The descriptors of stdin, stdout and stderr: shared with the rest of the program.
const STANDARD: i32 = 2;

impl Kind {
    pub(super) fn read_error(self) -> &'static str {
        match self {
            Kind::Stream => "Fatal read error on socket transport",
            Kind::Datagram => "Fatal read error on datagram transport",
            Kind::ReadPipe | Kind::WritePipe => "Fatal read error on pipe transport",
        }
    }

    pub(super) fn write_error(self) -> &'static str {
        match self {
            Kind::Stream => "Fatal write error on socket transport",
            Kind::Datagram => "Fatal write error on datagram transport",
            Kind::ReadPipe | Kind::WritePipe => "Fatal write error on pipe transport",
        }
    }

    pub(super) fn unnamed_error(self) -> &'static str {
        match self {
            Kind::Stream | Kind::Datagram => "Fatal error on transport",
            Kind::ReadPipe | Kind::WritePipe => "Fatal error on pipe transport",
        }
    }

    pub(super) fn error_hook(self) -> &'static str {
        match self {
            Kind::Stream | Kind::WritePipe | Kind::Datagram => "report_fatal_error",
            Kind::ReadPipe => "report_read_pipe_error",
        }
    }

    pub(super) fn lost_write_hook(self) -> &'static str {
        match self {
            Kind::Stream | Kind::Datagram => "warn_lost_write",
            Kind::ReadPipe | Kind::WritePipe => "warn_lost_pipe_write",
        }
    }

    pub(super) fn repr_hook(self) -> &'static str {
        match self {
            Kind::Stream | Kind::Datagram => "transport_repr",
            Kind::ReadPipe => "read_pipe_repr",
            Kind::WritePipe => "write_pipe_repr",
        }
    }
}

/// A transport over one end of a pipe; `connection_made` follows in the next turn, then reading,
/// then the waiter.
pub(crate) fn make_pipe_transport<'py>(
    slf: &Bound<'py, Loop>,
    writing: bool,
    pipe: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
    waiter: Option<Bound<'py, PyAny>>,
    extra: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    slf.get().check_closed()?;
    let fd = file_descriptor(pipe)?;
    let file = file::kind(fd).map_err(|error| os_error(py, &error))?;
    if file == FileKind::Other {
        return Err(PyValueError::new_err(match writing {
            false => "Pipe transport is for pipes/sockets only.",
            true => "Pipe transport is only for pipes, sockets and character devices",
        }));
    }
    let extra = hooks().get(py, "pipe_extra")?.call1((pipe, extra))?;
    let object = Transport::allocate(py, if writing { Kind::WritePipe } else { Kind::ReadPipe })?;
    let Some(this) = Transport::of(&object) else { unreachable!("it was just made") };
    this.put_base_slot(base_slots().0, Some(extra.into()));
    this.put_base_slot(base_slots().1, Some(slf.into()));
    let made = this.open_pipe(slf, file, fd).and_then(|()| {
        this.tail.sock.set(Some(pipe.into()));
        this.use_protocol(py, protocol)?;
        this.start_later(py, slf, waiter)
    });
    if let Err(error) = made {
        this.discard(py);
        return Err(error);
    }
    Ok(object.bind(py).clone())
}

impl Transport<'_> {
    /// Writing goes on; it fails when the reader is gone.
    #[cold]
    pub(super) fn cannot_notice_the_end(self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        let text = "The end of the pipe's reader will not be noticed";
        let report = hooks().get(py, "report_read_pipe_error")?;
        report.call1((self.bind(py), error.into_value(py), text)).map(drop)
    }

    fn open_pipe(self, owner: &Bound<'_, Loop>, file: FileKind, fd: Fd) -> PyResult<()> {
        let (py, tail) = (owner.py(), self.tail);
        let failed = |error: std::io::Error| os_error(py, &error);
        file::set_nonblocking(fd).map_err(failed)?;
        tail.socket.fd.set(Some(fd));
        tail.context.set(Some(copy_context(py)?));
        tail.owner.set(Some(owner.into()));
        let mut number = fd;
        if file != FileKind::Pipe {
            number = file::duplicate(fd).map_err(failed)?;
            tail.duplicate.set(Some(number));
        }
        let end = match tail.kind {
            Kind::WritePipe => End::Writing { at_once: is_shared(file, fd) },
            _ => End::Reading,
        };
        // A terminal can be read: that says nothing about who reads what is written.
        tail.paused.set(tail.kind == Kind::WritePipe && file == FileKind::Character);
        owner.get().take_over(py, number)?;
        let opened = owner.get().engine().open_pipe(number, end, self.reference());
        match opened {
            Ok(stream) => {
                tail.stream.set(Some(stream));
                Ok(())
            }
            Err((error, conn)) => {
                drop(conn);
                Err(os_error(py, &error))
            }
        }
    }

    /// The last writer has closed: end, in asyncio's steps.
    pub(super) fn pipe_ended(self, py: Python<'_>) -> PyResult<()> {
        self.log_closed_by_peer(py)?;
        let (Some(owner), Some(context)) = (self.owner(py), self.tail.context.get(py)) else {
            return Ok(());
        };
        self.tail.closing.set(true);
        if let Some(protocol) = self.tail.protocol.get(py) {
            let ended = protocol.bind(py).attribute("eof_received")?;
            owner.schedule(py, &owner.0, &ended, &[], &context)?;
        }
        self.lose_later(py, None)
    }

    /// Nobody reads any more: what waits is lost.
    pub(super) fn reader_gone(self, py: Python<'_>) -> PyResult<()> {
        self.log_closed_by_peer(py)?;
        let (Some(owner), Some(stream)) = (self.owner(py), self.stream()) else { return Ok(()) };
        let waiting = owner.engine().buffered(stream);
        let error = (waiting > 0).then(|| PyBrokenPipeError::new_err(()).into_value(py));
        self.force_close(py, error.map(|error| Ref::from(error.into_bound(py))))
    }

    fn log_closed_by_peer(self, py: Python<'_>) -> PyResult<()> {
        if self.owner(py).is_some_and(|owner| owner.is_debug()) {
            hooks().get(py, "log_closed_by_peer")?.call1((self.bind(py),))?;
        }
        Ok(())
    }

    /// A callback of a read pipe's protocol failed, which ends nothing.
    #[cold]
    pub(super) fn report_callback(self, py: Python<'_>, error: PyErr) -> PyResult<()> {
        let report = hooks().get(py, "report_data_received_error")?;
        report.call1((self.bind(py), error.into_value(py))).map(drop)
    }

    pub(super) fn py_write_pipe(
        py: Python<'_>,
        this: Transport<'_>,
        data: Borrowed<'_, '_, PyAny>,
    ) -> PyResult<()> {
        let fits = data.is_instance_of::<PyBytes>()
            || data.is_instance_of::<PyByteArray>()
            || data.is_instance_of::<PyMemoryView>();
        if !fits {
            hooks().get(py, "refuse_pipe_data")?.call1((data,))?;
        }
        if this.tail.lost.get() == 0 && this.tail.closing.get() {
            // What is queued is still written; its end counts the writes that come after it.
            return Ok(());
        }
        this.send(py, &data)
    }

    pub(super) fn get_pipe(py: Python<'_>, this: Transport<'_>) -> PyResult<Option<Ref>> {
        Ok(this.tail.sock.get(py))
    }

    /// Assigning None says that somebody else closes the file.
    pub(super) fn set_pipe(
        _py: Python<'_>,
        this: Transport<'_>,
        pipe: Option<Borrowed<'_, '_, PyAny>>,
    ) -> PyResult<()> {
        let pipe = pipe.filter(|pipe| !pipe.is_none()).map(|pipe| Ref::from(&*pipe));
        this.tail.sock.set(pipe);
        Ok(())
    }
}

/// Whether somebody else is likely to write to the same file: then the order of writes, of all
/// writers, is that of the calls.
fn is_shared(file: FileKind, fd: Fd) -> bool {
    match file {
        FileKind::Socket => false,
        FileKind::Pipe => fd.raw() <= STANDARD || file::has_name(fd),
        FileKind::Character | FileKind::Other => true,
    }
}
