//! Rust futures and protocols on the event loop that runs a program's Python: for extension modules
//! that use [`pyo3`], beside the package `oxloop` on the Python side.
//!
//! The loop is that of the interpreter's thread; there is no second one, and no thread to hop to:
//!
//! - [`RunningLoop::spawn`] runs a future, which need not be `Send`, and returns what Python awaits.
//! - [`into_future`] awaits in Rust what Python could await.
//! - [`Protocol`] is a protocol in Rust for `loop.create_server` and `loop.create_connection`: bytes
//!   reach it without becoming Python objects.
//! - [`Remote`] calls from other threads. Wakers of spawned futures may be used by any.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use oxloop_extension::{RunningLoop, sleep};
//! use pyo3::prelude::*;
//!
//! /// `await answer()`
//! #[pyfunction]
//! fn answer(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
//!     RunningLoop::current(py)?.spawn(async {
//!         sleep(Duration::from_millis(10)).await?;
//!         Ok(42)
//!     })
//! }
//! ```
//!
//! A panic in a future becomes the exception of what is awaited, one in a protocol or callback goes to
//! the loop's exception handler: RuntimeError, with the panic's message.
//!
//! The module of oxloop is found when the first function needs it, through a capsule whose version is
//! checked: ImportError if there is none or another version. A module built against this crate works
//! with each oxloop of the same version of the table ([`oxloop_abi::VERSION`]), whatever its own.

mod api;
mod awaitable;
mod event_loop;
mod glue;
mod guard;
mod home;
mod protocol;
mod python;
mod remote;
mod task;
mod time;
mod transport;

pub use event_loop::{RunningLoop, Timer};
pub use protocol::{Protocol, Visit, protocol, protocol_factory};
pub use python::{PythonFuture, into_future};
pub use remote::{Closed, Remote};
pub use time::{Sleep, sleep};
pub use transport::Transport;

pub use pyo3;
