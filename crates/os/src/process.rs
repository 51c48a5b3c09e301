//! The end of child processes, by pidfd: no signal, no thread, nobody else's children.

use std::io;
use std::os::fd::AsFd;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use crate::fd::Fd;

/// How a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By a signal of this number.
    Signal(i32),
}

/// A descriptor that becomes readable when the process ends; not inherited by children. The
/// caller's to close. Refused before Linux 5.3, by some sandboxes, and without a free descriptor.
pub fn watch(pid: i32) -> io::Result<Fd> {
    let pid = Some(pid).filter(|&pid| pid > 0).and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Fd::from_owned(pidfd_open(pid, PidfdFlags::empty())?))
}

/// Sends a signal to the process, and to no other that has got its number.
pub fn send_signal(pidfd: Fd, signal: i32) -> io::Result<()> {
    let signal = Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_send_signal(pidfd.borrow(), signal)?)
}

/// Reaps a child that has ended; `None` if it has not. `ECHILD`: somebody else has reaped it.
pub fn reap(pidfd: Fd) -> io::Result<Option<Exit>> {
    let pidfd = pidfd.borrow();
    let ended =
        waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
    Ok(ended.and_then(|status| match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Some(Exit::Code(code)),
        (None, Some(signal)) => Some(Exit::Signal(signal)),
        (None, None) => None,
    }))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Exit, reap, send_signal, watch};
    use crate::fd::Fd;
    use crate::poller::{Batch, Interest, Poller};

    /// Starts a shell command and waits, by its pidfd, until it has ended.
    #[expect(clippy::zombie_processes, reason = "reaped by the function that is tested")]
    fn ended(script: &str) -> Fd {
        let child = Command::new("/bin/sh").arg("-c").arg(script).spawn().unwrap();
        let pidfd = watch(i32::try_from(child.id()).unwrap()).unwrap();
        let poller = Poller::new().unwrap();
        poller.add(pidfd, 7, Interest { read: true, write: false }).unwrap();
        let mut batch = Batch::default();
        while batch.events.is_empty() {
            poller.wait(&mut batch, Some(Duration::from_secs(10))).unwrap();
        }
        pidfd
    }

    #[test]
    fn exits_are_told_once() {
        for (script, exit) in [("exit 3", Exit::Code(3)), ("kill -9 $$", Exit::Signal(9))] {
            let pidfd = ended(script);
            assert_eq!(reap(pidfd).unwrap(), Some(exit));
            assert!(reap(pidfd).is_err());
            pidfd.close();
        }
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "reaped by the function that is tested")]
    fn signals_reach_the_process() {
        let child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let pidfd = watch(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(send_signal(pidfd, -1).is_err());
        send_signal(pidfd, 9).unwrap();
        while reap(pidfd).unwrap().is_none() {
            std::thread::yield_now();
        }
        assert!(send_signal(pidfd, 9).is_err());
        pidfd.close();
    }

    #[test]
    fn no_process_has_such_a_number() {
        assert!(watch(0).is_err());
        assert!(watch(-5).is_err());
        assert!(watch(i32::MAX).is_err());
    }
}
