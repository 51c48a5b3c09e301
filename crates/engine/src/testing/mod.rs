//! A host without Python, a kernel without sockets, a clock that one sets.
//!
//! [`Script`] is the kernel: a test says what becomes ready, what a read brings and how much a
//! write takes, and looks at what the engine did. [`Bench`] is the host: it runs the engine and
//! writes down every step. [`ToyTls`] is a TLS session that one can read.

mod bench;
mod script;
mod toy;

pub use bench::{Bench, TestHost};
pub use script::Script;
pub use toy::{ToyError, ToyTls};
