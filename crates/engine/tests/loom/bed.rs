//! A kernel to sleep on and to be woken from, and nothing else.

use std::io::{self, IoSlice};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use loom::sync::{Condvar, Mutex};
use oxloop_engine::{
    Address, Answer, Batch, Exit, Fd, Inbound, Interest, Kernel, LookUp, Name, Outbound,
};

/// Wakes as an eventfd does: rung before the wait, the wait is short.
#[derive(Debug, Default)]
pub(crate) struct Bed {
    rung: Mutex<bool>,
    woken: Condvar,
}

fn nothing<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Kernel for Bed {
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    fn wait(&self, batch: &mut Batch, timeout: Option<Duration>) -> io::Result<()> {
        batch.events.clear();
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while timeout.is_none() && !*rung {
            rung = self.woken.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
        *rung = false;
        Ok(())
    }

    fn wake(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_one();
    }

    fn look_up(&self) -> LookUp {
        Arc::new(|_| Answer::Refused(-2, Vec::new()))
    }

    fn add(&self, _: Fd, _: u64, _: Interest) -> io::Result<()> {
        nothing()
    }

    fn modify(&self, _: Fd, _: u64, _: Interest) -> io::Result<()> {
        nothing()
    }

    fn remove(&self, _: Fd) -> io::Result<()> {
        nothing()
    }

    fn renew(&self) -> io::Result<()> {
        nothing()
    }

    fn receive(&self, _: Fd, _: &mut [u8]) -> io::Result<usize> {
        nothing()
    }

    fn try_receive(&self, _: Fd, _: &mut [u8]) -> io::Result<usize> {
        nothing()
    }

    fn try_receive_from(&self, _: Fd, _: &mut [u8]) -> io::Result<(usize, Name)> {
        nothing()
    }

    fn send(&self, _: Fd, _: &[u8]) -> io::Result<usize> {
        nothing()
    }

    fn send_vectored(&self, _: Fd, _: &[IoSlice<'_>]) -> io::Result<usize> {
        nothing()
    }

    fn shutdown_write(&self, _: Fd) -> io::Result<()> {
        nothing()
    }

    fn send_file(&self, _: Fd, _: Fd, _: u64, _: usize) -> io::Result<usize> {
        nothing()
    }

    fn read(&self, _: Fd, _: &mut [u8]) -> io::Result<usize> {
        nothing()
    }

    fn write(&self, _: Fd, _: &[u8]) -> io::Result<usize> {
        nothing()
    }

    fn write_vectored(&self, _: Fd, _: &[IoSlice<'_>]) -> io::Result<usize> {
        nothing()
    }

    fn accept(&self, _: Fd) -> io::Result<(Fd, Address)> {
        nothing()
    }

    fn receive_datagrams(&self, _: Fd, _: &mut Inbound) -> io::Result<()> {
        nothing()
    }

    fn send_datagram(&self, _: Fd, _: Outbound<'_>) -> io::Result<()> {
        nothing()
    }

    fn send_datagrams(&self, _: Fd, _: &[Outbound<'_>]) -> io::Result<usize> {
        nothing()
    }

    fn reap(&self, _: Fd) -> io::Result<Option<Exit>> {
        nothing()
    }
}
