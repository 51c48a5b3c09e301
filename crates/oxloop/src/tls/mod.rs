//! TLS over a connection, by rustls.
//!
//! The order in which things are read, written and said is the engine's pump; a layer lies between a
//! connection's stream and its user, and the connection asks it first in everything.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod layer;
#[cfg(feature = "tls")]
mod open;
#[cfg(feature = "tls")]
mod session;

#[cfg(not(feature = "tls"))]
pub(crate) use absent::{Session, Tls};
#[cfg(feature = "tls")]
pub(crate) use layer::Tls;
#[cfg(feature = "tls")]
pub use open::ClientTls;
#[cfg(feature = "tls")]
pub(crate) use open::{accept, connect};
#[cfg(feature = "tls")]
pub(crate) use session::Session;
