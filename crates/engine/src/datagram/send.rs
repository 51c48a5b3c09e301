//! The sending half: at once or joined, flow control, errors, and the ways to end.
//!
//! A lone datagram leaves at once, so that its error is known at the call, and so does the first of
//! several that a callback (or a batch of ready jobs) sends; those behind it are joined and leave at
//! the next flush. While a batch is delivered all are joined, and leave after the batch. Outside of
//! a run nothing is joined. What the kernel has no room for waits. The order is kept. A queued datagram that cannot be sent is dropped and its
//! error told; those behind it still go out.

use std::io;

use oxloop_os::Name;
use oxloop_os::datagram::{BATCH, Outbound};

use crate::datagram::{Endpoint, Output, endpoint_of};
use crate::engine::Engine;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::slots::Key;
use crate::step::{Flushed, Step};
use crate::stream::{Closing, Limits, Settled, Wrote};

impl<H: Host> Engine<H> {
    /// Sends `data` to a name, or on a connected socket to `None`. Should it have to wait, `hold`
    /// may return the owner of the bytes, so that they need not be copied.
    ///
    /// [`Wrote::Failed`] concerns this datagram alone: it is not sent.
    pub fn send_datagram(
        &mut self,
        key: Key,
        to: Option<&Name>,
        data: &[u8],
        hold: impl FnOnce() -> Option<H::Bytes>,
    ) -> Wrote {
        let Engine { kernel, reactor, mail, turn, .. } = self;
        let Some((fd, endpoint)) = endpoint_of(reactor, key) else { return Wrote::Closed };
        let stretch = turn.stretch();
        let follows = stretch.is_some() && endpoint.sent_in == stretch;
        let joins = (follows || mail.is_in_batch()) && endpoint.output != Output::Dead;
        endpoint.sent_in = stretch;
        if endpoint.outbox.is_empty() && !joins {
            match kernel.send_datagram(fd, Outbound { to, data }) {
                Ok(()) => return Wrote::Fine,
                Err(error) => match error.kind() {
                    // Nothing is kept for an endpoint that is at its end.
                    io::ErrorKind::WouldBlock if endpoint.output == Output::Dead => {
                        return Wrote::Fine;
                    }
                    io::ErrorKind::WouldBlock => endpoint.blocked = true,
                    io::ErrorKind::Interrupted => {}
                    _ => return Wrote::Failed(error),
                },
            }
        }
        if endpoint.outbox.push(to, data, hold()).is_err() {
            endpoint.blocked &= !endpoint.outbox.is_empty();
            return Wrote::Failed(io::ErrorKind::OutOfMemory.into());
        }
        if !endpoint.blocked {
            self.flush_endpoint_later(key);
        } else if let Err(error) = self.reactor.update(key) {
            // Nobody would tell when there is room: what waits is this datagram alone.
            if let Some(endpoint) = self.endpoint_mut(key) {
                endpoint.outbox.take_back();
                endpoint.blocked = false;
            }
            return Wrote::Failed(error);
        }
        self.pause_endpoint_if_full(key)
    }

    /// Sends what is queued, as far as that is possible now. True if nothing waits any more.
    pub fn send_queued(&mut self, key: Key) -> bool {
        self.post(key);
        // What that brought, the owner is told in its turn.
        self.flush_endpoint_later(key);
        self.endpoint(key).is_none_or(|endpoint| endpoint.outbox.is_empty())
    }

    pub(crate) fn close_endpoint(&mut self, key: Key) -> Closing {
        let Some(endpoint) = self.endpoint_mut(key) else { return Closing::Already };
        if endpoint.output != Output::Open {
            return Closing::Already;
        }
        endpoint.reading = false;
        endpoint.backlog.clear();
        endpoint.output = Output::ClosesAfterQueue;
        let resumes = endpoint.flow.paused;
        // The interest only shrinks.
        let _ = self.reactor.update(key);
        if !resumes {
            self.post(key);
        }
        match self.endpoint_mut(key) {
            // The writer has a resume to come, in which it may send more.
            Some(endpoint) if !resumes && endpoint.is_through() => {
                endpoint.output = Output::Dead;
                Closing::Now
            }
            _ => {
                self.flush_endpoint_later(key);
                Closing::AfterFlush
            }
        }
    }

    /// Sends what would leave at the next flush: it may be long in coming, or never come.
    pub(crate) fn post_waiting(&mut self, key: Key) {
        let waits = |endpoint: &Endpoint<H>| !endpoint.blocked && endpoint.output != Output::Dead;
        if self.endpoint(key).is_some_and(waits) {
            self.post(key);
        }
    }

    pub(crate) fn abort_endpoint(&mut self, key: Key) -> bool {
        self.post_waiting(key);
        let Some(endpoint) = self.endpoint_mut(key) else { return false };
        let alive = endpoint.output != Output::Dead;
        endpoint.reading = false;
        endpoint.blocked = false;
        endpoint.output = Output::Dead;
        endpoint.error = None;
        endpoint.backlog.clear();
        endpoint.outbox.clear();
        let _ = self.reactor.update(key);
        alive
    }

