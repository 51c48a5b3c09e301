//! What a transport has beyond its base.

use std::cell::{Cell, OnceCell};
use std::ffi::{c_int, c_void};

use oxloop_engine::{Fd, Key};
use pyo3::ffi;

use super::Socket;
use super::address::Whereabouts;
use super::datagram::Mailbox;
use super::types::Kind;
use crate::raw::Slot;

/// The state of a transport. Its fields are cells, since Python may call a transport from within
/// any of its own calls.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Tail {
    /// `__dict__` and the weak references: at offsets that the type knows.
    pub(super) dict: Cell<*mut ffi::PyObject>,
    pub(super) weak: Cell<*mut ffi::PyObject>,
    pub(super) kind: Kind,
    pub(super) owner: Slot,
    pub(super) protocol: Slot,
    /// Of a protocol of asyncio's streams: where what is received goes instead.
    pub(super) inflow: Slot,
    pub(super) context: Slot,
    pub(super) server: Slot,
    /// The Python socket: given, or made when somebody asks for it. Of a pipe transport, the file.
    pub(super) sock: Slot,
    /// Who waits for a file to be sent; nothing is written meanwhile.
    pub(super) file_waiter: Slot,
    pub(super) stream: Cell<Option<Key>>,
    pub(super) socket: Socket,
    /// The descriptor that the stream has instead of the file's own; ours to close.
    pub(super) duplicate: Cell<Option<Fd>>,
    pub(super) peer: Whereabouts,
    pub(super) local: Whereabouts,
    /// Of a datagram transport.
    pub(super) mailbox: OnceCell<Box<Mailbox>>,
    /// Ends of the connection that were noticed; from 1 on, nothing is sent any more.
    pub(super) lost: Cell<u32>,
    pub(super) closing: Cell<bool>,
    pub(super) paused: Cell<bool>,
    pub(super) eof_written: Cell<bool>,
    pub(super) connected: Cell<bool>,
    pub(super) buffered: Cell<bool>,
    /// The protocol is a TLS transport over this one.
    pub(super) protected: Cell<bool>,
    /// The protocol is another native module's.
    pub(super) native: Cell<bool>,
    /// The protocol is asyncio's for what a child writes.
    pub(super) of_child: Cell<bool>,
}

impl Tail {
    pub(super) fn new(kind: Kind) -> Tail {
        Tail {
            kind,
            dict: Cell::new(std::ptr::null_mut()),
            weak: Cell::new(std::ptr::null_mut()),
            owner: Slot::default(),
            protocol: Slot::default(),
            inflow: Slot::default(),
            context: Slot::default(),
            server: Slot::default(),
            sock: Slot::default(),
            file_waiter: Slot::default(),
            stream: Cell::new(None),
            socket: Socket { fd: Cell::new(None), bare: Cell::new(false) },
            duplicate: Cell::new(None),
            peer: Whereabouts::default(),
            local: Whereabouts::default(),
            mailbox: OnceCell::new(),
            lost: Cell::new(0),
            closing: Cell::new(false),
            paused: Cell::new(false),
            eof_written: Cell::new(false),
            connected: Cell::new(false),
            buffered: Cell::new(false),
            protected: Cell::new(false),
            native: Cell::new(false),
            of_child: Cell::new(false),
        }
    }

    fn slots(&self) -> [&Slot; 7] {
        let Tail { owner, protocol, inflow, context, server, sock, file_waiter, .. } = self;
        [owner, protocol, inflow, context, server, sock, file_waiter]
    }

    /// Visits what the tail refers to.
    ///
    /// # Safety
    /// For `tp_traverse`.
    pub(super) unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        let references = self.slots().map(Slot::as_ptr);
        let address = self.mailbox.get().map(|mailbox| mailbox.address.as_ptr());
        for reference in references.into_iter().chain(address).chain([self.dict.get()]) {
            if !reference.is_null() {
                // SAFETY: by contract.
                let stop = unsafe { visit(reference, arg) };
                if stop != 0 {
                    return stop;
                }
            }
        }
        0
    }

    /// Drops what the tail refers to.
    pub(super) fn clear(&self) {
        for slot in self.slots() {
            slot.set(None);
        }
        if let Some(mailbox) = self.mailbox.get() {
            mailbox.address.set(None);
        }
        let dict = self.dict.replace(std::ptr::null_mut());
        // SAFETY: null or our own reference.
        unsafe { ffi::Py_XDECREF(dict) }
    }
}
