//! The kernel as the engine sees it, so that a test can be one.

use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use oxloop_os::datagram::{self, Inbound, Outbound};
use oxloop_os::file;
use oxloop_os::process::{self, Exit};
use oxloop_os::socket::{self, Address};
use oxloop_os::{Batch, Fd, Interest, Name, Poller, clock, fd};
use oxloop_os::{peer, resolve};

use crate::resolver::LookUp;

/// The system calls that the engine makes. Shared with the waiting thread and with [`Door`]s, of
/// which only `wake` is called from other threads.
///
/// [`Door`]: crate::Door
pub trait Kernel: Send + Sync + 'static {
    fn add(&self, fd: Fd, token: u64, interest: Interest) -> io::Result<()>;
    fn modify(&self, fd: Fd, token: u64, interest: Interest) -> io::Result<()>;
    fn remove(&self, fd: Fd) -> io::Result<()>;
    /// Makes whatever `wait` and `wake` need, so that no wake-up is lost from here on.
    fn prepare(&self) -> io::Result<()>;
    /// Forgets all registrations, also those that `remove` cannot reach.
    fn renew(&self) -> io::Result<()>;
    fn wait(&self, batch: &mut Batch, timeout: Option<Duration>) -> io::Result<()>;
    fn wake(&self);

    fn receive(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<usize>;
    /// As `receive`, of a socket that may be a blocking one: never waits.
    fn try_receive(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<usize>;
    /// As `try_receive`, with the name of the sender.
    fn try_receive_from(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<(usize, Name)>;
    fn send(&self, fd: Fd, data: &[u8]) -> io::Result<usize>;
    fn send_vectored(&self, fd: Fd, pieces: &[IoSlice<'_>]) -> io::Result<usize>;
    fn shutdown_write(&self, fd: Fd) -> io::Result<()>;
    /// Sends up to `count` bytes of a file from `offset` on; 0 is its end.
    fn send_file(&self, fd: Fd, file: Fd, offset: u64, count: usize) -> io::Result<usize>;
    /// As `receive`, of what is no socket; so are the two below.
    fn read(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&self, fd: Fd, data: &[u8]) -> io::Result<usize>;
    fn write_vectored(&self, fd: Fd, pieces: &[IoSlice<'_>]) -> io::Result<usize>;
    fn accept(&self, listener: Fd) -> io::Result<(Fd, Address)>;
    /// What looks names up, for threads that outlive us.
    fn look_up(&self) -> LookUp;

    fn receive_datagrams(&self, fd: Fd, inbound: &mut Inbound) -> io::Result<()>;
    fn send_datagram(&self, fd: Fd, message: Outbound<'_>) -> io::Result<()>;
    /// How many of the messages were sent; an error is that of the first.
    fn send_datagrams(&self, fd: Fd, messages: &[Outbound<'_>]) -> io::Result<usize>;
    /// How a child has ended, if it has, and the end of it.
    fn reap(&self, pidfd: Fd) -> io::Result<Option<Exit>>;
}

/// The operating system. Its poller is made when it is first needed: a loop that never waits and
/// watches nothing costs no descriptor.
#[derive(Debug, Default)]
pub struct System {
    poller: OnceLock<Poller>,
}

impl System {
    fn poller(&self) -> io::Result<&Poller> {
        if let Some(poller) = self.poller.get() {
            return Ok(poller);
        }
        let poller = Poller::new()?;
        Ok(self.poller.get_or_init(|| poller))
    }
}

/// How long a wait without a poller is: nothing can end it early.
const NAP: Duration = Duration::from_millis(5);

/// Out of descriptors or memory before there was a poller: nothing can be watched, so nothing is
/// missed but the wake-ups of other threads, which have to wait for the end of a nap.
fn without_poller(error: io::Error, timeout: Option<Duration>) -> io::Result<()> {
    if !fd::is_shortage(&error) {
        return Err(error);
    }
    clock::nap(timeout.map_or(NAP, |timeout| timeout.min(NAP)));
    Ok(())
}

impl Kernel for System {
    fn add(&self, fd: Fd, token: u64, interest: Interest) -> io::Result<()> {
        self.poller()?.add(fd, token, interest)
    }

    fn modify(&self, fd: Fd, token: u64, interest: Interest) -> io::Result<()> {
        self.poller()?.modify(fd, token, interest)
    }

    fn remove(&self, fd: Fd) -> io::Result<()> {
        self.poller()?.remove(fd)
    }

    fn prepare(&self) -> io::Result<()> {
        self.poller().map(drop).or_else(|error| without_poller(error, Some(Duration::ZERO)))
    }

    fn renew(&self) -> io::Result<()> {
        self.poller()?.renew()
    }

    fn wait(&self, batch: &mut Batch, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) && self.poller.get().is_none() {
            // A look at nothing.
            return Ok(());
        }
        match self.poller() {
            Ok(poller) => poller.wait(batch, timeout),
            Err(error) => without_poller(error, timeout),
        }
    }

    fn wake(&self) {
        // Without a poller nobody has waited yet: there is nothing to wake.
        if let Some(poller) = self.poller.get() {
            poller.wake();
        }
    }

    fn receive(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<usize> {
        socket::receive(fd, buffer)
    }

    fn try_receive(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<usize> {
        socket::try_receive(fd, buffer)
    }

    fn try_receive_from(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<(usize, Name)> {
        peer::receive_from(fd, buffer)
    }

    fn send(&self, fd: Fd, data: &[u8]) -> io::Result<usize> {
        socket::send(fd, data)
    }

    fn send_vectored(&self, fd: Fd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        socket::send_vectored(fd, pieces)
    }

    fn shutdown_write(&self, fd: Fd) -> io::Result<()> {
        socket::shutdown_write(fd)
    }

    fn send_file(&self, fd: Fd, file: Fd, offset: u64, count: usize) -> io::Result<usize> {
        socket::send_file(fd, file, offset, count)
    }

    fn read(&self, fd: Fd, buffer: &mut [u8]) -> io::Result<usize> {
        file::read(fd, buffer)
    }

    fn write(&self, fd: Fd, data: &[u8]) -> io::Result<usize> {
        file::write(fd, data)
    }

    fn write_vectored(&self, fd: Fd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        file::write_vectored(fd, pieces)
    }

    fn accept(&self, listener: Fd) -> io::Result<(Fd, Address)> {
        socket::accept(listener)
    }

    fn look_up(&self) -> LookUp {
        Arc::new(resolve::look_up)
    }

    #[inline]
    fn receive_datagrams(&self, fd: Fd, inbound: &mut Inbound) -> io::Result<()> {
        datagram::receive_many(fd, inbound)
    }

    #[inline]
    fn send_datagram(&self, fd: Fd, message: Outbound<'_>) -> io::Result<()> {
        datagram::send_one(fd, message)
    }

    fn send_datagrams(&self, fd: Fd, messages: &[Outbound<'_>]) -> io::Result<usize> {
        datagram::send_many(fd, messages)
    }

    fn reap(&self, pidfd: Fd) -> io::Result<Option<Exit>> {
        process::reap(pidfd)
    }
}
