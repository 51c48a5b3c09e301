//! What a TLS transport has beyond its base.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::rc::Rc;

use oxloop_engine::Pump;
use pyo3::ffi;

use crate::host::PyHost;
use crate::raw::{Ref, Slot};

/// The state of a TLS transport. Its fields are cells, since Python may call a transport from
/// within any of its own calls.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Tail {
    /// `__dict__` and the weak references: at offsets that the type knows.
    pub(super) dict: Cell<*mut ffi::PyObject>,
    pub(super) weak: Cell<*mut ffi::PyObject>,
    pub(super) owner: Slot,
    /// The transport that carries the ciphertext.
    pub(super) lower: Slot,
    pub(super) protocol: Slot,
    /// Of a protocol of asyncio's streams: where what is received goes instead.
    pub(super) inflow: Slot,
    /// Who waits for the handshake.
    pub(super) waiter: Slot,
    pub(super) ssl_context: Slot,
    pub(super) ssl_object: Slot,
    /// What the handshake has brought about, once somebody asked.
    pub(super) info: Slot,
    /// Until the handshake has ended, later until the end of the connection.
    pub(super) timer: Slot,
    /// Seconds, as they were given.
    pub(super) handshake_timeout: Slot,
    pub(super) shutdown_timeout: Slot,
    /// What `connection_lost` will be told, if nothing worse happens.
    pub(super) verdict: Slot,
    /// In a box, since the collector looks at it.
    pub(super) pump: RefCell<Option<Rc<Pump<PyHost>>>>,
    /// Ciphertext that is not looked at: the water marks.
    pub(super) read_marks: Cell<(usize, usize)>,
    pub(super) write_marks: Cell<(usize, usize)>,
    /// Writes after the end.
    pub(super) lost: Cell<u32>,
    pub(super) closing: Cell<bool>,
    /// `connection_made` was called, or is not to be.
    pub(super) connected: Cell<bool>,
    /// `eof_received` was called.
    pub(super) end_told: Cell<bool>,
    pub(super) shaken: Cell<bool>,
    /// A server's connection: nobody waits for it.
    pub(super) accepted: Cell<bool>,
    pub(super) server_side: Cell<bool>,
    pub(super) buffered: Cell<bool>,
    /// A stream's protocol, which pauses and goes on by itself.
    pub(super) streaming: Cell<bool>,
    /// Reading is paused, and will go on in the next turn.
    pub(super) resuming: Cell<bool>,
    /// Somebody is driving the pump.
    pub(super) driving: Cell<bool>,
    /// The protocol is a TLS transport over this one.
    pub(super) protected: Cell<bool>,
    /// The transport below was told not to read.
    pub(super) full: Cell<bool>,
    /// In debug mode: when the handshake began, by the loop's clock.
    pub(super) began: Cell<f64>,
}

impl Tail {
    pub(super) fn new() -> Tail {
        Tail {
            dict: Cell::new(std::ptr::null_mut()),
            weak: Cell::new(std::ptr::null_mut()),
            owner: Slot::default(),
            lower: Slot::default(),
            protocol: Slot::default(),
            inflow: Slot::default(),
            waiter: Slot::default(),
            ssl_context: Slot::default(),
            ssl_object: Slot::default(),
            info: Slot::default(),
            timer: Slot::default(),
            handshake_timeout: Slot::default(),
            shutdown_timeout: Slot::default(),
            verdict: Slot::default(),
            pump: RefCell::default(),
            read_marks: Cell::new((64 * 1024, 256 * 1024)),
            write_marks: Cell::new((128 * 1024, 512 * 1024)),
            lost: Cell::new(0),
            closing: Cell::new(false),
            connected: Cell::new(false),
            end_told: Cell::new(false),
            shaken: Cell::new(false),
            accepted: Cell::new(false),
            server_side: Cell::new(false),
            buffered: Cell::new(false),
            streaming: Cell::new(false),
            resuming: Cell::new(false),
            driving: Cell::new(false),
            protected: Cell::new(false),
            full: Cell::new(false),
            began: Cell::new(f64::NAN),
        }
    }

    fn slots(&self) -> [&Slot; 12] {
        [
            &self.owner,
            &self.lower,
            &self.protocol,
            &self.inflow,
            &self.waiter,
            &self.ssl_context,
            &self.ssl_object,
            &self.info,
            &self.timer,
            &self.handshake_timeout,
            &self.shutdown_timeout,
            &self.verdict,
        ]
    }

    /// Visits what the tail refers to.
    ///
    /// # Safety
    /// For `tp_traverse`.
    pub(super) unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
        let show = |reference: *mut ffi::PyObject| match reference.is_null() {
            true => 0,
            // SAFETY: by contract.
            false => unsafe { visit(reference, arg) },
        };
        let references = self.slots().map(Slot::as_ptr);
        for reference in references.into_iter().chain([self.dict.get()]) {
            let stop = show(reference);
            if stop != 0 {
                return stop;
            }
        }
        let Ok(pump) = self.pump.try_borrow() else { return 0 };
        let Some(pump) = pump.as_ref() else { return 0 };
        // A clone in somebody's hands: its references are not all ours to show.
        if Rc::strong_count(pump) > 1 {
            return 0;
        }
        let mut stop = 0;
        pump.visit(|error: &Ref| stop = show(error.as_ptr()));
        // SAFETY: by contract.
        if stop == 0 { unsafe { pump.session().traverse(visit, arg) } } else { stop }
    }

    /// Drops what the tail refers to.
    pub(super) fn clear(&self) {
        for slot in self.slots() {
            slot.set(None);
        }
        let pump = self.pump.try_borrow_mut().ok().and_then(|mut pump| pump.take());
        drop(pump);
        let dict = self.dict.replace(std::ptr::null_mut());
        // SAFETY: null or our own reference.
        unsafe { ffi::Py_XDECREF(dict) }
    }
}
