//! Shared libraries that the process has loaded, and what is in them.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

/// A shared library. It stays loaded.
#[derive(Debug)]
pub struct Library(NonNull<c_void>);

// SAFETY: a handle that is only passed to dlsym, which any thread may call.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

impl Library {
    /// The library at `path`, if it is loaded already.
    pub fn loaded(path: &CStr) -> Option<Library> {
        // SAFETY: a terminated string. Nothing is loaded, so nothing of the library's is run.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        NonNull::new(handle).map(Library)
    }

    /// The address of `name`, in the library or in what it was linked with.
    pub fn symbol(&self, name: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: a handle that is never closed and a terminated string.
        NonNull::new(unsafe { libc::dlsym(self.0.as_ptr(), name.as_ptr()) })
    }
}
