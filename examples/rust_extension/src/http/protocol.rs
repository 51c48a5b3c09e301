//! A connection: bytes in, answers out, in the order of the requests.
//!
//! What comes in one event is answered by one write. A handler that has to be awaited holds back the
//! requests behind it: they stay in the buffer, and reading pauses when there is much.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oxloop_extension::{Protocol, RunningLoop, Transport, Visit, into_future};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use super::message::{Head, Parsed, Request, answer_with, parse, refuse};
use super::router::{Found, Router};

/// So much may wait behind a handler, or to be sent, before the client has to wait (bytes).
const MUCH: usize = 256 * 1024;

pub(super) struct Http(Arc<Mutex<Connection>>);

struct Connection {
    router: Py<Router>,
    /// What has come and is not answered.
    input: Vec<u8>,
    output: Vec<u8>,
    /// What is awaited for the request before those in `input`; dropping it would not end it.
    awaited: Option<Py<PyAny>>,
    paused: bool,
    /// The client does not take its answers: the next ones wait.
    full: bool,
    /// The answer that says so has been written, or the connection is lost.
    closing: bool,
}

/// What is left to do after a request.
enum Next {
    Answered,
    Awaits(Py<PyAny>),
}

impl Http {
    pub(super) fn new(router: Py<Router>) -> Http {
        Http(Arc::new(Mutex::new(Connection {
            router,
            input: Vec::new(),
            output: Vec::new(),
            awaited: None,
            paused: false,
            full: false,
            closing: false,
        })))
    }
}

/// Only the loop's thread has connections; nobody waits here.
fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Protocol for Http {
    fn data_received(&mut self, transport: &Transport<'_>, data: &[u8]) -> PyResult<()> {
        let mut connection = lock(&self.0);
        if connection.awaited.is_some() || !connection.input.is_empty() {
            connection.input.extend_from_slice(data);
            if connection.awaited.is_some() || connection.full {
                return connection.hold_back(transport);
            }
            return go_on(&self.0, connection, transport);
        }
        // Mostly a request comes whole, and is parsed where it is.
        let used = serve(&self.0, &mut connection, transport, data)?;
        connection.input.extend_from_slice(&data[used..]);
        Ok(())
    }

    fn resume_writing(&mut self, transport: &Transport<'_>) -> PyResult<()> {
        let mut connection = lock(&self.0);
        connection.full = false;
        if connection.awaited.is_some() {
            return Ok(());
        }
        go_on(&self.0, connection, transport)
    }

    fn connection_lost(
        &mut self,
        transport: &Transport<'_>,
        _error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let awaited = {
            let mut connection = lock(&self.0);
            connection.closing = true;
            connection.awaited.take()
        };
        match awaited {
            Some(awaited) => awaited.call_method0(transport.py(), "cancel").map(drop),
            None => Ok(()),
        }
    }

    fn traverse(&self, visit: &mut Visit) {
        if let Ok(connection) = self.0.try_lock() {
            visit.visit(&connection.router);
            connection.awaited.iter().for_each(|awaited| visit.visit(awaited));
        }
    }
}

impl Connection {
    fn hold_back(&mut self, transport: &Transport<'_>) -> PyResult<()> {
        if self.input.len() > MUCH && !self.paused {
            self.paused = true;
            return transport.pause_reading();
        }
        Ok(())
    }

    /// Sends the answers that are there.
    fn flush(&mut self, transport: &Transport<'_>) -> PyResult<()> {
        if !self.output.is_empty() {
            transport.write(&self.output)?;
            self.output.clear();
        }
        if self.closing { transport.close() } else { Ok(()) }
    }

    /// Answers a request, or begins to.
    fn request(&mut self, transport: &Transport<'_>, head: &Head<'_>) -> PyResult<Next> {
        let (py, router) = (transport.py(), self.router.clone_ref(transport.py()));
        let out = &mut self.output;
        match router.get().routes().find(head.method, head.path) {
            Found::Fixed(answer) if head.keeps_alive => out.extend_from_slice(answer),
            Found::Fixed(answer) => {
                // The answer is made for connections that stay: one more line.
                let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(0) + 2;
                out.extend_from_slice(&answer[..end]);
                out.extend_from_slice(b"connection: close\r\n");
                out.extend_from_slice(&answer[end..]);
            }
            Found::WrongMethod => refuse(out, 405, head.keeps_alive),
            Found::Nothing => refuse(out, 404, head.keeps_alive),
            Found::Handler(handler, route) => {
                let request = Request::new(head, router.clone_ref(py), route);
                let returned = handler.bind(py).call1((request,));
                match returned {
                    Ok(returned) if is_awaitable(&returned)? => {
                        return Ok(Next::Awaits(returned.unbind()));
                    }
                    returned => self.answer(py, returned, head.keeps_alive)?,
                }
            }
        }
        Ok(Next::Answered)
    }

