//! OpenSSL, the one that the interpreter's `_ssl` is linked with: the few functions that move data.
//!
//! Everything unsafe about it is here. Nothing is linked: the functions are found in the library
//! that `_ssl` has loaded, and used on the `SSL` that an object of its holds. What cannot be found,
//! or is not as expected, means [`None`]: sessions then go through `ssl.SSLObject`.
//!
//! An `SSL` of [`Direct`] reads from and writes to a [`Wire`], by a BIO of ours. The BIO owns a
//! reference to the wire, until OpenSSL frees it with the `SSL`. The interpreter lets other threads
//! run during a handshake, and a program may use the `ssl.SSLObject` from another thread; therefore
//! the wire has a lock.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_ulong, c_void};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use oxloop_os::library::Library;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::hooks::hooks;
use crate::raw::Lookup;

type Ssl = c_void;
type Bio = c_void;
type Method = c_void;

type ReadFn = unsafe extern "C" fn(*mut Bio, *mut c_char, c_int) -> c_int;
type WriteFn = unsafe extern "C" fn(*mut Bio, *const c_char, c_int) -> c_int;
type CtrlFn = unsafe extern "C" fn(*mut Bio, c_int, c_long, *mut c_void) -> c_long;
type DestroyFn = unsafe extern "C" fn(*mut Bio) -> c_int;

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions, by OpenSSL's names.
        #[expect(non_snake_case, reason = "the names are OpenSSL's")]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        #[expect(non_snake_case, reason = "as above")]
        impl Functions {
            fn find(library: &Library) -> Option<Functions> {
                $(
                    let name = CString::new(stringify!($name)).ok()?;
                    let $name = library.symbol(&name)?;
                )*
                Some(Functions {
                    $(
                        // SAFETY: OpenSSL's functions have had these types since 1.1.1.
                        $name: unsafe {
                            std::mem::transmute::<
                                NonNull<c_void>,
                                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                            >($name)
                        },
                    )*
                })
            }
        }
    };
}

functions! {
    SSL_get_SSL_CTX: fn(*const Ssl) -> *mut c_void;
    SSL_get_ex_data: fn(*const Ssl, c_int) -> *mut c_void;
    SSL_set_bio: fn(*mut Ssl, *mut Bio, *mut Bio);
    SSL_read_ex: fn(*mut Ssl, *mut c_void, usize, *mut usize) -> c_int;
    SSL_write_ex: fn(*mut Ssl, *const c_void, usize, *mut usize) -> c_int;
    SSL_get_error: fn(*const Ssl, c_int) -> c_int;
    SSL_pending: fn(*const Ssl) -> c_int;
    SSL_shutdown: fn(*mut Ssl) -> c_int;
    ERR_peek_error: fn() -> c_ulong;
    ERR_clear_error: fn();
    BIO_get_new_index: fn() -> c_int;
    BIO_meth_new: fn(c_int, *const c_char) -> *mut Method;
    BIO_meth_set_read: fn(*mut Method, ReadFn) -> c_int;
    BIO_meth_set_write: fn(*mut Method, WriteFn) -> c_int;
    BIO_meth_set_ctrl: fn(*mut Method, CtrlFn) -> c_int;
    BIO_meth_set_destroy: fn(*mut Method, DestroyFn) -> c_int;
    BIO_new: fn(*const Method) -> *mut Bio;
    BIO_set_data: fn(*mut Bio, *mut c_void);
    BIO_get_data: fn(*mut Bio) -> *mut c_void;
    BIO_set_init: fn(*mut Bio, c_int);
    BIO_set_flags: fn(*mut Bio, c_int);
    BIO_clear_flags: fn(*mut Bio, c_int);
}

/// OpenSSL and our kind of BIO.
struct OpenSsl {
    functions: Functions,
    method: NonNull<Method>,
    /// `_ssl._SSLSocket`, whose layout is known.
    object_type: usize,
}

// SAFETY: functions and a method table that is not changed any more.
unsafe impl Send for OpenSsl {}
// SAFETY: as above.
unsafe impl Sync for OpenSsl {}

static OPENSSL: OnceLock<Option<OpenSsl>> = OnceLock::new();

/// `openssl()` for BIO callbacks, which exist only after it was found.
fn found() -> Option<&'static OpenSsl> {
    OPENSSL.get().and_then(Option::as_ref)
}

