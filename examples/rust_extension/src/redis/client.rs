//! The connection and what Python has of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oxloop_extension::{Protocol, RunningLoop, Transport, into_future, protocol_factory};
use pyo3::exceptions::{PyConnectionError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyFloat, PyInt, PyString, PyTuple};

use super::reply::Reply;
use super::resp::{Scanner, read};

/// What the connection and the client share.
#[derive(Default)]
struct Shared {
    transport: Option<Py<PyAny>>,
    /// Who waits for the next answers, in the order of the commands.
    waiting: VecDeque<Reply>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Connection {
    shared: Arc<Mutex<Shared>>,
    input: Vec<u8>,
    scanner: Scanner,
}

impl Protocol for Connection {
    fn connection_made(&mut self, transport: &Transport<'_>) -> PyResult<()> {
        lock(&self.shared).transport = Some(transport.unbind());
        Ok(())
    }

    fn data_received(&mut self, transport: &Transport<'_>, data: &[u8]) -> PyResult<()> {
        if self.input.is_empty() {
            let used = self.answer(transport.py(), data)?;
            self.input.extend_from_slice(&data[used..]);
            return Ok(());
        }
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(data);
        let used = self.answer(transport.py(), &input)?;
        drop(input.drain(..used));
        self.input = input;
        Ok(())
    }

    fn connection_lost(
        &mut self,
        transport: &Transport<'_>,
        error: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (waiting, gone) = {
            let mut shared = lock(&self.shared);
            (std::mem::take(&mut shared.waiting), shared.transport.take())
        };
        drop(gone);
        for reply in waiting {
            let lost = PyConnectionError::new_err("the connection to the server is lost");
            lost.set_cause(transport.py(), error.cloned().map(PyErr::from_value));
            reply.set(Err(lost));
        }
        Ok(())
    }
}

impl Connection {
    /// Hands out what is whole; how many bytes that were.
    fn answer(&mut self, py: Python<'_>, input: &[u8]) -> PyResult<usize> {
        let mut used = 0;
        while used < input.len() {
            let rest = &input[used..];
            let Some(length) = self.scanner.find(rest)? else { break };
            used += length;
            let Some(value) = read(py, &rest[..length])? else { continue };
            let reply = lock(&self.shared).waiting.pop_front();
            match reply {
                Some(reply) => reply.set(value),
                None => return Err(PyConnectionError::new_err("an answer nobody has asked for")),
            }
        }
        Ok(used)
    }
}

/// A connection to a server: `client = await connect("127.0.0.1", 6379)`.
#[pyclass(frozen, module = "rust_extension")]
pub(crate) struct Client {
    shared: Arc<Mutex<Shared>>,
}

#[pymethods]
impl Client {
    /// Sends a command, of bytes, str, int and float. The answer is awaited: bytes, int, float, bool,
    /// None, or lists and dicts of them; RedisError is the server's refusal.
    ///
    /// The command is on its way when this returns, awaited or not.
    #[pyo3(signature = (*words))]
    fn command<'py>(
        &self,
        py: Python<'py>,
        words: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let command = encode(words)?;
        let event_loop = RunningLoop::current(py)?;
        let reply = Reply::default();
        let transport = {
            let mut shared = lock(&self.shared);
            let Some(transport) = &shared.transport else {
                return Err(PyConnectionError::new_err("the connection to the server is closed"));
            };
            let transport = transport.clone_ref(py);
            shared.waiting.push_back(reply.clone());
            transport
        };
        Transport::of(transport.into_bound(py)).write(&command)?;
        event_loop.defer(reply.get())
    }

    /// Ends the connection when what was sent is on its way. Commands without an answer fail.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let transport =
            lock(&self.shared).transport.as_ref().map(|transport| transport.clone_ref(py));
        transport.map_or(Ok(()), |transport| Transport::of(transport.into_bound(py)).close())
    }

    /// Whether the connection is gone.
    fn is_closed(&self) -> bool {
        lock(&self.shared).transport.is_none()
    }
}

/// Connects to a server.
#[pyfunction]
pub(crate) fn connect<'py>(py: Python<'py>, host: &str, port: u16) -> PyResult<Bound<'py, PyAny>> {
    let event_loop = RunningLoop::current(py)?;
    let shared = Arc::new(Mutex::new(Shared::default()));
    let for_protocol = shared.clone();
    let factory = protocol_factory(py, move |_| {
        let shared = for_protocol.clone();
        Ok(Connection { shared, input: Vec::new(), scanner: Scanner::default() })
    })?;
    let connecting =
        event_loop.as_any().call_method1("create_connection", (factory, host, port))?;
    let connecting = into_future(&connecting)?;
    event_loop.spawn(async move {
        connecting.await?;
        Ok(Client { shared })
    })
}

/// A command as an array of strings.
fn encode(words: &Bound<'_, PyTuple>) -> PyResult<Vec<u8>> {
    if words.is_empty() {
        return Err(PyTypeError::new_err("a command has at least one word"));
    }
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    let mut put = |word: &[u8]| {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    };
    for word in words.iter() {
        if let Ok(bytes) = word.cast::<PyBytes>() {
            put(bytes.as_bytes());
        } else if let Ok(text) = word.cast::<PyString>() {
            put(text.to_str()?.as_bytes());
        } else if word.is_instance_of::<PyInt>() || word.is_instance_of::<PyFloat>() {
            put(word.str()?.to_str()?.as_bytes());
        } else {
            let kind = word.get_type().name()?;
            let text = format!("a command is made of bytes, str, int and float, not {kind}");
            return Err(PyTypeError::new_err(text));
        }
    }
    Ok(out)
}
