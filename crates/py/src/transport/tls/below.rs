//! What carries the ciphertext of a TLS transport: a stream transport, or a TLS transport again.
//!
//! [`Below`] is where bytes go and come from while there is a connection; [`Carrier`] is the transport
//! itself, which has a context and an end. Layers talk to their neighbours alone: what concerns the
//! connection as a whole finds its way down, one after the other, and so does what it brings up.

use oxloop_engine::{Key, Limits, Pump, Wrote};
use pyo3::prelude::*;

use super::Tls;
use super::drive::Driving;
use crate::errors::os_error;
use crate::hooks::hooks;
use crate::host::PyHost;
use crate::raw::Ref;
use crate::transport::{Owner, Transport};

/// The marks that a stream below does not exceed.
const STREAM_MARKS: Limits = Limits { low: 16 * 1024, high: 64 * 1024 };
/// The marks that a TLS transport below does not exceed: asyncio's for one.
const TLS_MARKS: Limits = Limits { low: 128 * 1024, high: 512 * 1024 };

/// The connection below, while there is one.
pub(super) enum Below<'py> {
    /// The loop, and a stream in its engine.
    Stream(Owner<'py>, Key),
    /// A TLS transport.
    Tls(Ref),
}

impl Below<'_> {
    /// How much of what it was given has not been sent.
    #[inline]
    pub(super) fn buffered(&self, py: Python<'_>) -> usize {
        match self {
            Below::Stream(owner, stream) => owner.engine().buffered(*stream),
            Below::Tls(lower) => tls(lower).map_or(0, |lower| lower.buffered(py)),
        }
    }

    /// Takes ciphertext; then [`Below::written`]. Runs no Python.
    #[inline]
    pub(super) fn write(&self, bytes: &[u8]) -> Wrote {
        match self {
            Below::Stream(owner, stream) => owner.engine().write(*stream, bytes, || None),
            Below::Tls(lower) => tls(lower).map_or(Wrote::Closed, |lower| lower.carry(bytes)),
        }
    }

    /// Something was written: it leaves with what else is to leave.
    #[inline]
    pub(super) fn written(&self, py: Python<'_>) -> PyResult<()> {
        match self {
            Below::Stream(..) => Ok(()),
            Below::Tls(lower) => tls(lower).map_or(Ok(()), |lower| lower.written(py)),
        }
    }

    /// Sends what is queued, as far as the kernel takes it. An error is met again by whoever reads or
    /// writes next.
    pub(super) fn flush(&self, py: Python<'_>) -> PyResult<()> {
        match self {
            Below::Stream(owner, stream) => {
                let _ = owner.engine().flush_now(*stream);
                Ok(())
            }
            Below::Tls(lower) => tls(lower).map_or(Ok(()), |lower| lower.send_written(py)),
        }
    }

    /// Before the next flush there is something to encrypt.
    #[inline]
    pub(super) fn fill_later(&self, py: Python<'_>) {
        match self {
            Below::Stream(owner, stream) => owner.engine().fill_later(*stream),
            Below::Tls(lower) => {
                let below = tls(lower).and_then(|lower| lower.below(py));
                below.inspect(|below| below.fill_later(py));
            }
        }
    }

    /// Whether who wrote to it was told to pause.
    pub(super) fn is_write_paused(&self) -> bool {
        match self {
            Below::Stream(owner, stream) => owner.engine().is_write_paused(*stream),
            Below::Tls(lower) => {
                tls(lower).and_then(|lower| lower.pump()).is_some_and(|pump| pump.is_write_paused())
            }
        }
    }

    /// The writer waits, though what is below is not full alone: as if it were, it tells when there
    /// is room. False if there is.
    pub(super) fn pause_writer(&self, py: Python<'_>) -> bool {
        match self {
            Below::Stream(owner, stream) => owner.engine().pause_writer(*stream),
            Below::Tls(lower) => tls(lower).is_some_and(|lower| lower.pause_writer(py)),
        }
    }

    /// Lowers its marks to those given, and to what a transport below may have at most. True if its
    /// writer is to wait now.
    pub(super) fn limit(&self, py: Python<'_>, marks: Limits) -> PyResult<bool> {
        match self {
            Below::Stream(owner, stream) => {
                let limits = lower_of(marks, STREAM_MARKS);
                let wrote = owner.engine().set_limits(*stream, limits);
                Ok(matches!(wrote, Wrote::Pause))
            }
            Below::Tls(lower) => {
                let Some(lower) = tls(lower) else { return Ok(false) };
                lower.set_limits(py, lower_of(marks, TLS_MARKS))?;
                Ok(self.is_write_paused())
            }
        }
    }

    /// The marks of a writer who knows nothing of TLS.
    pub(super) fn limits(&self) -> Limits {
        match self {
            Below::Stream(owner, stream) => owner.engine().limits(*stream),
            Below::Tls(lower) => tls(lower).map_or(TLS_MARKS, |lower| {
                let (low, high) = lower.tail.write_marks.get();
                Limits { low, high }
            }),
        }
    }

    /// Takes ciphertext in, or leaves it where it is.
    pub(super) fn set_reading(&self, py: Python<'_>, reading: bool) -> PyResult<()> {
        match self {
            Below::Stream(owner, stream) => {
                let changed = match reading {
                    true => owner.engine().start_reading(*stream),
                    false => owner.engine().stop_reading(*stream),
                };
                changed.map_err(|error| os_error(py, &error))
            }
            Below::Tls(lower) => match (tls(lower), reading) {
                (Some(lower), true) => Tls::py_resume_reading(py, lower),
                (Some(lower), false) => Tls::py_pause_reading(py, lower),
                (None, _) => Ok(()),
            },
        }
    }
}

