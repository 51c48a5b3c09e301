//! Child processes: started by the standard library, watched by the engine.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{self as std_process, Command};
use std::rc::Rc;
use std::task::{Poll, Waker};

use oxloop_engine::{Exited, Fd};
use oxloop_os::process as os_process;

use crate::error::Panic;
use crate::event_loop::{Loop, Origin, discard, report_panic};
use crate::host::Endpoint;
use crate::hub::Hub;
use crate::protocol::{Protocol, SubprocessProtocol};
use crate::stream::Stream;
use crate::transport::Transport;

pub use oxloop_engine::Exit;

/// The signals that have a name here, by POSIX' numbers.
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

impl Loop {
    /// Starts a child process, and gives it to the protocol that `factory` makes. Descriptors that
    /// `command` has as [`Stdio::piped`](std::process::Stdio::piped) become pipes of the transport.
    ///
    /// # Errors
    /// What starting the process ends with; a system without pidfds (Linux before 5.3).
    ///
    /// ```
    /// use std::process::{Command, Stdio};
    /// use oxloop::{SubprocessProtocol, SubprocessTransport};
    ///
    /// struct Printer;
    ///
    /// impl SubprocessProtocol for Printer {
    ///     fn pipe_data_received(&mut self, _: &SubprocessTransport, fd: i32, data: &[u8]) {
    ///         assert_eq!((fd, data), (1, &b"hello\n"[..]));
    ///     }
    /// }
    ///
    /// oxloop::run(async {
    ///     let event_loop = oxloop::get_running_loop().unwrap();
    ///     let mut command = Command::new("echo");
    ///     command.arg("hello").stdout(Stdio::piped());
    ///     let child = event_loop.subprocess_exec(|| Printer, command)?;
    ///     assert_eq!(child.wait().await, oxloop::Exit::Code(0));
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn subprocess_exec<P: SubprocessProtocol>(
        &self,
        factory: impl FnOnce() -> P,
        command: Command,
    ) -> io::Result<SubprocessTransport> {
        let (child, pipes) = Child::start(&self.hub, command, Some(Box::new(factory())))?;
        for (index, pipe) in pipes.into_iter().enumerate() {
            let Some(pipe) = pipe else { continue };
            let end = Pipe { child: child.clone(), fd: index as i32 };
            let opened = match index {
                0 => self.connect_write_pipe(|| end, pipe),
                _ => self.connect_read_pipe(|| end, pipe),
            };
            match opened {
                Ok(transport) => child.add_pipe(index, transport),
                Err(error) => {
                    SubprocessTransport(child).close();
                    return Err(error);
                }
            }
        }
        child.call(|protocol, transport| protocol.connection_made(transport));
        Ok(SubprocessTransport(child))
    }

    /// Starts a child process, for async code. Descriptors that `command` has as
    /// [`Stdio::piped`](std::process::Stdio::piped) become streams.
    ///
    /// # Errors
    /// As [`Loop::subprocess_exec`].
    ///
    /// ```
    /// use futures_lite::{AsyncReadExt, AsyncWriteExt};
    /// use std::process::{Command, Stdio};
    ///
    /// oxloop::run(async {
    ///     let event_loop = oxloop::get_running_loop().unwrap();
    ///     let mut command = Command::new("cat");
    ///     command.stdin(Stdio::piped()).stdout(Stdio::piped());
    ///     let mut child = event_loop.create_subprocess(command)?;
    ///     child.stdin.take().unwrap().write_all(b"meow").await?;
    ///     let mut said = String::new();
    ///     child.stdout.take().unwrap().read_to_string(&mut said).await?;
    ///     assert_eq!(said, "meow");
    ///     assert_eq!(child.wait().await, oxloop::Exit::Code(0));
    ///     Ok::<(), std::io::Error>(())
    /// })??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create_subprocess(&self, command: Command) -> io::Result<Process> {
        let (child, [stdin, stdout, stderr]) = Child::start(&self.hub, command, None)?;
        // Should one fail, dropping the process ends the child.
        let mut process =
            Process { child: SubprocessTransport(child), stdin: None, stdout: None, stderr: None };
        process.stdin = stdin.map(|pipe| self.open_write_pipe(pipe)).transpose()?;
        process.stdout = stdout.map(|pipe| self.open_read_pipe(pipe)).transpose()?;
        process.stderr = stderr.map(|pipe| self.open_read_pipe(pipe)).transpose()?;
        Ok(process)
    }
}