    /// Writes what a handler returned. What it raised is told to the loop, and is status 500.
    fn answer(
        &mut self,
        py: Python<'_>,
        returned: PyResult<Bound<'_, PyAny>>,
        keeps_alive: bool,
    ) -> PyResult<()> {
        let before = self.output.len();
        let written = returned.and_then(|value| answer_with(&mut self.output, &value, keeps_alive));
        let Err(error) = written else { return Ok(()) };
        self.output.truncate(before);
        refuse(&mut self.output, 500, keeps_alive);
        let context = PyDict::new(py);
        context.set_item("message", "a handler of HTTP requests failed")?;
        context.set_item("exception", error)?;
        let event_loop = RunningLoop::current(py)?;
        event_loop.as_any().call_method1("call_exception_handler", (context,)).map(drop)
    }
}

fn is_awaitable(returned: &Bound<'_, PyAny>) -> PyResult<bool> {
    // What most handlers return; looking for a name that is not there takes longer.
    let plain = returned.is_instance_of::<PyString>() || returned.is_instance_of::<PyTuple>();
    Ok(!plain && returned.hasattr(intern!(returned.py(), "__await__"))?)
}

/// Answers what is whole in `data`, as long as the client takes the answers; how many bytes that were.
fn serve(
    shared: &Arc<Mutex<Connection>>,
    connection: &mut Connection,
    transport: &Transport<'_>,
    data: &[u8],
) -> PyResult<usize> {
    let mut used = 0;
    loop {
        used += serve_some(shared, connection, transport, &data[used..])?;
        let much = connection.output.len() > MUCH;
        connection.flush(transport)?;
        if !much {
            return Ok(used);
        }
        let waiting = transport.as_any().call_method0("get_write_buffer_size")?;
        if waiting.extract::<usize>()? > MUCH {
            // Above the high mark, so `resume_writing` will come.
            connection.full = true;
            return Ok(used);
        }
    }
}

/// The same, until there is much to be sent.
fn serve_some(
    shared: &Arc<Mutex<Connection>>,
    connection: &mut Connection,
    transport: &Transport<'_>,
    data: &[u8],
) -> PyResult<usize> {
    let mut used = 0;
    while !connection.closing
        && connection.awaited.is_none()
        && connection.output.len() <= MUCH
        && used < data.len()
    {
        match parse(&data[used..]) {
            Parsed::Part => break,
            Parsed::Bad(status) => {
                refuse(&mut connection.output, status, false);
                connection.closing = true;
            }
            Parsed::Whole(head, length) => {
                used += length;
                match connection.request(transport, &head)? {
                    Next::Answered => connection.closing = !head.keeps_alive,
                    Next::Awaits(awaitable) => {
                        let task = finish_later(
                            shared.clone(),
                            transport,
                            awaitable.bind(transport.py()),
                            head.keeps_alive,
                        )?;
                        connection.awaited = Some(task);
                    }
                }
            }
        }
    }
    Ok(used)
}

/// Goes on with what has come meanwhile.
fn go_on(
    shared: &Arc<Mutex<Connection>>,
    mut connection: MutexGuard<'_, Connection>,
    transport: &Transport<'_>,
) -> PyResult<()> {
    let mut input = std::mem::take(&mut connection.input);
    let used = serve(shared, &mut connection, transport, &input)?;
    drop(input.drain(..used));
    connection.input = input;
    if connection.awaited.is_none() && !connection.full && std::mem::take(&mut connection.paused) {
        transport.resume_reading()?;
    }
    connection.flush(transport)
}

/// Awaits what a handler returned, beside everything else.
fn finish_later(
    shared: Arc<Mutex<Connection>>,
    transport: &Transport<'_>,
    awaitable: &Bound<'_, PyAny>,
    keeps_alive: bool,
) -> PyResult<Py<PyAny>> {
    let (awaited, transport) = (into_future(awaitable)?, transport.unbind());
    let task = RunningLoop::current(awaitable.py())?.spawn(async move {
        let returned = awaited.await;
        Python::attach(|py| {
            let mut connection = lock(&shared);
            if connection.awaited.take().is_none() || connection.closing {
                return Ok(());
            }
            let returned = returned.map(|returned| returned.into_bound(py));
            connection.answer(py, returned, keeps_alive)?;
            connection.closing = !keeps_alive;
            go_on(&shared, connection, &Transport::of(transport.into_bound(py)))
        })
    })?;
    Ok(task.unbind())
}