fn tls(lower: &Ref) -> Option<Tls<'_>> {
    Tls::of(lower)
}

fn lower_of(one: Limits, other: Limits) -> Limits {
    Limits { low: one.low.min(other.low), high: one.high.min(other.high) }
}

/// The transport below, connected or not.
#[derive(Clone, Copy)]
pub(super) enum Carrier<'a> {
    Stream(Transport<'a>),
    Tls(Tls<'a>),
}

impl<'a> Carrier<'a> {
    /// `None` if `lower` is not a transport of ours.
    pub(super) fn of(lower: &'a Ref) -> Option<Carrier<'a>> {
        match Transport::of(lower) {
            Some(transport) => Some(Carrier::Stream(transport)),
            None => Tls::of(lower).map(Carrier::Tls),
        }
    }

    /// The context in which the connection's protocols are called.
    pub(super) fn context(self, py: Python<'_>) -> Option<Ref> {
        match self {
            Carrier::Stream(transport) => transport.context(py),
            Carrier::Tls(lower) => lower.context(py),
        }
    }

    /// Nothing more is read.
    pub(super) fn is_ending(self, py: Python<'_>) -> bool {
        match self {
            Carrier::Stream(transport) => transport.is_ending(),
            Carrier::Tls(lower) => lower.is_ending(py),
        }
    }

    /// Gives it the TLS transport that everything goes to from now on, without `connection_made`.
    pub(super) fn carry(self, py: Python<'_>, upper: &Bound<'_, PyAny>) -> PyResult<()> {
        match self {
            Carrier::Stream(transport) => transport.use_protocol(py, upper),
            Carrier::Tls(lower) => {
                lower.use_protocol(py, upper)?;
                lower.tail.connected.set(true);
                Ok(())
            }
        }
    }

    /// Reads, whether or not it was paused.
    pub(super) fn read_again(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Carrier::Stream(transport) => transport.read_again(py),
            Carrier::Tls(lower) => {
                lower.tail.resuming.set(false);
                lower.pump().inspect(|pump| pump.set_reading(true));
                lower.go_on(py)
            }
        }
    }

    pub(super) fn close(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Carrier::Stream(transport) => transport.close(py),
            Carrier::Tls(lower) => lower.close(py),
        }
    }

    pub(super) fn force_close(self, py: Python<'_>, error: Option<Ref>) -> PyResult<()> {
        match self {
            Carrier::Stream(transport) => transport.force_close(py, error),
            Carrier::Tls(lower) => lower.force_close(py, error),
        }
    }

    /// Reports an error and ends the connection with it.
    #[cold]
    pub(super) fn fatal(self, py: Python<'_>, error: Ref, message: &str) -> PyResult<()> {
        match self {
            Carrier::Stream(transport) => transport.fatal_value(py, error, message),
            Carrier::Tls(lower) => {
                let report = hooks().get(py, "report_fatal_error")?;
                let reported = report.call1((lower.bind(py), error.bind(py), message));
                lower.force_close(py, Some(error))?;
                reported.map(drop)
            }
        }
    }
}

