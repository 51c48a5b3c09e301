//! The receiving half: batches of datagrams, given out one by one.
//!
//! A readable socket is asked once for up to [`BATCH`](oxloop_os::datagram::BATCH) datagrams; what
//! is there beyond, the poller reports again, after the other events. They are delivered one step
//! each, with nothing flushed in between, so that the answers to a batch leave together.
//!
//! **What was received is delivered**, in its order, unless its endpoint is closed first. If the
//! owner pauses in the middle of a batch, or the run is interrupted, the rest goes to the endpoint's
//! backlog, and is the first to be delivered when reading goes on.

use std::collections::VecDeque;
use std::io;

use oxloop_os::datagram::Inbound;

use crate::datagram::{Endpoint, Output};
use crate::engine::Engine;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::slots::Key;
use crate::step::Step;

/// The batch that is being delivered.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    inbound: Inbound,
    /// Whose batch it is.
    key: Option<Key>,
    /// How many of the batch have been given out.
    given: usize,
    /// What was given out last, if it came from a backlog.
    kept: Option<Kept>,
    /// Endpoints whose backlog is to be delivered.
    overdue: VecDeque<Key>,
}

/// A datagram that was received earlier.
#[derive(Debug)]
pub(crate) struct Kept {
    from: Box<[u8]>,
    data: Box<[u8]>,
}

impl Mail {
    /// More of the batch will be delivered before anything is flushed.
    #[inline]
    pub(crate) fn is_in_batch(&self) -> bool {
        self.given < self.inbound.len() && self.key.is_some()
    }

    /// Something is left over from an earlier batch.
    #[inline]
    pub(crate) fn is_overdue(&self) -> bool {
        !self.overdue.is_empty()
    }
}

impl<H: Host> Engine<H> {
    /// The datagram of the last [`Step::Datagram`], and the raw name of its sender, which is empty
    /// if it has none.
    #[inline]
    pub fn datagram(&self) -> (&[u8], &[u8]) {
        match &self.mail.kept {
            Some(kept) => (&kept.data, &kept.from),
            None => {
                let last = self.mail.given.wrapping_sub(1);
                (self.mail.inbound.data(last), self.mail.inbound.name(last))
            }
        }
    }

    /// Takes what a readable endpoint has, and gives out the first of it.
    pub(crate) fn datagrams_ready(&mut self, key: Key) -> Option<Step<H>> {
        let fd = self.reactor.get(key)?.fd;
        let endpoint = self.endpoint(key)?;
        if !endpoint.reading {
            return None;
        }
        let largest = endpoint.largest as usize;
        let mail = &mut self.mail;
        (mail.key, mail.given) = (None, 0);
        let received = mail
            .inbound
            .prepare(largest)
            .and_then(|()| self.kernel.receive_datagrams(fd, &mut mail.inbound));
        match received {
            Ok(()) => {
                mail.key = Some(key);
                self.next_datagram()
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => None,
                _ => Some(Step::DatagramFailed(key, error)),
            },
        }
    }

    /// The next datagram that has come and is not delivered.
    #[inline]
    pub(crate) fn next_datagram(&mut self) -> Option<Step<H>> {
        if self.mail.is_in_batch() {
            let key = self.mail.key?;
            if self.endpoint(key).is_some_and(|endpoint| endpoint.reading) {
                self.mail.given += 1;
                self.mail.kept = None;
                return Some(Step::Datagram(key));
            }
            self.keep_rest();
        }
        if self.mail.is_overdue() { self.next_overdue() } else { None }
    }

    #[cold]
    fn next_overdue(&mut self) -> Option<Step<H>> {
        while let Some(&key) = self.mail.overdue.front() {
            if let Some(endpoint) = self.endpoint_mut(key) {
                let next = endpoint.next_kept();
                if next.is_some() {
                    self.mail.kept = next;
                    return Some(Step::Datagram(key));
                }
                endpoint.overdue = false;
            }
            self.mail.overdue.pop_front();
        }
        None
    }

    /// Ends the batch: what is left of it is for later, if its endpoint is still open.
    #[cold]
    pub(crate) fn keep_rest(&mut self) {
        let Some(key) = self.mail.key.take() else { return };
        let rest = self.mail.given..self.mail.inbound.len();
        if let Some((_, endpoint)) = super::endpoint_of(&mut self.reactor, key)
            && endpoint.output == Output::Open
        {
            let inbound = &self.mail.inbound;
            for at in rest {
                // Without memory they are lost, as datagrams may be.
                if let Some(kept) = keep(inbound.name(at), inbound.data(at))
                    && endpoint.backlog.try_reserve(1).is_ok()
                {
                    endpoint.backlog.push(kept);
                }
            }
        }
        self.note_overdue(key);
    }

    /// Reading goes on, or was interrupted: a backlog is to be delivered.
    pub(super) fn note_overdue(&mut self, key: Key) {
        if let Some((_, endpoint)) = super::endpoint_of(&mut self.reactor, key)
            && endpoint.reading
            && !endpoint.backlog.is_empty()
            && !endpoint.overdue
        {
            endpoint.overdue = true;
            self.mail.overdue.push_back(key);
        }
    }

    /// Delivers from now on, or not.
    pub(crate) fn set_endpoint_reading(&mut self, key: Key, reading: bool) {
        if let Some(endpoint) = self.endpoint_mut(key) {
            endpoint.reading = reading && endpoint.output == Output::Open;
            self.note_overdue(key);
        }
    }
}

impl<H: Host> Endpoint<H> {
    fn next_kept(&mut self) -> Option<Kept> {
        let any = self.reading && !self.backlog.is_empty();
        any.then(|| self.backlog.remove(0))
    }
}

fn keep(from: &[u8], data: &[u8]) -> Option<Kept> {
    Some(Kept { from: copy(from)?, data: copy(data)? })
}

fn copy(bytes: &[u8]) -> Option<Box<[u8]>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(copy.into_boxed_slice())
}
