//! What oxloop asks of the operating system, and nothing else.
//!
//! Every function here is one system call (or the few that make one step), answers with
//! [`std::io::Result`], and holds no policy: when to poll, what to do about `EMFILE` or how much to
//! read is decided in `oxloop-engine`. This is the only crate that names `rustix` and `libc`.

pub mod clock;
pub mod datagram;
pub mod fd;
pub mod file;
pub mod library;
mod name;
pub mod peer;
pub mod poller;
pub mod process;
pub mod resolve;
pub mod socket;
mod wake;

pub use fd::Fd;
pub use name::Name;
pub use poller::{Batch, Event, Interest, Poller};
