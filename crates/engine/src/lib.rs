//! The mechanics of asyncio's event loop: turns, timers, readiness, streams, datagrams. No
//! Python.
//!
//! An [`Engine`] is driven by its host: [`Engine::step`] runs the loop up to the next thing that
//! the host has to do, and returns it as a [`Step`]; no borrow of the engine is left then, so the
//! host may run any code, which may call the engine again. The engine never calls its host.
//!
//! It stores what belongs to the host (callbacks, connections) behind the nouns of [`Host`], never
//! looks inside, and never drops a [`Host::Job`] or [`Host::Conn`]: what it evicts, it returns.
#![forbid(unsafe_code)]

mod budget;
mod child;
mod datagram;
mod engine;
mod host;
mod inbox;
mod kernel;
mod listener;
mod moment;
mod reactor;
mod ready;
mod resolver;
mod slots;
mod step;
mod stream;
mod sync;
mod timers;
mod tls;
mod turn;
mod watch;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use child::Exited;
pub use datagram::Measures;
pub use engine::{Engine, Payload};
pub use host::Host;
pub use inbox::{Crowd, Door};
pub use kernel::{Kernel, System};
pub use moment::{Moment, NotATime};
pub use oxloop_os::datagram::{Inbound, Outbound};
pub use oxloop_os::process::Exit;
pub use oxloop_os::resolve::{Answer, Found, Query};
pub use oxloop_os::socket::Address;
pub use oxloop_os::{Batch, Event, Fd, Interest, Name};
pub use reactor::Owner;
pub use ready::Ready;
pub use resolver::{LookUp, needs_no_network};
pub use slots::{Key, Slots};
pub use step::{AcceptFailure, Direction, Flushed, Step, Wait};
pub use stream::{Closing, End, FileSent, Limits, ReadQueue, Settled, WriteQueue, Wrote};
pub use timers::Timers;
pub use tls::{Farewell, FlowChange, Progress, Pump, Taken, TlsSession, TlsStep};
pub use watch::Replaced;
