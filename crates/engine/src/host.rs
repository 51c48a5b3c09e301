//! The nouns at the border between the engine and who drives it.

use crate::kernel::Kernel;
use crate::tls::TlsSession;

/// What a host calls the things that the engine keeps for it. The engine stores and returns them;
/// it never looks inside.
pub trait Host: 'static {
    /// Something to run: a handle.
    type Job;
    /// Whom a stream or a listener belongs to: a transport, a server.
    type Conn;
    /// Bytes to send that somebody else keeps in memory. The one payload that the engine drops
    /// itself, when they are sent: dropping one must not call the engine.
    type Bytes: AsRef<[u8]>;
    /// What encrypts a connection, for a [`Pump`](crate::Pump). The only noun with behaviour.
    type Tls: TlsSession;
    /// The system calls: the operating system's, or a script in tests.
    type Kernel: Kernel;

    /// Timers fire in another order than they were made in, so their jobs lie all over the memory.
    /// This one is run soon: the host may have it fetched into the caches.
    fn approach(_job: &Self::Job) {}
}
