//! `oxloop_probe`: what the tests of `crates/extension` call.

mod futures;
mod protocols;

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;

/// Values that count themselves: what is left over has leaked.
static LIVE: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Counted;

impl Counted {
    fn new() -> Counted {
        LIVE.fetch_add(1, Ordering::SeqCst);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

#[pymodule]
mod oxloop_probe {
    use super::*;

    #[pymodule_export]
    use super::futures::{
        Parking, Posts, await_python, await_twice, call_later, call_soon, context_value,
        defer_value, fail, guarded, join_in_rust, never, panic_in_drop, panics, posts, slept,
        spawn_nothing, spawn_value, woken_by_thread,
    };
    #[pymodule_export]
    use super::protocols::{echo, recorder};

    /// How many values there are that should be gone when nothing runs.
    #[pyfunction]
    fn live() -> usize {
        LIVE.load(Ordering::SeqCst)
    }
}
