//! Which path is answered by what.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use oxloop_extension::protocol;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::message::answer;
use super::protocol::Http;

/// What a request is answered with.
pub(super) enum Found<'a> {
    /// The whole answer, as bytes.
    Fixed(&'a [u8]),
    /// A function in Python, and the number of its route.
    Handler(&'a Py<PyAny>, usize),
    /// The path is known, with other methods.
    WrongMethod,
    Nothing,
}

/// A table of routes; it does not change once it serves.
#[derive(Default)]
pub(super) struct Routes {
    fixed: HashMap<String, Vec<u8>>,
    handlers: Vec<Route>,
}

struct Route {
    method: String,
    pieces: Vec<Piece>,
    handler: Py<PyAny>,
}

enum Piece {
    Text(String),
    Name(Py<PyString>),
}

impl Routes {
    pub(super) fn find(&self, method: &str, path: &str) -> Found<'_> {
        let fixed = self.fixed.get(path);
        if let Some(answer) = fixed.filter(|_| method == "GET") {
            return Found::Fixed(answer);
        }
        let mut known = fixed.is_some();
        for (number, route) in self.handlers.iter().enumerate() {
            if !route.matches(path) {
                continue;
            }
            if route.method == method {
                return Found::Handler(&route.handler, number);
            }
            known = true;
        }
        if known { Found::WrongMethod } else { Found::Nothing }
    }

    /// What a path has in the places of the names of a route that it matches.
    pub(super) fn params<'a>(
        &'a self,
        route: usize,
        path: &'a str,
    ) -> impl Iterator<Item = (&'a Py<PyString>, &'a str)> {
        let pieces = self.handlers.get(route).map_or(&[][..], |route| &route.pieces);
        pieces.iter().zip(path.split('/')).filter_map(|(piece, given)| match piece {
            Piece::Name(name) => Some((name, given)),
            Piece::Text(_) => None,
        })
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.handlers.iter().try_for_each(|route| visit.call(&route.handler))
    }
}

impl Route {
    /// Whether the path is of this route.
    fn matches(&self, path: &str) -> bool {
        let mut given = path.split('/');
        let fit = self.pieces.iter().all(|piece| match (piece, given.next()) {
            (Piece::Text(text), Some(given)) => text == given,
            (Piece::Name(_), Some(given)) => !given.is_empty(),
            (_, None) => false,
        });
        fit && given.next().is_none()
    }
}

/// The routes of a server, and its protocol factory:
/// `await loop.create_server(router, "127.0.0.1", 8080)`.
#[pyclass(frozen, module = "rust_extension")]
#[derive(Default)]
pub(crate) struct Router {
    table: Mutex<Routes>,
    /// The table, once there was a connection. Those and their requests refer to the router: the
    /// garbage collector has to meet each handler in one place.
    serving: OnceLock<Routes>,
}

#[pymethods]
impl Router {
    #[new]
    fn new() -> Router {
        Router::default()
    }

    /// GET requests for `path` get these bytes, without any Python.
    #[pyo3(signature = (path, body, content_type="text/plain; charset=utf-8"))]
    fn fixed(&self, path: String, body: &[u8], content_type: &str) -> PyResult<()> {
        if content_type.contains(['\r', '\n']) {
            return Err(PyValueError::new_err("a content type has one line"));
        }
        let mut whole = Vec::new();
        answer(&mut whole, 200, content_type, body, true);
        self.change(|routes| drop(routes.fixed.insert(path, whole)))
    }

    /// Requests with this method and path call `handler(request)`, a function or an async one, which
    /// returns str, bytes, or a tuple of status and one of them. `{name}` in the path stands for a
    /// piece between slashes, and is in `request.params`.
    fn route(&self, py: Python<'_>, method: &str, path: &str, handler: Py<PyAny>) -> PyResult<()> {
        let pieces = path
            .split('/')
            .map(|piece| match piece.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
                Some(name) => Piece::Name(PyString::intern(py, name).unbind()),
                None => Piece::Text(piece.into()),
            })
            .collect();
        let route = Route { method: method.to_ascii_uppercase(), pieces, handler };
        self.change(|routes| routes.handlers.push(route))
    }

    /// A protocol for a connection.
    fn __call__<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        protocol(this.py(), Http::new(this.clone().unbind()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(routes) = self.serving.get() {
            routes.traverse(&visit)?;
        }
        self.table.try_lock().map_or(Ok(()), |routes| routes.traverse(&visit))
    }
}

impl Router {
    /// The table, which does not change any more.
    pub(super) fn routes(&self) -> &Routes {
        self.serving.get_or_init(|| std::mem::take(&mut *self.lock()))
    }

    fn change(&self, change: impl FnOnce(&mut Routes)) -> PyResult<()> {
        if self.serving.get().is_some() {
            return Err(PyValueError::new_err("the router has connections already"));
        }
        change(&mut self.lock());
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Routes> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
