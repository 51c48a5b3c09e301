//! Streams: connections for async code, with the traits of the ecosystem.
//!
//! A [`Stream`] reads straight into its reader's memory: the engine says that something is there, the
//! task that waits takes its step inside of that event, and reads. What nobody waits for stays with
//! the system, which tells the peer to wait.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use oxloop_engine::Key;

use crate::task;
use crate::transport::{Connection, Transport, Upper};

/// What one call of `poll_write` takes at most (bytes).
const AT_MOST: usize = 256 * 1024;

/// A connection or pipe that async code reads and writes, by the traits of `futures-io` (and with the
/// feature `hyper` those of hyper).
///
/// Writing is buffered like a transport's: data leaves when the task waits for something, and
/// `poll_write` waits when too much does. Dropping the stream closes the connection once everything
/// that was written is sent.
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use oxloop::ServerOptions;
///
/// oxloop::run(async {
///     let event_loop = oxloop::get_running_loop().unwrap();
///     let echo = |mut stream: oxloop::Stream| async move {
///         let mut line = [0; 5];
///         stream.read_exact(&mut line).await.unwrap();
///         stream.write_all(&line).await.unwrap();
///     };
///     let server = event_loop.start_server(echo, "127.0.0.1", 0, ServerOptions::default()).await?;
///     let port = server.local_addrs()[0].port();
///
///     let mut client = event_loop.open_connection("127.0.0.1", port, Default::default()).await?;
///     client.write_all(b"hello").await?;
///     let mut answer = String::new();
///     client.read_to_string(&mut answer).await?;
///     assert_eq!(answer, "hello");
///     Ok::<(), std::io::Error>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stream {
    connection: Rc<Connection>,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    /// There may be something to read.
    readable: Cell<bool>,
    /// The engine was told not to look for more.
    stopped: Cell<bool>,
    ended: Cell<bool>,
    lost: Cell<bool>,
    /// Too much waits to be sent.
    full: Cell<bool>,
    reader: Cell<Option<Waiter>>,
    writer: Cell<Option<Waker>>,
    /// Why the connection was lost, for whoever asks first.
    error: RefCell<Option<io::Error>>,
}

/// Who waits for data.
enum Waiter {
    /// A task of the loop, which may take its step at once.
    Task(Key),
    Other(Waker),
}

/// The user of the connection.
#[derive(Debug)]
pub struct Reader(Rc<State>);

impl Reader {
    /// There may be something to read. Whether anybody waits for it.
    pub(crate) fn readable(&mut self) -> bool {
        let state = &self.0;
        state.readable.set(true);
        let waited = state.reader.take();
        let anybody = waited.is_some();
        state.reader.set(waited);
        anybody
    }

    /// The engine does not look any more until somebody reads.
    pub(crate) fn stopped(&mut self) {
        self.0.stopped.set(true);
    }

    pub(crate) fn ended(&mut self) -> bool {
        self.0.ended.set(true);
        // Writing may go on: who owns the stream decides.
        true
    }

    pub(crate) fn pause_writing(&mut self) {
        self.0.full.set(true);
    }

    pub(crate) fn resume_writing(&mut self) {
        self.0.full.set(false);
        self.0.wake_writer();
    }

    pub(crate) fn connection_lost(&mut self, error: Option<&io::Error>) {
        let state = &self.0;
        state.lost.set(true);
        // An error cannot be had twice: its number or its kind can.
        *state.error.borrow_mut() = error.map(copy_of);
        state.wake_writer();
    }

    /// Who waits for data, to be woken when nothing is borrowed.
    pub(crate) fn take_waiter(&self) -> Option<Woken> {
        self.0.reader.take().map(Woken)
    }
}

/// Somebody whose wait is over.
pub(crate) struct Woken(Waiter);

