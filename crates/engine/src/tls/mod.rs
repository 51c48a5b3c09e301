//! TLS over a stream: what is read, written and said in which order, without knowing what encrypts.
//!
//! A [`Pump`] belongs to a connection. Its host feeds it what the stream received, asks it for the
//! [next thing to do](Pump::next), and hands its [output](Pump::take_output) to the stream.
//!
//! It is not part of the engine: a session may run its host's code (callbacks for server names, for
//! keys, for messages), and no borrow of an engine may be alive then. So the pump lives with its
//! connection and is shared; what is called from within a session only leaves a note.

mod pump;
mod state;

pub use pump::{Farewell, Pump, TlsStep};
pub use state::FlowChange;

/// One side of a TLS connection that does no input or output: it is fed and emptied. Any of these
/// may run code of the host but the ones that say otherwise.
pub trait TlsSession {
    /// Why something failed.
    type Error;

    /// Takes ciphertext in.
    fn feed(&self, ciphertext: &[u8]) -> Result<(), Self::Error>;

    /// How many bytes that were fed have not been looked at. Runs nothing of the host's.
    fn unread(&self) -> usize;

    /// Whether reading may bring something without more ciphertext.
    fn has_more(&self) -> bool;

    /// How many bytes wait to be taken as output. Runs nothing of the host's.
    fn output_len(&self) -> usize;

    /// Gives the output away.
    fn take_output(&self, sink: impl FnOnce(&[u8])) -> Result<(), Self::Error>;

    /// Goes on with the handshake.
    fn handshake(&self) -> Result<Progress, Self::Error>;

    /// Decrypts into `buffer`, which is not empty.
    fn read(&self, buffer: &mut [u8]) -> Result<Taken, Self::Error>;

    /// Encrypts the beginning of `plaintext`; how much of it. `None`: not before more is fed.
    fn write(&self, plaintext: &[u8]) -> Result<Option<usize>, Self::Error>;

    /// Says goodbye, if that has not been said; done when the peer has said it, too.
    fn shutdown(&self) -> Result<Progress, Self::Error>;
}

/// How far something got that needs the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Done,
    /// More has to be fed.
    Blocked,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// So many bytes of plaintext.
    Bytes(usize),
    /// More has to be fed.
    Blocked,
    /// The peer has said goodbye.
    Ended,
}
