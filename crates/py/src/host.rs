//! The engine's nouns, in Python's terms.

use oxloop_engine::{Host, System};

use crate::handle::TaskStep;
use crate::native::NativeCall;
use crate::raw::Ref;
use crate::transport::Session;

/// A callback to run: a handle or, in its place, a [`TaskStep`] or a [`NativeCall`].
///
/// One word: queues move jobs around, and larger ones cost more than what they save.
#[derive(Debug)]
pub(crate) struct Job(pub(crate) Ref);

impl Job {
    /// Whether it is a handle, ours or another, that debug mode may look at.
    #[inline]
    pub(crate) fn is_handle(&self) -> bool {
        TaskStep::of(&self.0).is_none() && !NativeCall::is(&self.0)
    }

    /// Shows the collector what the job holds.
    pub(crate) fn visit(&self, mut reach: impl FnMut(&Ref)) {
        match TaskStep::of(&self.0) {
            None if NativeCall::is(&self.0) => NativeCall::visit(&self.0, reach),
            None => reach(&self.0),
            Some(TaskStep { context, target, argument }) => {
                reach(context);
                reach(target);
                argument.iter().for_each(reach);
            }
        }
    }
}

/// Bytes that are kept where they are until they are sent: an exact `bytes` object.
#[derive(Debug)]
pub(crate) struct HeldBytes(Ref);

impl HeldBytes {
    /// `bytes` is an exact `bytes` object: dropping one runs no Python.
    pub(crate) fn new(bytes: Ref) -> HeldBytes {
        HeldBytes(bytes)
    }

    pub(crate) fn into_ref(self) -> Ref {
        self.0
    }
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        use pyo3::ffi;
        // SAFETY: an exact bytes object, immutable and alive while it is held.
        unsafe {
            let start = ffi::PyBytes_AS_STRING(self.0.as_ptr()).cast::<u8>();
            let length = ffi::Py_SIZE(self.0.as_ptr());
            std::slice::from_raw_parts(start, usize::try_from(length).unwrap_or(0))
        }
    }
}

/// The binding.
#[derive(Debug)]
pub(crate) struct PyHost;

impl Host for PyHost {
    type Job = Job;
    /// A transport; or, of a listener, what `_start_serving` was given.
    type Conn = Ref;
    type Bytes = HeldBytes;
    type Tls = Session;
    type Kernel = System;

    #[inline]
    fn approach(job: &Job) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: prefetching has no effect but on caches, whatever the address.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let start = job.0.as_ptr().cast::<i8>();
            _mm_prefetch::<_MM_HINT_T0>(start);
            _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(64));
        }
    }
}
