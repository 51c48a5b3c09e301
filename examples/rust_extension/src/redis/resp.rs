//! RESP, the protocol of Redis, in its versions 2 and 3.
//!
//! An answer is found before it is made: [`Scanner`] looks for its end, and goes on where it has
//! stopped when more comes; then [`read`] makes the objects.

use pyo3::exceptions::PyConnectionError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyList};

use super::RedisError;

/// No line that is not data is longer than this (bytes).
const LINE: usize = 64 * 1024;
/// No answer has more lists in lists.
const DEPTH: usize = 64;

/// Finds the end of the answer that a buffer begins with.
#[derive(Debug)]
pub(super) struct Scanner {
    /// What has been looked at.
    at: usize,
    /// Values that are still to come.
    left: u64,
}

impl Default for Scanner {
    fn default() -> Self {
        Scanner { at: 0, left: 1 }
    }
}

impl Scanner {
    /// The length of the answer, if all of it is there. Then the scanner begins anew.
    pub(super) fn find(&mut self, buffer: &[u8]) -> PyResult<Option<usize>> {
        while self.left > 0 {
            let rest = buffer.get(self.at..).unwrap_or_default();
            let Some((kind, line, length)) = split_line(rest)? else { return Ok(None) };
            let (mut size, mut more) = (length, 0);
            match kind {
                b'$' | b'=' | b'!' => {
                    if let Some(bytes) = number(line)?.and_then(|bytes| usize::try_from(bytes).ok())
                    {
                        size = size.saturating_add(bytes).saturating_add(2);
                    }
                }
                b'*' | b'~' | b'>' => more = count(line)?,
                b'%' => more = count(line)?.saturating_mul(2),
                b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {}
                _ => return Err(broken("an answer of no known kind")),
            }
            if rest.len() < size {
                return Ok(None);
            }
            self.at += size;
            self.left = (self.left - 1).saturating_add(more);
        }
        let found = self.at;
        *self = Scanner::default();
        Ok(Some(found))
    }
}

/// An answer: a value, or the server's refusal. `None`: it is no answer, but a message that the server
/// sends of its own accord.
pub(super) fn read(py: Python<'_>, answer: &[u8]) -> PyResult<Option<PyResult<Py<PyAny>>>> {
    match answer.first() {
        Some(b'>') => Ok(None),
        _ => Reader { rest: answer, depth: 0 }.value(py).map(Some),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Reader<'a> {
    /// The inner error is the server's, the outer one the connection's.
    fn value(&mut self, py: Python<'_>) -> PyResult<PyResult<Py<PyAny>>> {
        let Some((kind, line, length)) = split_line(self.rest)? else {
            return Err(broken("an answer without an end"));
        };
        self.rest = &self.rest[length..];
        let value = match kind {
            b'+' => PyBytes::new(py, line).into_any().unbind(),
            b'-' => return Ok(Err(refused(line))),
            b':' | b'(' => integer(py, line)?,
            b',' => PyFloat::new(py, text(line)?.parse().map_err(|_| broken("a bad number"))?)
                .into_any()
                .unbind(),
            b'#' => PyBool::new(py, line == b"t").to_owned().into_any().unbind(),
            b'_' => py.None(),
            b'$' | b'=' | b'!' => match number(line)? {
                None => py.None(),
                Some(size) => {
                    let bytes = self.bytes(size)?;
                    match kind {
                        b'!' => return Ok(Err(refused(bytes))),
                        // Three letters that say what kind of text it is, and a colon.
                        b'=' => PyBytes::new(py, bytes.get(4..).unwrap_or_default()),
                        _ => PyBytes::new(py, bytes),
                    }
                    .into_any()
                    .unbind()
                }
            },
            b'%' => self.map(py, count(line)?)?,
            b'*' if number(line)?.is_none() => py.None(),
            _ => self.list(py, count(line)?)?,
        };
        Ok(Ok(value))
    }

    fn list(&mut self, py: Python<'_>, count: u64) -> PyResult<Py<PyAny>> {
        self.enter()?;
        let list = PyList::empty(py);
        for _ in 0..count {
            list.append(self.item(py)?)?;
        }
        self.depth -= 1;
        Ok(list.into_any().unbind())
    }

    fn map(&mut self, py: Python<'_>, count: u64) -> PyResult<Py<PyAny>> {
        self.enter()?;
        let map = PyDict::new(py);
        for _ in 0..count {
            let key = self.item(py)?;
            map.set_item(key, self.item(py)?)?;
        }
        self.depth -= 1;
        Ok(map.into_any().unbind())
    }

    /// An error inside of a list is an item of it.
    fn item(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.value(py)?.unwrap_or_else(|error| error.into_value(py).into_any()))
    }

    fn enter(&mut self) -> PyResult<()> {
        self.depth += 1;
        if self.depth > DEPTH { Err(broken("too many lists in lists")) } else { Ok(()) }
    }

    fn bytes(&mut self, size: i64) -> PyResult<&'a [u8]> {
        let size = usize::try_from(size).map_err(|_| broken("a bad length"))?;
        let (Some(bytes), Some(rest)) = (self.rest.get(..size), self.rest.get(size + 2..)) else {
            return Err(broken("an answer without an end"));
        };
        self.rest = rest;
        Ok(bytes)
    }
}

/// The kind of the value that `buffer` begins with, the rest of its line, and the line's length.
fn split_line(buffer: &[u8]) -> PyResult<Option<(u8, &[u8], usize)>> {
    let Some(end) = buffer.iter().take(LINE).position(|&byte| byte == b'\r') else {
        return if buffer.len() > LINE { Err(broken("a line that is too long")) } else { Ok(None) };
    };
    match (buffer.get(end + 1), buffer.first()) {
        (None, _) => Ok(None),
        (Some(b'\n'), Some(&kind)) if end > 0 => Ok(Some((kind, &buffer[1..end], end + 2))),
        _ => Err(broken("a line without an end")),
    }
}

/// A length; none for what is not there.
fn number(line: &[u8]) -> PyResult<Option<i64>> {
    let number: i64 = text(line)?.parse().map_err(|_| broken("a bad length"))?;
    match number {
        -1 => Ok(None),
        0.. => Ok(Some(number)),
        _ => Err(broken("a bad length")),
    }
}

fn count(line: &[u8]) -> PyResult<u64> {
    Ok(number(line)?.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

fn integer(py: Python<'_>, line: &[u8]) -> PyResult<Py<PyAny>> {
    let text = text(line)?;
    if let Ok(small) = text.parse::<i64>() {
        return Ok(small.into_pyobject(py)?.into_any().unbind());
    }
    py.get_type::<pyo3::types::PyInt>().call1((text,)).map(Bound::unbind)
}

fn text(line: &[u8]) -> PyResult<&str> {
    std::str::from_utf8(line).map_err(|_| broken("a line that is no text"))
}

#[cold]
fn refused(text: &[u8]) -> PyErr {
    RedisError::new_err(String::from_utf8_lossy(text).into_owned())
}

#[cold]
fn broken(what: &str) -> PyErr {
    PyConnectionError::new_err(format!("the server has sent {what}"))
}
