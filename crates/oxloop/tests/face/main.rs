//! A Rust program on the loop, as programs see it. No Python, and no test that measures time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod connections;
mod datagrams;
mod drops;
mod executor;
mod futures;
mod hyper;
mod many;
mod panics;
mod pipes;
mod processes;
mod schedule;
mod servers;
mod streams;
mod support;
mod tasks;
mod threads;
mod tls;
mod watches;
