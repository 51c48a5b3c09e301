//! A TLS session without cryptography.
//!
//! Its records are text: `H` is a hello, `D` and a length byte precede data, `G` says goodbye, `K`
//! asks for a record in return (`k`), `W` keeps us from writing until `w` comes. Anything else is
//! an error.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::tls::{Progress, Taken, TlsSession};

/// What happens inside a call of the session.
type Hook = Rc<dyn Fn(&str)>;

/// A session that a test feeds with text.
#[derive(Default)]
pub struct ToyTls {
    input: RefCell<Vec<u8>>,
    output: RefCell<Vec<u8>>,
    /// Decrypted and not read.
    plain: RefCell<Vec<u8>>,
    ended: Cell<bool>,
    said_hello: Cell<bool>,
    said_goodbye: Cell<bool>,
    held_up: Cell<bool>,
    /// Calls of `read` that brought nothing.
    vain: Cell<usize>,
    hook: RefCell<Option<Hook>>,
}

/// What a toy session did not understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToyError(pub String);

impl ToyTls {
    /// Runs `hook` inside of every call from now on, with the name of the call.
    pub fn inside(&self, hook: impl Fn(&str) + 'static) {
        *self.hook.borrow_mut() = Some(Rc::new(hook));
    }

    /// How many reads brought nothing.
    pub fn vain_reads(&self) -> usize {
        self.vain.get()
    }

    fn call(&self, name: &str) {
        let hook = self.hook.borrow().clone();
        if let Some(hook) = hook {
            hook(name);
        }
    }

    fn say(&self, record: &[u8]) {
        self.output.borrow_mut().extend_from_slice(record);
    }

    /// Looks at the next record; false if it is not complete.
    fn take_record(&self) -> Result<bool, ToyError> {
        let mut input = self.input.borrow_mut();
        match input.first() {
            None => return Ok(false),
            Some(b'D') => {
                let Some(&length) = input.get(1) else { return Ok(false) };
                let Some(data) = input.get(2..2 + usize::from(length)) else { return Ok(false) };
                self.plain.borrow_mut().extend_from_slice(data);
                input.drain(..2 + usize::from(length));
                return Ok(true);
            }
            Some(b'G') => self.ended.set(true),
            Some(b'K') => self.say(b"k"),
            Some(b'W') => self.held_up.set(true),
            Some(b'w') => self.held_up.set(false),
            Some(&other) => return Err(ToyError(char::from(other).to_string())),
        }
        input.remove(0);
        Ok(true)
    }
}

impl TlsSession for ToyTls {
    type Error = ToyError;

    fn feed(&self, ciphertext: &[u8]) -> Result<(), ToyError> {
        self.input.borrow_mut().extend_from_slice(ciphertext);
        Ok(())
    }

    fn unread(&self) -> usize {
        self.input.borrow().len()
    }

    fn has_more(&self) -> bool {
        !self.input.borrow().is_empty() || !self.plain.borrow().is_empty()
    }

    fn output_len(&self) -> usize {
        self.output.borrow().len()
    }

    fn take_output(&self, sink: impl FnOnce(&[u8])) -> Result<(), ToyError> {
        sink(&self.output.take());
        Ok(())
    }

    fn handshake(&self) -> Result<Progress, ToyError> {
        self.call("handshake");
        if !self.said_hello.replace(true) {
            self.say(b"H");
        }
        let first = self.input.borrow().first().copied();
        match first {
            Some(b'H') => {
                self.input.borrow_mut().remove(0);
                Ok(Progress::Done)
            }
            None => Ok(Progress::Blocked),
            Some(other) => {
                self.say(b"!");
                Err(ToyError(char::from(other).to_string()))
            }
        }
    }

    fn read(&self, buffer: &mut [u8]) -> Result<Taken, ToyError> {
        self.call("read");
        while self.plain.borrow().is_empty() && !self.ended.get() && self.take_record()? {}
        let mut plain = self.plain.borrow_mut();
        let count = plain.len().min(buffer.len());
        if count > 0 {
            buffer[..count].copy_from_slice(&plain[..count]);
            plain.drain(..count);
            return Ok(Taken::Bytes(count));
        }
        if self.ended.get() {
            return Ok(Taken::Ended);
        }
        self.vain.set(self.vain.get() + 1);
        Ok(Taken::Blocked)
    }

    fn write(&self, plaintext: &[u8]) -> Result<Option<usize>, ToyError> {
        self.call("write");
        if self.held_up.get() {
            return Ok(None);
        }
        for piece in plaintext.chunks(255) {
            self.say(&[b'D', piece.len() as u8]);
            self.say(piece);
        }
        Ok(Some(plaintext.len()))
    }

    fn shutdown(&self) -> Result<Progress, ToyError> {
        self.call("shutdown");
        if !self.said_goodbye.replace(true) {
            self.say(b"G");
        }
        Ok(if self.ended.get() { Progress::Done } else { Progress::Blocked })
    }
}

impl fmt::Debug for ToyTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToyTls").finish_non_exhaustive()
    }
}
