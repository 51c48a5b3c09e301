//! An HTTP/1.1 server: requests are parsed and routed in Rust, and only the routes that have a
//! handler in Python call one.

mod message;
mod protocol;
mod router;

pub(crate) use message::Request;
pub(crate) use router::Router;
