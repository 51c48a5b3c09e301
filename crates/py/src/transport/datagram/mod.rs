//! `DatagramTransport`: a datagram endpoint, as a protocol sees it.
//!
//! It shares the tail and the life of the stream transport; here is what datagrams have of their
//! own: where they go, whom they come from, and that their errors end nothing. Which of them are
//! sent at once and which are joined, the engine decides.

mod destination;
mod open;
mod peers;
mod receive;
mod send;
mod table;

use std::cell::{Cell, RefCell};

use pyo3::prelude::*;

use super::Transport;
use crate::raw::{Ref, Slot};

pub(crate) use destination::Family;
pub(crate) use open::make_datagram_transport;
pub(super) use table::datagram_table;

use peers::Peers;

/// What a datagram transport has beyond the tail.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// The `remote_addr` that the endpoint was made with: where everything goes.
    pub(super) address: Slot,
    peers: RefCell<Peers>,
    family: Family,
    connection: Cell<Connection>,
}

/// Whether the socket itself knows where to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    None,
    /// To a peer without a name, of a Unix socket pair for instance.
    Nameless,
    Named,
}

impl Transport<'_> {
    /// Every datagram transport has one.
    fn mailbox(&self) -> PyResult<&Mailbox> {
        let missing = || pyo3::exceptions::PyTypeError::new_err("not a datagram transport");
        self.tail.mailbox.get().map(|mailbox| &**mailbox).ok_or_else(missing)
    }

    pub(super) fn get_address(py: Python<'_>, this: Transport<'_>) -> PyResult<Option<Ref>> {
        Ok(this.mailbox()?.address.get(py))
    }
}
