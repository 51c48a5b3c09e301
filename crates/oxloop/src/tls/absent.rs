//! No TLS: the nouns that others name, of which there is nothing.

use std::convert::Infallible;
use std::io;
use std::rc::Rc;

use oxloop_engine::{Key, Limits, Progress, Taken, TlsSession};

use crate::host::HeldBytes;
use crate::transport::Connection;

#[derive(Debug)]
pub(crate) enum Session {}

#[derive(Debug)]
pub(crate) enum Tls {}

impl Tls {
    pub(crate) fn ciphertext(&self, _: &Rc<Connection>, _: Key) {
        match *self {}
    }

    pub(crate) fn cut(&self, _: &Rc<Connection>) {
        match *self {}
    }

    pub(crate) fn fill(&self, _: &Rc<Connection>) {
        match *self {}
    }

    pub(crate) fn read(&self, _: &Rc<Connection>, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(crate) fn write(
        &self,
        _: &Rc<Connection>,
        _: &[u8],
        _: impl FnOnce() -> Option<HeldBytes>,
    ) {
        match *self {}
    }

    pub(crate) fn set_reading(&self, _: &Rc<Connection>, _: bool) {
        match *self {}
    }

    pub(crate) fn stream_full(&self) {
        match *self {}
    }

    pub(crate) fn stream_has_room(&self, _: &Rc<Connection>) {
        match *self {}
    }

    pub(crate) fn queued(&self) -> usize {
        match *self {}
    }

    pub(crate) fn limits(&self) -> Limits {
        match *self {}
    }

    pub(crate) fn set_limits(&self, _: &Rc<Connection>, _: Limits) {
        match *self {}
    }

    pub(crate) fn is_write_paused(&self) -> bool {
        match *self {}
    }

    pub(crate) fn close(&self, _: &Rc<Connection>) {
        match *self {}
    }

    pub(crate) fn abort(&self) {
        match *self {}
    }

    pub(crate) fn lost(&self, _: &Rc<Connection>, _: Option<io::Error>) {
        match *self {}
    }
}

impl TlsSession for Session {
    type Error = Infallible;

    fn feed(&self, _: &[u8]) -> Result<(), Infallible> {
        match *self {}
    }

    fn unread(&self) -> usize {
        match *self {}
    }

    fn has_more(&self) -> bool {
        match *self {}
    }

    fn output_len(&self) -> usize {
        match *self {}
    }

    fn take_output(&self, _: impl FnOnce(&[u8])) -> Result<(), Infallible> {
        match *self {}
    }

    fn handshake(&self) -> Result<Progress, Infallible> {
        match *self {}
    }

    fn read(&self, _: &mut [u8]) -> Result<Taken, Infallible> {
        match *self {}
    }

    fn write(&self, _: &[u8]) -> Result<Option<usize>, Infallible> {
        match *self {}
    }

    fn shutdown(&self) -> Result<Progress, Infallible> {
        match *self {}
    }
}