    pub(crate) fn settle_endpoint(&mut self, key: Key) -> Settled {
        let mut settled = Settled { finished: false };
        if let Some(endpoint) = self.endpoint_mut(key)
            && endpoint.is_through()
            && endpoint.output == Output::ClosesAfterQueue
        {
            endpoint.output = Output::Dead;
            settled.finished = true;
        }
        settled
    }

    pub(crate) fn endpoint_buffered(&self, key: Key) -> usize {
        self.endpoint(key).map_or(0, |endpoint| endpoint.outbox.size())
    }

    pub(crate) fn endpoint_limits(&self, key: Key) -> Limits {
        self.endpoint(key).map_or_else(Limits::default, |endpoint| endpoint.flow.limits)
    }

    pub(crate) fn set_endpoint_limits(&mut self, key: Key, limits: Limits) -> Wrote {
        if let Some(endpoint) = self.endpoint_mut(key) {
            endpoint.flow.limits = limits;
        }
        self.pause_endpoint_if_full(key)
    }

    pub(crate) fn is_endpoint_paused(&self, key: Key) -> bool {
        self.endpoint(key).is_some_and(|endpoint| endpoint.flow.paused)
    }

    pub(crate) fn is_endpoint_blocked(&self, key: Key) -> bool {
        self.endpoint(key).is_some_and(|endpoint| endpoint.blocked)
    }

    /// Its turn in the list of what is to be flushed.
    pub(crate) fn flush_dirty_endpoint(&mut self, key: Key) -> Option<Step<H>> {
        let endpoint = self.endpoint_mut(key)?;
        if !std::mem::take(&mut endpoint.dirty) || (endpoint.blocked && endpoint.error.is_none()) {
            return None;
        }
        self.flush_endpoint(key)
    }

    /// Goes on with an endpoint for which the kernel has room again.
    pub(crate) fn endpoint_writable(&mut self, key: Key) -> Option<Step<H>> {
        if !self.endpoint(key)?.blocked {
            return None;
        }
        self.flush_endpoint(key)
    }

    fn flush_endpoint(&mut self, key: Key) -> Option<Step<H>> {
        if self.endpoint(key)?.error.is_none() {
            self.post(key);
        }
        let endpoint = self.endpoint_mut(key)?;
        if let Some(error) = endpoint.error.take() {
            self.flush_endpoint_later(key);
            return Some(Step::DatagramFailed(key, error));
        }
        // Who has aborted is told nothing but the end.
        let alive = endpoint.output != Output::Dead;
        let resume = alive && endpoint.flow.resumes(endpoint.outbox.size());
        let done = endpoint.outbox.is_empty() && endpoint.output == Output::ClosesAfterQueue;
        (resume || done).then_some(Step::Flushed(key, Flushed { resume }))
    }

    /// Sends until the queue is empty, the kernel takes no more, or a datagram is refused.
    fn post(&mut self, key: Key) {
        let Engine { kernel, reactor, .. } = self;
        let Some((fd, endpoint)) = endpoint_of(reactor, key) else { return };
        let was_blocked = std::mem::take(&mut endpoint.blocked);
        while !endpoint.outbox.is_empty() && endpoint.error.is_none() {
            let mut batch = [Outbound { to: None, data: &[] }; BATCH];
            let count = endpoint.outbox.next(&mut batch);
            let sent = match count {
                1 => kernel.send_datagram(fd, batch[0]).map(|()| 1),
                _ => kernel.send_datagrams(fd, &batch[..count]),
            };
            match sent {
                Ok(sent) => endpoint.outbox.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    endpoint.blocked = true;
                    break;
                }
                Err(error) => {
                    endpoint.outbox.advance(1);
                    endpoint.error = Some(error);
                }
            }
        }
        if endpoint.blocked != was_blocked
            && let Err(error) = self.reactor.update(key)
            && let Some(endpoint) = self.endpoint_mut(key)
        {
            // Nobody would tell when there is room.
            endpoint.blocked = false;
            endpoint.outbox.clear();
            endpoint.error = Some(error);
        }
    }

    fn flush_endpoint_later(&mut self, key: Key) {
        if let Some(endpoint) = self.endpoint_mut(key)
            && !endpoint.dirty
            && (!endpoint.blocked || endpoint.error.is_some())
        {
            endpoint.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// What exceeds the high mark is sent, as far as the kernel takes it, before the writer pauses.
    fn pause_endpoint_if_full(&mut self, key: Key) -> Wrote {
        let Some(endpoint) = self.endpoint_mut(key) else { return Wrote::Fine };
        if !endpoint.blocked && endpoint.outbox.size() > endpoint.flow.limits.high {
            self.post(key);
            self.flush_endpoint_later(key);
        }
        let Some(endpoint) = self.endpoint_mut(key) else { return Wrote::Fine };
        if endpoint.flow.pauses(endpoint.outbox.size()) { Wrote::Pause } else { Wrote::Fine }
    }
}