fn openssl(py: Python<'_>) -> Option<&'static OpenSsl> {
    if OPENSSL.get().is_none() {
        let openssl = OpenSsl::find(py);
        // Another thread may have been as fast: it found the same.
        let _ = OPENSSL.set(openssl);
    }
    found()
}

impl OpenSsl {
    fn find(py: Python<'_>) -> Option<OpenSsl> {
        const SOURCE_SINK: c_int = 0x0400;
        const NAME: &CStr = c"oxloop";
        let (path, object_type) = hooks()
            .get(py, "tls_library")
            .and_then(|library| library.call0()?.extract::<(Option<String>, Bound<'_, PyAny>)>())
            .ok()?;
        let library = Library::loaded(&CString::new(path?).ok()?)?;
        let functions = Functions::find(&library)?;
        // SAFETY: a new method table, which stays for the life of the process.
        let method = unsafe {
            let kind = (functions.BIO_get_new_index)() | SOURCE_SINK;
            let method = NonNull::new((functions.BIO_meth_new)(kind, NAME.as_ptr()))?;
            (functions.BIO_meth_set_read)(method.as_ptr(), read);
            (functions.BIO_meth_set_write)(method.as_ptr(), write);
            (functions.BIO_meth_set_ctrl)(method.as_ptr(), control);
            (functions.BIO_meth_set_destroy)(method.as_ptr(), destroy);
            method
        };
        Some(OpenSsl { functions, method, object_type: object_type.as_ptr() as usize })
    }
}

/// Ciphertext on its way: in, where OpenSSL reads, and out, where it writes.
#[derive(Debug, Default)]
pub(super) struct Wire {
    incoming: Vec<u8>,
    /// How much of `incoming` is read.
    start: usize,
    outgoing: Vec<u8>,
}

/// Memory that an idle connection may keep (bytes).
const KEPT: usize = 4 * 1024;

impl Wire {
    fn unread(&self) -> usize {
        self.incoming.len().saturating_sub(self.start)
    }

    fn read_into(&mut self, buffer: &mut [u8]) -> usize {
        let rest = self.incoming.get(self.start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.start += count;
        if self.unread() == 0 {
            self.start = 0;
            empty(&mut self.incoming);
        }
        count
    }
}

fn empty(bytes: &mut Vec<u8>) {
    bytes.clear();
    if bytes.capacity() > KEPT {
        *bytes = Vec::new();
    }
}

fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

const READ_AGAIN: c_int = 0x01 | 0x08;
const ALL_FLAGS: c_int = 0x0f;

/// The wire of a BIO of ours.
///
/// # Safety
/// `bio` is one, and lives for `'a`.
unsafe fn wire_of<'a>(openssl: &OpenSsl, bio: *mut Bio) -> Option<&'a Mutex<Wire>> {
    // SAFETY: null, or what `Direct::attach` has put there: the BIO owns a reference.
    unsafe { (openssl.functions.BIO_get_data)(bio).cast::<Mutex<Wire>>().as_ref() }
}

unsafe extern "C" fn read(bio: *mut Bio, buffer: *mut c_char, size: c_int) -> c_int {
    let Some(openssl) = found() else { return -1 };
    let size = usize::try_from(size).unwrap_or(0);
    // SAFETY: OpenSSL passes a BIO of ours and a buffer of that size.
    unsafe {
        let Some(wire) = wire_of(openssl, bio) else { return -1 };
        (openssl.functions.BIO_clear_flags)(bio, ALL_FLAGS);
        if buffer.is_null() || size == 0 {
            return 0;
        }
        let buffer = std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size);
        match lock(wire).read_into(buffer) {
            0 => {
                (openssl.functions.BIO_set_flags)(bio, READ_AGAIN);
                -1
            }
            count => c_int::try_from(count).unwrap_or(-1),
        }
    }
}

unsafe extern "C" fn write(bio: *mut Bio, data: *const c_char, size: c_int) -> c_int {
    let Some(openssl) = found() else { return -1 };
    let length = usize::try_from(size).unwrap_or(0);
    // SAFETY: OpenSSL passes a BIO of ours and so many bytes.
    unsafe {
        let Some(wire) = wire_of(openssl, bio) else { return -1 };
        (openssl.functions.BIO_clear_flags)(bio, ALL_FLAGS);
        if data.is_null() || length == 0 {
            return 0;
        }
        let data = std::slice::from_raw_parts(data.cast::<u8>(), length);
        let mut wire = lock(wire);
        if wire.outgoing.try_reserve(length).is_err() {
            return -1;
        }
        wire.outgoing.extend_from_slice(data);
    }
    size
}

unsafe extern "C" fn control(bio: *mut Bio, command: c_int, _: c_long, _: *mut c_void) -> c_long {
    const PENDING: c_int = 10;
    const FLUSH: c_int = 11;
    const DUPLICATE: c_int = 12;
    const WRITES_PENDING: c_int = 13;
    // SAFETY: OpenSSL passes a BIO of ours.
    let wire = found().and_then(|openssl| unsafe { wire_of(openssl, bio) });
    match command {
        FLUSH | DUPLICATE => 1,
        PENDING => wire.map_or(0, |wire| lock(wire).unread() as c_long),
        WRITES_PENDING => wire.map_or(0, |wire| lock(wire).outgoing.len() as c_long),
        _ => 0,
    }
}

unsafe extern "C" fn destroy(bio: *mut Bio) -> c_int {
    if let Some(openssl) = found() {
        // SAFETY: a BIO of ours that nobody will use any more: its reference is dropped once.
        unsafe {
            let wire = (openssl.functions.BIO_get_data)(bio).cast::<Mutex<Wire>>();
            (openssl.functions.BIO_set_data)(bio, std::ptr::null_mut());
            if !wire.is_null() {
                drop(Arc::from_raw(wire.cast_const()));
            }
        }
    }
    1
}

/// How a call of OpenSSL ended.
pub(super) enum Outcome {
    Bytes(usize),
    /// More has to come in.
    Blocked,
    /// The peer has said goodbye.
    Ended,
    /// Something else, about which OpenSSL's queue has more.
    Failed,
}

/// The `SSL` of an object of `_ssl`, over a wire. Valid while the object lives.
#[derive(Debug)]
pub(super) struct Direct {
    ssl: NonNull<Ssl>,
    wire: Arc<Mutex<Wire>>,
}

impl Direct {
    /// Puts a wire under `object`, an unused `_ssl._SSLSocket`. `None` if anything about it is not
    /// as it should be: then nothing has been changed.
    pub(super) fn attach(object: &Bound<'_, PyAny>) -> Option<Direct> {
        let openssl = openssl(object.py())?;
        let ssl = ssl_of(openssl, object)?;
        let wire = Arc::new(Mutex::new(Wire::default()));
        let functions = &openssl.functions;
        // SAFETY: a new BIO of ours, which gets a reference to the wire; the SSL takes the BIO over
        // and drops those that it had.
        unsafe {
            let bio = NonNull::new((functions.BIO_new)(openssl.method.as_ptr()))?.as_ptr();
            (functions.BIO_set_data)(bio, Arc::into_raw(wire.clone()).cast_mut().cast());
            (functions.BIO_set_init)(bio, 1);
            (functions.SSL_set_bio)(ssl.as_ptr(), bio, bio);
        }
        Some(Direct { ssl, wire })
    }

    pub(super) fn wire(&self) -> MutexGuard<'_, Wire> {
        lock(&self.wire)
    }

    /// Decrypts into `buffer`. May run Python.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Outcome {
        self.call(|functions, ssl, count| {
            // SAFETY: a live SSL, and a buffer of that size.
            unsafe { (functions.SSL_read_ex)(ssl, buffer.as_mut_ptr().cast(), buffer.len(), count) }
        })
    }

    /// Encrypts `data`. May run Python.
    pub(super) fn write(&self, data: &[u8]) -> Outcome {
        self.call(|functions, ssl, count| {
            // SAFETY: a live SSL, and so many bytes.
            unsafe { (functions.SSL_write_ex)(ssl, data.as_ptr().cast(), data.len(), count) }
        })
    }

    /// Says goodbye; ended when the peer has, too.
    pub(super) fn shutdown(&self) -> Outcome {
        let mut answered = false;
        let outcome = self.call(|functions, ssl, _| {
            // SAFETY: a live SSL.
            let result = unsafe { (functions.SSL_shutdown)(ssl) };
            answered = result >= 0;
            result
        });
        match outcome {
            Outcome::Bytes(_) => Outcome::Ended,
            // Said, and not answered; there is no error to ask for.
            _ if answered => Outcome::Blocked,
            other => other,
        }
    }

    /// Whether decrypted bytes wait.
    pub(super) fn has_plaintext(&self) -> bool {
        // SAFETY: a live SSL.
        found().is_some_and(|openssl| unsafe {
            (openssl.functions.SSL_pending)(self.ssl.as_ptr()) > 0
        })
    }

    /// Leaves nothing in OpenSSL's queue of errors.
    pub(super) fn forget_errors(&self) {
        if let Some(openssl) = found() {
            openssl.functions.forget_errors();
        }
    }

    /// A call, with an empty queue of errors before it and, unless it failed, after it.
    fn call(&self, call: impl FnOnce(&Functions, *mut Ssl, *mut usize) -> c_int) -> Outcome {
        const WANT_READ: c_int = 2;
        const WANT_WRITE: c_int = 3;
        const ZERO_RETURN: c_int = 6;
        let Some(OpenSsl { functions, .. }) = found() else { return Outcome::Failed };
        let mut count = 0;
        functions.forget_errors();
        let result = call(functions, self.ssl.as_ptr(), &mut count);
        if result > 0 {
            return Outcome::Bytes(count);
        }
        // SAFETY: a live SSL; right after its call, in the same thread.
        let outcome = match unsafe { (functions.SSL_get_error)(self.ssl.as_ptr(), result) } {
            WANT_READ | WANT_WRITE => Outcome::Blocked,
            ZERO_RETURN => Outcome::Ended,
            _ => return Outcome::Failed,
        };
        functions.forget_errors();
        outcome
    }
}

impl Functions {
    /// Empties OpenSSL's queue of errors. It mostly is empty, and to clear it goes through all of its
    /// places.
    #[inline]
    fn forget_errors(&self) {
        // SAFETY: no preconditions.
        unsafe {
            if (self.ERR_peek_error)() != 0 {
                (self.ERR_clear_error)();
            }
        }
    }
}

impl Wire {
    /// Takes ciphertext in. False if there is no memory.
    pub(super) fn feed(&mut self, ciphertext: &[u8]) -> bool {
        if self.start > 0 {
            self.incoming.drain(..self.start.min(self.incoming.len()));
            self.start = 0;
        }
        let room = self.incoming.try_reserve(ciphertext.len()).is_ok();
        if room {
            self.incoming.extend_from_slice(ciphertext);
        }
        room
    }

    pub(super) fn waiting(&self) -> usize {
        self.unread()
    }

    pub(super) fn output_len(&self) -> usize {
        self.outgoing.len()
    }

    pub(super) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Gives the memory of an output back.
    pub(super) fn recycle(&mut self, mut output: Vec<u8>) {
        if self.outgoing.is_empty() && output.capacity() <= KEPT {
            output.clear();
            self.outgoing = output;
        }
    }
}

/// The `SSL` in an `_ssl._SSLSocket`: behind the object's header and the reference to its socket;
/// then comes its context, in which an `SSL_CTX` is behind the header.
///
/// That this is so is seen by what has to be equal: the context that the object names, the
/// `SSL_CTX` that OpenSSL names, and the object that OpenSSL was told of.
fn ssl_of(openssl: &OpenSsl, object: &Bound<'_, PyAny>) -> Option<NonNull<Ssl>> {
    const WORD: usize = size_of::<usize>();
    if object.get_type().as_ptr() as usize != openssl.object_type {
        return None;
    }
    let context = object.attribute("context").ok()?;
    let header = basic_size(&object.py().get_type::<PyAny>())?;
    if basic_size(&object.get_type())? < header + 3 * WORD
        || basic_size(&context.get_type())? < header + WORD
    {
        return None;
    }
    // SAFETY: both objects are as large; only words are read, and nothing is followed before the
    // object's idea of its context was right.
    unsafe {
        let start = object.as_ptr().byte_add(header).cast::<*mut c_void>();
        let (ssl, own_context) = (start.add(1).read(), start.add(2).read());
        if own_context != context.as_ptr().cast() || !ssl.cast::<usize>().is_aligned() {
            return None;
        }
        let ssl = NonNull::new(ssl)?;
        let ssl_ctx = context.as_ptr().byte_add(header).cast::<*mut c_void>().read();
        let functions = &openssl.functions;
        let same = (functions.SSL_get_SSL_CTX)(ssl.as_ptr()) == ssl_ctx
            && (functions.SSL_get_ex_data)(ssl.as_ptr(), 0) == object.as_ptr().cast();
        same.then_some(ssl)
    }
}

fn basic_size(class: &Bound<'_, PyAny>) -> Option<usize> {
    // SAFETY: only called with types.
    let size = unsafe { (*class.as_ptr().cast::<ffi::PyTypeObject>()).tp_basicsize };
    usize::try_from(size).ok()
}
