//! `sendfile`: a file that the system sends, behind what waits.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::task::Poll;

use oxloop_engine::{Fd, FileSent};

use super::{Connection, Transport};

impl Transport {
    /// Sends a file from `offset` on: `count` bytes, or up to its end; how many were sent. Meanwhile
    /// nothing else can be written. The file's own position stays where it is. TLS reads the file
    /// and encrypts it instead.
    ///
    /// Dropping the future before it is done stops sending.
    ///
    /// # Errors
    /// What the system says about the file or the connection.
    pub async fn sendfile(
        &self,
        file: &std::fs::File,
        offset: u64,
        count: Option<u64>,
    ) -> io::Result<u64> {
        let this = &self.0;
        if this.tls().is_some() {
            return send_by_reading(self, file, offset, count).await;
        }
        let Some(stream) = this.stream().filter(|_| !self.is_closing()) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if this.sending_file.get() || this.eof_written.get() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let fd = Fd::new(file.as_raw_fd()).ok_or(io::ErrorKind::InvalidInput)?;
        let begun = this.hub.engine().send_file(stream, fd, offset, count);
        let sent = match begun {
            Ok(Some(sent)) => sent,
            Ok(None) => {
                this.sending_file.set(true);
                let _sending = Sending(this);
                poll_fn(|cx| {
                    if let Some(sent) = this.file_sent.take() {
                        return Poll::Ready(sent);
                    }
                    let before = this.file_waiter.replace(Some(cx.waker().clone()));
                    drop(before);
                    Poll::Pending
                })
                .await
            }
            Err(error) => {
                let kind = error.kind();
                this.force_close(Some(error));
                return Err(kind.into());
            }
        };
        match sent.error {
            Some(error) => Err(error),
            None => Ok(sent.sent),
        }
    }
}

/// A file is on its way, until this is dropped.
struct Sending<'a>(&'a Rc<Connection>);

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let this = self.0;
        this.sending_file.set(false);
        if let Some(stream) = this.stream() {
            this.hub.engine().stop_file(stream);
        }
        let waiter = this.file_waiter.take();
        drop(waiter);
    }
}

/// Reads the file in pieces, minding flow control.
async fn send_by_reading(
    transport: &Transport,
    file: &std::fs::File,
    mut offset: u64,
    count: Option<u64>,
) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
    const PIECE: usize = 64 * 1024;
    let mut left = count.unwrap_or(u64::MAX);
    let mut sent = 0;
    while left > 0 {
        let mut piece = vec![0; left.min(PIECE as u64) as usize];
        let length = file.read_at(&mut piece, offset)?;
        if length == 0 {
            break;
        }
        piece.truncate(length);
        while transport.0.is_write_paused() {
            crate::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        if transport.is_closing() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        transport.write_vec(piece);
        offset += length as u64;
        sent += length as u64;
        left -= length as u64;
    }
    Ok(sent)
}

impl Connection {
    pub(super) fn file_over(&self, sent: FileSent) {
        self.file_sent.set(Some(sent));
        self.wake_sender();
    }

    /// The connection has ended: so has the file.
    pub(super) fn file_lost(&self) {
        if self.sending_file.get() {
            let error = Some(io::ErrorKind::NotConnected.into());
            self.file_sent.set(Some(FileSent { sent: 0, error }));
            self.wake_sender();
        }
    }

    fn wake_sender(&self) {
        let waiter = self.file_waiter.take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}
