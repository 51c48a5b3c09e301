//! What the threads of a loop share is made of. Under `cfg(loom)` it is that of a model checker, which
//! tries every interleaving: see `tests/loom.rs`.

#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicBool};

#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicBool};
