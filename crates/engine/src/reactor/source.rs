//! One registered descriptor.

use oxloop_os::{Fd, Interest};

use crate::child::Child;
use crate::datagram::Endpoint;
use crate::host::Host;
use crate::listener::Listener;
use crate::stream::Stream;
use crate::watch::Watch;

pub(crate) struct Source<H: Host> {
    pub(crate) fd: Fd,
    pub(crate) armed: Interest,
    pub(crate) kind: Kind<H>,
}

pub(crate) enum Kind<H: Host> {
    Watch(Watch<H>),
    Stream(Stream<H>),
    /// Larger than the others, and rarer.
    Datagram(Box<Endpoint<H>>),
    Listener(Listener<H>),
    Child(Child<H>),
}

impl<H: Host> Source<H> {
    /// A watch without jobs: nothing is lost with it.
    pub(crate) fn is_idle_watch(&self) -> bool {
        matches!(&self.kind, Kind::Watch(watch) if watch.wanted() == Interest::NONE)
    }

    /// What the poller should report, as things stand.
    #[inline]
    pub(crate) fn wanted(&self) -> Interest {
        match &self.kind {
            Kind::Watch(watch) => watch.wanted(),
            Kind::Stream(stream) => stream.wanted(),
            Kind::Datagram(endpoint) => endpoint.wanted(),
            Kind::Listener(listener) => listener.wanted(),
            Kind::Child(_) => Interest { read: true, write: false },
        }
    }
}