/// What a TLS transport is to the one above it.
impl Tls<'_> {
    /// The TLS transport over this one.
    #[inline]
    pub(super) fn upper(self, py: Python<'_>) -> Option<Ref> {
        if self.tail.protected.get() { self.tail.protocol.get(py) } else { None }
    }

    /// The context in which the connection's protocols are called.
    pub(super) fn context(self, py: Python<'_>) -> Option<Ref> {
        let lower = self.lower(py)?;
        Carrier::of(&lower)?.context(py)
    }

    /// Nothing more is read.
    fn is_ending(self, py: Python<'_>) -> bool {
        self.tail.lost.get() > 0 || Tls::py_is_closing(py, self).unwrap_or(true)
    }

    /// What was written here and below and has not been sent.
    pub(super) fn buffered(self, py: Python<'_>) -> usize {
        let queued = self.pump().map_or(0, |pump| pump.queued());
        queued + self.below(py).map_or(0, |below| below.buffered(py))
    }

    /// Queues what the transport above has encrypted; also while this one is only sending its rest.
    fn carry(self, bytes: &[u8]) -> Wrote {
        match self.pump().filter(|pump| pump.is_sending()) {
            Some(pump) => match pump.write(bytes, || None) {
                Ok(()) => Wrote::Fine,
                Err(_) => Wrote::Failed(std::io::ErrorKind::OutOfMemory.into()),
            },
            None => Wrote::Closed,
        }
    }

    fn pause_writer(self, py: Python<'_>) -> bool {
        let Some(pump) = self.pump() else { return false };
        if !pump.is_write_paused() {
            if self.buffered(py) <= self.tail.write_marks.get().0 {
                return false;
            }
            pump.begin_paused();
            self.await_room(py, &pump);
        }
        true
    }

    /// All that keeps the writer waiting is below: that shall tell when it has room. Its last piece
    /// may leave too little behind for it to call itself full.
    pub(super) fn await_room(self, py: Python<'_>, pump: &Pump<PyHost>) {
        if pump.is_write_paused()
            && pump.queued() == 0
            && self.below(py).is_some_and(|below| below.pause_writer(py))
        {
            pump.set_blocked(true);
        }
    }

    /// The stream at the bottom is about to be flushed: what was written is encrypted from the top
    /// down. In the connection's context.
    pub(crate) fn fill(self, py: Python<'_>) -> PyResult<()> {
        if let Some(upper) = self.upper(py)
            && let Some(driving) = Driving::begin(self)
        {
            let filled = Tls::of(&upper).map_or(Ok(()), |upper| upper.fill(py));
            drop(driving);
            if filled.is_err() {
                // The first error counts.
                let _ = self.go_on_later(py);
                return filled;
            }
        }
        self.go_on(py)
    }

    /// The run is over, by an exception: what was written leaves now.
    pub(crate) fn fill_now(self, py: Python<'_>) -> PyResult<()> {
        if let Some(upper) = self.upper(py)
            && let Some(upper) = Tls::of(&upper)
        {
            upper.fill_now(py)?;
        }
        self.send_written(py)
    }
}
