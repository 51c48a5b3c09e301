//! asyncio's event loop for Rust programs.
//!
//! asyncio is a model of concurrency as much as a module of Python: one loop in one thread runs
//! callbacks, tasks and connections, one after the other, and nothing needs a lock. This crate is
//! that model in Rust, on the engine that oxloop has for Python, and without Python.
//!
//! | of asyncio | here |
//! | --- | --- |
//! | [running](https://docs.python.org/3/library/asyncio-runner.html) | [`run`], [`EventLoop`] |
//! | [callbacks](https://docs.python.org/3/library/asyncio-eventloop.html) | [`Loop::call_soon`], [`Loop::call_later`], [`Loop::call_at`], [`Remote::call_soon_threadsafe`] |
//! | tasks | [`create_task`], [`Task`], [`current_task`], [`all_tasks`] |
//! | waiting | [`sleep`], [`timeout`], [`wait`], [`gather`], [`as_completed`], [`shield`] |
//! | futures | [`Loop::create_future`], [`future::Future`] |
//! | threads | [`Loop::run_in_executor`] |
//! | descriptors, signals | [`Loop::add_reader`], [`Loop::add_writer`], [`Loop::add_signal_handler`] |
//! | transports and protocols | [`Transport`], [`Protocol`], [`Loop::create_connection`], [`Loop::create_server`] |
//! | datagrams, pipes, processes | [`DatagramProtocol`], [`Loop::connect_read_pipe`], [`SubprocessProtocol`] |
//! | streams | [`Stream`], [`Loop::open_connection`], [`Loop::start_server`] |
//! | errors of callbacks, debug mode | [`Loop::set_exception_handler`], [`Loop::set_debug`] |
//!
//! ```
//! use std::time::Duration;
//!
//! let answer = oxloop::run(async {
//!     let quick = oxloop::create_task(async { 42 });
//!     oxloop::sleep(Duration::from_millis(1)).await;
//!     quick.await.unwrap()
//! })?;
//! assert_eq!(answer, 42);
//! # Ok::<(), oxloop::Error>(())
//! ```
//!
//! # What differs from asyncio, because this is Rust
//!
//! - **Cancelling a task drops its future** at the point where it waits, in a step of its own:
//!   destructors are the `finally`. Nothing can refuse.
//! - **Protocols are not called from within themselves.** `pause_writing` is called when the
//!   callback that wrote too much has returned; calls of a transport take effect at once.
//! - **A panic is an exception**: of a callback, it goes to the exception handler; of a task, it is
//!   the task's [`TaskError`]; of a protocol, it ends the connection. The loop goes on.
//! - **Dropping the [`EventLoop`] closes it**, and with it everything that it has: tasks, connections,
//!   children. Nothing that refers to anything in a circle survives that.
//! - Functions that need a running loop panic without one, as their documentation says. The methods of
//!   [`Loop`] return errors instead.
//!
//! # What is the same
//!
//! The order of things, since it is the engine's: ready callbacks, then events, then due timers, each
//! batch exactly once; equal deadlines first in, first out; `connection_made`, data, `eof_received`,
//! `connection_lost` once and never inside the call that causes it. Small writes of one callback
//! leave in one system call.
//!
//! # Features
//!
//! - `tls`: TLS for connections, servers and `start_tls`, by [rustls](https://docs.rs/rustls).
//! - `hyper`: [hyper](https://docs.rs/hyper)'s runtime traits, in the module `hyper`.
//!
//! Linux only. There is no unsafe code in this crate.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod combine;
mod connect;
mod error;
mod event_loop;
mod executor;
pub mod future;
mod host;
mod hub;
#[cfg(feature = "hyper")]
pub mod hyper;
mod pipe;
mod process;
mod protocol;
mod remote;
mod resolve;
mod server;
mod stream;
mod task;
mod time;
mod tls;
mod transport;

pub use combine::{AsCompleted, IntoTask, ReturnWhen, as_completed, gather, wait};
pub use connect::ConnectOptions;
pub use error::{Error, Panic, Result, TaskError};
pub use event_loop::{Cause, Context, EventLoop, Handle, Loop, TimerHandle, get_running_loop, run};
pub use executor::Execution;
pub use process::{Exit, Process, SubprocessTransport};
pub use protocol::{
    Buffered, BufferedProtocol, DatagramProtocol, IntoProtocol, Protocol, SubprocessProtocol,
};
pub use remote::Remote;
pub use resolve::{AddressInfo, Hints};
#[cfg(feature = "tls")]
pub use rustls;
pub use server::{Server, ServerOptions};
pub use stream::{ReadHalf, Stream, WriteHalf};
pub use task::{
    Join, Shield, Task, TaskRef, Watching, all_tasks, create_task, current_task, shield,
};
pub use time::{Elapsed, Sleep, Timeout, YieldNow, sleep, sleep_until, timeout, yield_now};
#[cfg(feature = "tls")]
pub use tls::ClientTls;
pub use transport::{DatagramOptions, DatagramTransport, Limits, Transport};
