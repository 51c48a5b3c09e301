//! A client for Redis and what speaks its protocol: commands are written at once, answers are parsed
//! in Rust as they come, and each command is awaited by itself. So what several tasks ask, or one asks
//! before it awaits, is a pipeline.

mod client;
mod reply;
mod resp;

use pyo3::create_exception;
use pyo3::exceptions::PyException;

pub(crate) use client::{Client, connect};

create_exception!(rust_extension, RedisError, PyException, "The server refuses a command.");