/// A child process. Cheap to clone; dropping it changes nothing. When the loop is closed, children
/// that are still running are killed.
#[derive(Clone)]
pub struct SubprocessTransport(Rc<Child>);

impl SubprocessTransport {
    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// How it has ended, if it has.
    pub fn returncode(&self) -> Option<Exit> {
        self.0.exit.get()
    }

    /// Waits until it has ended.
    pub async fn wait(&self) -> Exit {
        poll_fn(|cx| match self.0.exit.get() {
            Some(exit) => Poll::Ready(exit),
            None => {
                let waker = cx.waker().clone();
                let mut waiting = self.0.waiting.borrow_mut();
                if !waiting.iter().any(|known| known.will_wake(&waker)) {
                    waiting.push(waker);
                }
                Poll::Pending
            }
        })
        .await
    }

    /// The transport of a pipe: 0, 1 and 2 as for the child.
    pub fn get_pipe_transport(&self, fd: i32) -> Option<Transport> {
        let index = usize::try_from(fd).ok()?;
        self.0.pipes.borrow().get(index)?.clone()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the process has ended, or there is no such signal.
    pub fn send_signal(&self, signal: i32) -> io::Result<()> {
        match self.0.pidfd.get() {
            Some(pidfd) => os_process::send_signal(pidfd, signal),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Errors
    /// If it has ended.
    pub fn terminate(&self) -> io::Result<()> {
        self.send_signal(SIGTERM)
    }

    /// Ends it (SIGKILL).
    ///
    /// # Errors
    /// If it has ended.
    pub fn kill(&self) -> io::Result<()> {
        self.send_signal(SIGKILL)
    }

    /// Closes the pipes, and kills the process if it is running.
    pub fn close(&self) {
        let pipes = self.0.pipes.borrow().clone();
        pipes.iter().flatten().for_each(Transport::close);
        // It may have ended.
        let _ = self.kill();
    }
}

/// A child process, for async code. Dropping it kills a child that is running.
#[derive(Debug)]
pub struct Process {
    child: SubprocessTransport,
    /// What the child reads.
    pub stdin: Option<Stream>,
    /// What the child writes.
    pub stdout: Option<Stream>,
    /// What the child complains.
    pub stderr: Option<Stream>,
}

impl std::ops::Deref for Process {
    type Target = SubprocessTransport;

    fn deref(&self) -> &SubprocessTransport {
        &self.child
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
    }
}

struct Child {
    hub: Rc<Hub>,
    pid: u32,
    /// Until it is reaped, which the engine does.
    process: Cell<Option<std_process::Child>>,
    pidfd: Cell<Option<Fd>>,
    exit: Cell<Option<Exit>>,
    /// Away while it runs.
    protocol: Cell<Option<Box<dyn SubprocessProtocol>>>,
    pipes: RefCell<[Option<Transport>; 3]>,
    open_pipes: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

type Pipes = [Option<OwnedFd>; 3];

impl Child {
    fn start(
        hub: &Rc<Hub>,
        mut command: Command,
        protocol: Option<Box<dyn SubprocessProtocol>>,
    ) -> io::Result<(Rc<Child>, Pipes)> {
        hub.check_open()?;
        let mut process = command.spawn()?;
        drop(command);
        let pipes = [
            process.stdin.take().map(OwnedFd::from),
            process.stdout.take().map(OwnedFd::from),
            process.stderr.take().map(OwnedFd::from),
        ];
        let pid = process.id();
        let child = Rc::new(Child {
            hub: hub.clone(),
            pid,
            process: Cell::new(Some(process)),
            pidfd: Cell::new(None),
            exit: Cell::new(None),
            protocol: Cell::new(protocol),
            pipes: RefCell::default(),
            open_pipes: Cell::new(0),
            waiting: RefCell::default(),
        });
        match child.watch() {
            Ok(()) => Ok((child, pipes)),
            Err(error) => {
                child.put_down();
                Err(error)
            }
        }
    }

    fn watch(self: &Rc<Self>) -> io::Result<()> {
        let pid = i32::try_from(self.pid).map_err(|_| io::ErrorKind::InvalidInput)?;
        let pidfd = os_process::watch(pid)?;
        let watched = self.hub.engine().watch_child(pidfd, self.clone());
        match watched {
            Ok(_) => {
                self.pidfd.set(Some(pidfd));
                Ok(())
            }
            Err((error, child)) => {
                pidfd.close();
                drop(child);
                Err(error)
            }
        }
    }

    /// Nobody will hear of its end: it ends now, and is reaped.
    fn put_down(&self) {
        self.pidfd.set(None);
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn add_pipe(&self, index: usize, transport: Transport) {
        if let Some(place) = self.pipes.borrow_mut().get_mut(index) {
            *place = Some(transport);
            self.open_pipes.set(self.open_pipes.get() + 1);
        }
    }

    fn call<R>(
        self: &Rc<Self>,
        call: impl FnOnce(&mut dyn SubprocessProtocol, &SubprocessTransport) -> R,
    ) -> Option<R> {
        let mut protocol = self.protocol.take()?;
        let transport = SubprocessTransport(self.clone());
        let called = catch_unwind(AssertUnwindSafe(|| call(&mut *protocol, &transport)));
        self.protocol.set(Some(protocol));
        match called {
            Ok(result) => Some(result),
            Err(payload) => {
                let message = "A subprocess protocol failed";
                report_panic(&self.hub, message, format!("{transport:?}"), &Panic::new(payload));
                None
            }
        }
    }

    fn pipe_lost(self: &Rc<Self>, fd: i32, error: Option<&io::Error>) {
        self.call(|protocol, transport| protocol.pipe_connection_lost(transport, fd, error));
        self.open_pipes.set(self.open_pipes.get().saturating_sub(1));
        self.end_if_over();
    }

    /// The last thing that is told, in a turn of its own.
    fn end_if_over(self: &Rc<Self>) {
        if self.exit.get().is_none() || self.open_pipes.get() > 0 {
            return;
        }
        let this = self.clone();
        let end = move || {
            this.call(|protocol, transport| protocol.connection_lost(transport));
            this.let_go();
        };
        // Of a loop without memory nobody is told.
        let _ = self.hub.call_soon(Box::new(end), Origin::of::<Child>());
    }

    fn let_go(&self) {
        let protocol = self.protocol.take();
        discard(&self.hub, protocol);
        let pipes = self.pipes.take();
        drop(pipes);
    }
}

impl Endpoint for Child {
    fn exited(self: Rc<Self>, _: &Rc<Hub>, ended: Exited<()>) {
        self.pidfd.set(None);
        ended.pidfd.close();
        // The engine has reaped it: its number may be another's.
        self.process.set(None);
        // Somebody else has reaped it: asyncio says the same.
        self.exit.set(Some(ended.exit.unwrap_or(Exit::Code(255))));
        let waiting = self.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
        self.call(|protocol, transport| protocol.process_exited(transport));
        self.end_if_over();
    }

    fn closed(self: Rc<Self>) {
        self.put_down();
        self.let_go();
    }
}

/// The protocol of a pipe.
struct Pipe {
    child: Rc<Child>,
    fd: i32,
}

impl Protocol for Pipe {
    fn data_received(&mut self, _: &Transport, data: &[u8]) {
        let fd = self.fd;
        self.child.call(|protocol, transport| protocol.pipe_data_received(transport, fd, data));
    }

    fn pause_writing(&mut self, _: &Transport) {
        self.child.call(|protocol, transport| protocol.pause_writing(transport));
    }

    fn resume_writing(&mut self, _: &Transport) {
        self.child.call(|protocol, transport| protocol.resume_writing(transport));
    }

    fn connection_lost(&mut self, _: &Transport, error: Option<&io::Error>) {
        self.child.pipe_lost(self.fd, error);
    }
}

impl SubprocessTransport {
    /// Calls `visit` with the protocol, if it is a `P` and not running already.
    pub fn with_protocol<P: 'static, R>(&self, visit: impl FnOnce(&mut P) -> R) -> Option<R> {
        self.0.call(|protocol, _| {
            let any: &mut dyn Any = protocol;
            any.downcast_mut().map(visit)
        })?
    }
}

impl fmt::Debug for SubprocessTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubprocessTransport")
            .field("pid", &self.pid())
            .field("returncode", &self.returncode())
            .finish()
    }
}
