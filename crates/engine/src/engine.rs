//! The engine: its parts, and what its host may ask of it at any time.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use oxloop_os::{Batch, Fd};

use crate::budget::Budget;
use crate::datagram::Mail;
use crate::host::Host;
use crate::inbox::{Door, Inbox};
use crate::moment::Moment;
use crate::reactor::{Kind, Reactor};
use crate::ready::Ready;
use crate::resolver::Resolver;
use crate::slots::Key;
use crate::timers::Timers;
use crate::turn::Turn;

/// An event loop without its host. One thread owns it; others use a [`Door`].
pub struct Engine<H: Host> {
    pub(crate) kernel: Arc<H::Kernel>,
    pub(crate) reactor: Reactor<H>,
    pub(crate) ready: Ready<H::Job>,
    pub(crate) timers: Timers<H::Job>,
    /// Timers of this turn, out of the heap: run in this order, unless cancelled meanwhile.
    pub(crate) due: VecDeque<Key>,
    pub(crate) inbox: Inbox<H::Job>,
    pub(crate) resolver: Resolver<H>,
    /// Streams and endpoints with something to flush.
    pub(crate) dirty: VecDeque<Key>,
    /// About how many bytes of large writes wait for others to join them; none if nothing is dirty.
    pub(crate) joined: usize,
    /// Where streams read to.
    pub(crate) scratch: Vec<u8>,
    /// Where datagrams are received.
    pub(crate) mail: Mail,
    /// The events of the last wait; it is away during one.
    pub(crate) batch: Batch,
    pub(crate) budget: Budget,
    pub(crate) turn: Turn,
}

/// Something of the host's that the engine holds.
#[derive(Debug)]
pub enum Payload<J, C> {
    Job(J),
    Conn(C),
    /// A child process, and the descriptor that tells of its end.
    Child(C, Fd),
}

impl<H: Host> Engine<H> {
    pub fn new(kernel: H::Kernel) -> Engine<H> {
        let kernel = Arc::new(kernel);
        Engine {
            reactor: Reactor::new(kernel.clone()),
            kernel,
            ready: Ready::default(),
            timers: Timers::default(),
            due: VecDeque::new(),
            inbox: Inbox::new(),
            resolver: Resolver::default(),
            dirty: VecDeque::new(),
            joined: 0,
            scratch: Vec::new(),
            mail: Mail::default(),
            batch: Batch::default(),
            budget: Budget::new(),
            turn: Turn::default(),
        }
    }

    /// Runs `job` in the next turn, after those that are ready. Gives it back if there is no
    /// memory.
    #[inline]
    pub fn call_soon(&mut self, job: H::Job) -> Result<(), H::Job> {
        self.ready.push(job)
    }

    /// As [`Engine::call_soon`], of a job that is made in its place in the queue. False if there is no
    /// memory for it.
    #[inline]
    pub fn call_soon_made(&mut self, make: impl FnOnce() -> H::Job) -> bool {
        self.ready.push_made(make)
    }

    /// Runs `job` when the clock has reached `deadline`. Gives it back if there is no memory.
    pub fn call_at(&mut self, deadline: Moment, job: H::Job) -> Result<Key, H::Job> {
        self.timers.push(deadline, job)
    }

    /// Takes back the job of a timer that has not run.
    pub fn cancel_timer(&mut self, key: Key) -> Option<H::Job> {
        self.timers.cancel(key)
    }

    /// A way in for other threads.
    pub fn door(&self) -> Door<H::Job, H::Kernel> {
        self.inbox.door(&self.kernel)
    }

    /// Ends the run after the current turn, or after the first turn of the next run.
    pub fn stop(&mut self, stop: bool) {
        self.turn.stopping = stop;
    }

    pub fn is_stopping(&self) -> bool {
        self.turn.stopping
    }

    /// The clock is not ours and may jump: look at it in every turn.
    pub fn set_strict_clock(&mut self, strict: bool) {
        self.budget.strict = strict;
    }

    /// So many callbacks may run between two looks at the clock, while they are short: I/O and timers
    /// wait for no more of them. For a host whose callbacks cost less than a look.
    pub fn set_stride(&mut self, longest: usize) {
        self.budget.longest = longest.max(1);
    }

    /// Reaches everything of the host's that is stored here.
    pub fn visit(&self, mut each: impl FnMut(Payload<&H::Job, &H::Conn>)) {
        self.ready.iter().for_each(|job| each(Payload::Job(job)));
        self.timers.iter().for_each(|job| each(Payload::Job(job)));
        self.inbox.visit(&mut |job| each(Payload::Job(job)));
        self.resolver.iter().for_each(|conn| each(Payload::Conn(conn)));
        for source in self.reactor.iter() {
            match &source.kind {
                Kind::Watch(watch) => {
                    watch
                        .reader
                        .iter()
                        .chain(&watch.writer)
                        .for_each(|job| each(Payload::Job(job)));
                }
                Kind::Stream(stream) => each(Payload::Conn(&stream.conn)),
                Kind::Datagram(endpoint) => each(Payload::Conn(&endpoint.conn)),
                Kind::Listener(listener) => each(Payload::Conn(&listener.conn)),
                Kind::Child(child) => each(Payload::Child(&child.conn, source.fd)),
            }
        }
    }

    /// Takes out everything of the host's: the loop is closed.
    pub fn drain(&mut self) -> Vec<Payload<H::Job, H::Conn>> {
        let mut all = Vec::new();
        while let Some(job) = self.ready.pop() {
            all.push(Payload::Job(job));
        }
        all.extend(self.timers.drain().into_iter().map(Payload::Job));
        all.extend(self.inbox.drain().map(Payload::Job));
        all.extend(self.resolver.drain().into_iter().map(Payload::Conn));
        for source in self.reactor.drain() {
            match source.kind {
                Kind::Watch(watch) => {
                    all.extend(watch.reader.into_iter().chain(watch.writer).map(Payload::Job));
                }
                Kind::Stream(stream) => all.push(Payload::Conn(stream.conn)),
                Kind::Datagram(endpoint) => all.push(Payload::Conn(endpoint.conn)),
                Kind::Listener(listener) => all.push(Payload::Conn(listener.conn)),
                Kind::Child(child) => all.push(Payload::Child(child.conn, source.fd)),
            }
        }
        self.due.clear();
        self.dirty.clear();
        self.batch.events.clear();
        self.scratch = Vec::new();
        self.mail = Mail::default();
        all
    }
}

impl<H: Host> fmt::Debug for Engine<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("ready", &self.ready.len())
            .field("timers", &self.timers.len())
            .field("turn", &self.turn)
            .finish_non_exhaustive()
    }
}
