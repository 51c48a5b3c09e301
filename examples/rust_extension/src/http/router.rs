//! Which path is answered by what.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oxloop_extension::{Visit, protocol};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use super::message::{Params, answer};
use super::protocol::Http;

/// What a request is answered with.
pub(super) enum Found<'a> {
    /// The whole answer, as bytes.
    Fixed(&'a [u8]),
    Handler(&'a Py<PyAny>, Params),
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
    Name(String),
}

impl Routes {
    pub(super) fn find(&self, method: &str, path: &str) -> Found<'_> {
        let fixed = self.fixed.get(path);
        if let Some(answer) = fixed.filter(|_| method == "GET") {
            return Found::Fixed(answer);
        }
        let mut known = fixed.is_some();
        for route in &self.handlers {
            let Some(params) = route.matches(path) else { continue };
            if route.method == method {
                return Found::Handler(&route.handler, params);
            }
            known = true;
        }
        if known { Found::WrongMethod } else { Found::Nothing }
    }

    pub(super) fn traverse(&self, visit: &mut Visit) {
        self.handlers.iter().for_each(|route| visit.visit(&route.handler));
    }
}

impl Route {
    /// What the path has in the places of the names, if it is of this route.
    fn matches(&self, path: &str) -> Option<Params> {
        let mut params = Params::new();
        let mut given = path.split('/');
        for piece in &self.pieces {
            let given = given.next()?;
            match piece {
                Piece::Text(text) if text == given => {}
                Piece::Text(_) => return None,
                Piece::Name(_) if given.is_empty() => return None,
                Piece::Name(name) => params.push((name.clone(), given.to_owned())),
            }
        }
        given.next().is_none().then_some(params)
    }
}

/// The routes of a server, and its protocol factory:
/// `await loop.create_server(router, "127.0.0.1", 8080)`.
#[pyclass(frozen, module = "rust_extension")]
#[derive(Default)]
pub(crate) struct Router(Mutex<Arc<Routes>>);

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
    fn route(&self, method: &str, path: &str, handler: Py<PyAny>) -> PyResult<()> {
        let pieces = path
            .split('/')
            .map(|piece| match piece.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
                Some(name) => Piece::Name(name.into()),
                None => Piece::Text(piece.into()),
            })
            .collect();
        let route = Route { method: method.to_ascii_uppercase(), pieces, handler };
        self.change(|routes| routes.handlers.push(route))
    }

    /// A protocol for a connection.
    fn __call__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let routes = self.lock().clone();
        protocol(py, Http::new(routes))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(routes) = self.0.try_lock() else { return Ok(()) };
        routes.handlers.iter().try_for_each(|route| visit.call(&route.handler))
    }
}

impl Router {
    fn change(&self, change: impl FnOnce(&mut Routes)) -> PyResult<()> {
        let mut routes = self.lock();
        let Some(routes) = Arc::get_mut(&mut routes) else {
            return Err(PyValueError::new_err("the router has connections already"));
        };
        change(routes);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<Routes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
