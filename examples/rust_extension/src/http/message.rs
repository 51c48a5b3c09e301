//! Requests as bytes, requests as Python sees them, and answers.

use httparse::{EMPTY_HEADER, Status};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use super::router::Router;

/// The largest head, and the largest body, that is taken (bytes).
const HEAD: usize = 64 * 1024;
const BODY: usize = 16 * 1024 * 1024;
const HEADERS: usize = 100;

/// What a buffer begins with.
pub(super) enum Parsed<'a> {
    /// A request, and how many bytes it was.
    Whole(Head<'a>, usize),
    /// More is to come.
    Part,
    /// The status to refuse it with.
    Bad(u16),
}

/// A request, in the buffer that it came in.
pub(super) struct Head<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// The lines before the body, as they came.
    pub(super) lines: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) keeps_alive: bool,
}

/// Parses the request at the beginning of `buffer`.
pub(super) fn parse(buffer: &[u8]) -> Parsed<'_> {
    let mut headers = [EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(buffer) {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) if buffer.len() > HEAD => return Parsed::Bad(431),
        Ok(Status::Partial) => return Parsed::Part,
        Err(httparse::Error::TooManyHeaders) => return Parsed::Bad(431),
        Err(_) => return Parsed::Bad(400),
    };
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Parsed::Bad(400);
    };
    let mut keeps_alive = request.version == Some(1);
    let mut length = None;
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).unwrap_or_default();
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse::<usize>() {
                Ok(bytes) if plain && length.is_none_or(|length| length == bytes) => {
                    length = Some(bytes);
                }
                _ => return Parsed::Bad(400),
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Parsed::Bad(501);
        } else if header.name.eq_ignore_ascii_case("connection") {
            let text = header.value.to_ascii_lowercase();
            if text.windows(5).any(|word| word == b"close") {
                keeps_alive = false;
            } else if text.windows(10).any(|word| word == b"keep-alive") {
                keeps_alive = true;
            }
        }
    }
    let length = length.unwrap_or(0);
    if length > BODY {
        return Parsed::Bad(413);
    }
    let Some(body) = buffer.get(head..head + length) else { return Parsed::Part };
    let path = target.split('?').next().unwrap_or_default();
    let lines = &buffer[..head];
    Parsed::Whole(Head { method, path, lines, body, keeps_alive }, head + length)
}

/// A request, as a handler gets it. Objects are made of what it asks for.
#[pyclass(frozen, module = "rust_extension", freelist = 64)]
#[derive(Debug)]
pub(crate) struct Request {
    /// The lines, then the body, as they came.
    bytes: Vec<u8>,
    head: usize,
    router: Py<Router>,
    /// The number of the route.
    route: usize,
}

impl Request {
    pub(super) fn new(head: &Head<'_>, router: Py<Router>, route: usize) -> Request {
        let bytes = [head.lines, head.body].concat();
        Request { bytes, head: head.lines.len(), router, route }
    }

    fn lines(&self) -> &[u8] {
        &self.bytes[..self.head]
    }

    /// The request line's method and target.
    fn line(&self) -> (&str, &str) {
        let lines = self.lines();
        let end = lines.iter().position(|&byte| byte == b'\r').unwrap_or(0);
        let mut words = std::str::from_utf8(&lines[..end]).unwrap_or_default().split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }
}

#[pymethods]
impl Request {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.router)
    }

    #[getter]
    fn method(&self) -> &str {
        self.line().0
    }

    #[getter]
    fn path(&self) -> &str {
        self.line().1.split('?').next().unwrap_or_default()
    }

    #[getter]
    fn query(&self) -> &str {
        self.line().1.split_once('?').map_or("", |(_, query)| query)
    }

    /// Names in lower case; of several with one name the last.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut places = [EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut places);
        // It has been parsed before.
        let _ = request.parse(self.lines());
        let headers = PyDict::new(py);
        for header in request.headers.iter() {
            let value = String::from_utf8_lossy(header.value);
            headers.set_item(header.name.to_ascii_lowercase(), value)?;
        }
        Ok(headers)
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.bytes[self.head..])
    }

    /// What the path has in the places of the route.
    #[getter]
    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let params = PyDict::new(py);
        for (name, value) in self.router.get().routes().params(self.route, self.path()) {
            params.set_item(name, value)?;
        }
        Ok(params)
    }
}

/// Writes an answer to `out`.
pub(super) fn answer(out: &mut Vec<u8>, status: u16, kind: &str, body: &[u8], keeps_alive: bool) {
    out.reserve(128 + kind.len() + body.len());
    let connection = if keeps_alive { "" } else { "connection: close\r\n" };
    // Behind each other: `write!` takes several times as long.
    let (mut code, mut length) = (Digits::default(), Digits::default());
    for piece in [
        "HTTP/1.1 ",
        code.of(usize::from(status)),
        " ",
        reason(status),
        "\r\ncontent-type: ",
        kind,
        "\r\ncontent-length: ",
        length.of(body.len()),
        "\r\n",
        connection,
        "\r\n",
    ] {
        out.extend_from_slice(piece.as_bytes());
    }
    out.extend_from_slice(body);
}

/// Room for the digits of a number.
#[derive(Default)]
struct Digits([u8; 20]);

impl Digits {
    fn of(&mut self, mut number: usize) -> &str {
        let mut start = self.0.len();
        loop {
            start -= 1;
            self.0[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return std::str::from_utf8(&self.0[start..]).unwrap_or_default();
            }
        }
    }
}

pub(super) fn refuse(out: &mut Vec<u8>, status: u16, keeps_alive: bool) {
    let text = format!("{status} {}\n", reason(status));
    answer(out, status, "text/plain; charset=utf-8", text.as_bytes(), keeps_alive);
}

/// Writes what a handler returned: a str or bytes, or a tuple of status and one of them.
pub(super) fn answer_with(
    out: &mut Vec<u8>,
    returned: &Bound<'_, PyAny>,
    keeps_alive: bool,
) -> PyResult<()> {
    if let Ok(pair) = returned.cast::<PyTuple>() {
        let (status, body): (u16, Bound<'_, PyAny>) = pair.extract()?;
        if !(200..600).contains(&status) {
            return Err(PyValueError::new_err(format!("{status} is not the status of an answer")));
        }
        return answer_body(out, status, &body, keeps_alive);
    }
    answer_body(out, 200, returned, keeps_alive)
}

fn answer_body(
    out: &mut Vec<u8>,
    status: u16,
    body: &Bound<'_, PyAny>,
    keeps_alive: bool,
) -> PyResult<()> {
    if let Ok(text) = body.cast::<PyString>() {
        let kind = "text/plain; charset=utf-8";
        answer(out, status, kind, text.to_str()?.as_bytes(), keeps_alive);
    } else if let Ok(bytes) = body.cast::<PyBytes>() {
        answer(out, status, "application/octet-stream", bytes.as_bytes(), keeps_alive);
    } else {
        let kind = body.get_type().name()?;
        let text = format!("a handler returns str, bytes or (status, body), not {kind}");
        return Err(PyTypeError::new_err(text));
    }
    Ok(())
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        _ => "Answer",
    }
}