impl Woken {
    /// Lets a task take its step now, and wakes anybody else.
    pub(crate) fn go_on(self, connection: &Rc<Connection>) {
        match self.0 {
            Waiter::Task(key) => {
                if !task::step(&connection.hub, key) {
                    // The main task, which is stepped by who runs the loop.
                    connection.hub.ready(key);
                }
            }
            Waiter::Other(waker) => waker.wake(),
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("readable", &self.readable.get())
            .field("ended", &self.ended.get())
            .field("lost", &self.lost.get())
            .finish_non_exhaustive()
    }
}

impl State {
    fn wake_writer(&self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    /// The connection is over: what there is to say about it.
    fn verdict(&self) -> io::Error {
        self.error.borrow_mut().take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

impl Stream {
    /// What a connection is opened with to become a stream.
    pub(crate) fn upper() -> (Upper, impl FnOnce(Rc<Connection>) -> Stream) {
        let state = Rc::new(State::default());
        let upper = Upper::Stream(Box::new(Reader(state.clone())));
        (upper, |connection| Stream { connection, state })
    }

    /// The transport below.
    pub fn transport(&self) -> Transport {
        Transport(self.connection.clone())
    }

    /// Where the other end is, if that is an internet address.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.transport().peer_addr()
    }

    /// Where this end is, if that is an internet address.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.transport().local_addr()
    }

    /// Two halves for two tasks. The connection is closed when both are dropped.
    pub fn split(self) -> (ReadHalf, WriteHalf) {
        let stream = Rc::new(self);
        (ReadHalf(stream.clone()), WriteHalf(stream))
    }

    #[cfg(feature = "hyper")]
    pub(crate) fn hub(&self) -> &Rc<crate::hub::Hub> {
        &self.connection.hub
    }

    #[inline]
    pub(crate) fn read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let state = &*self.state;
        if buffer.is_empty() || state.ended.get() {
            return Poll::Ready(Ok(0));
        }
        if state.readable.get() {
            let read = self.try_read(buffer);
            if read.is_ready() {
                return read;
            }
        }
        if state.lost.get() {
            let error = state.error.borrow_mut().take();
            return Poll::Ready(error.map_or(Ok(0), Err));
        }
        state.reader.set(Some(self.waiter(cx)));
        if state.stopped.replace(false) {
            self.connection.start_reading();
        }
        Poll::Pending
    }

    #[inline]
    fn try_read(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let (state, connection) = (&*self.state, &self.connection);
        let Some(key) = connection.stream() else { return Poll::Pending };
        if state.stopped.replace(false) {
            connection.start_reading();
        }
        let read = match connection.tls() {
            Some(tls) => tls.read(connection, buffer),
            None => connection.hub.engine().receive_into(key, buffer),
        };
        match read {
            Ok(count) => {
                if count == 0 {
                    state.ended.set(true);
                }
                // A short read has taken all there was. TLS knows by itself.
                if count < buffer.len() && connection.tls.borrow().is_none() {
                    state.readable.set(false);
                }
                Poll::Ready(Ok(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                state.readable.set(false);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Who asks: mostly a task of the loop, with its own waker.
    #[inline]
    fn waiter(&self, cx: &Context<'_>) -> Waiter {
        match task::current_by_waker(&self.connection.hub, cx.waker()) {
            Some(key) => Waiter::Task(key),
            None => Waiter::Other(cx.waker().clone()),
        }
    }

    #[inline]
    pub(crate) fn write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if let Err(error) = self.check_writable() {
            return Poll::Ready(Err(error));
        }
        if self.state.full.get() {
            self.state.writer.set(Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let data = data.get(..AT_MOST).unwrap_or(data);
        self.connection.write(data);
        Poll::Ready(Ok(data.len()))
    }

    pub(crate) fn write_vectored(
        &self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            match self.write(cx, piece) {
                Poll::Ready(Ok(count)) => {
                    written += count;
                    if count < piece.len() {
                        break;
                    }
                }
                other if written == 0 => return other,
                _ => break,
            }
        }
        Poll::Ready(Ok(written))
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.state.lost.get() || self.connection.is_ending() {
            return Err(self.state.verdict());
        }
        Ok(())
    }

    pub(crate) fn flush(&self) -> Poll<io::Result<()>> {
        // What is queued leaves by itself.
        Poll::Ready(if self.state.lost.get() { Err(self.state.verdict()) } else { Ok(()) })
    }

    pub(crate) fn close(&self) -> Poll<io::Result<()>> {
        if self.connection.tls.borrow().is_some() {
            self.connection.close();
        } else {
            self.connection.write_eof();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.close();
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, data)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Stream::write_vectored(&self, cx, pieces)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush()
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.close()
    }
}

/// The reading half of a [`Stream`].
#[derive(Debug)]
pub struct ReadHalf(Rc<Stream>);

/// The writing half of a [`Stream`].
#[derive(Debug)]
pub struct WriteHalf(Rc<Stream>);

impl AsyncRead for ReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.0.read(cx, buffer)
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.flush()
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.close()
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.transport()).finish()
    }
}
