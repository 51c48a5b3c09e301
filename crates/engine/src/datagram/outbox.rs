//! Datagrams that wait to be sent.

use std::collections::{TryReserveError, VecDeque};

use oxloop_os::Name;
use oxloop_os::datagram::Outbound;

/// Datagrams in the order in which they were given to us.
#[derive(Debug)]
pub(super) struct Outbox<B> {
    queue: VecDeque<Letter<B>>,
    /// What all of them count for in the water marks, and each of them beside its bytes.
    size: usize,
    header: u32,
}

#[derive(Debug)]
struct Letter<B> {
    to: Option<Name>,
    data: Data<B>,
}

#[derive(Debug)]
enum Data<B> {
    Copied(Box<[u8]>),
    Held(B),
}

impl<B: AsRef<[u8]>> Outbox<B> {
    pub(super) fn new(header: u32) -> Outbox<B> {
        Outbox { queue: VecDeque::new(), size: 0, header }
    }

    /// Appends a datagram: `held`, if its owner can hold it, or else a copy of `data`.
    pub(super) fn push(
        &mut self,
        to: Option<&Name>,
        data: &[u8],
        held: Option<B>,
    ) -> Result<(), TryReserveError> {
        self.queue.try_reserve(1)?;
        let data = match held {
            Some(bytes) => Data::Held(bytes),
            None => {
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(data.len())?;
                bytes.extend_from_slice(data);
                Data::Copied(bytes.into_boxed_slice())
            }
        };
        let letter = Letter { to: to.cloned(), data };
        self.size += letter.data().len() + self.header as usize;
        self.queue.push_back(letter);
        Ok(())
    }

    /// What to send next: as many as there are places for.
    pub(super) fn next<'a>(&'a self, places: &mut [Outbound<'a>]) -> usize {
        let count = places.len().min(self.queue.len());
        for (place, letter) in places.iter_mut().zip(&self.queue) {
            *place = Outbound { to: letter.to.as_ref(), data: letter.data() };
        }
        count
    }

    /// Forgets the first `count` datagrams.
    pub(super) fn advance(&mut self, count: usize) {
        for letter in self.queue.drain(..count.min(self.queue.len())) {
            self.size -= letter.data().len() + self.header as usize;
        }
        self.shrink();
    }

    /// Forgets the last datagram.
    pub(super) fn take_back(&mut self) {
        if let Some(letter) = self.queue.pop_back() {
            self.size -= letter.data().len() + self.header as usize;
        }
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.size = 0;
        self.shrink();
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What counts for the water marks.
    #[inline]
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// An idle endpoint keeps no memory for a crowd it once had.
    fn shrink(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > 2 * oxloop_os::datagram::BATCH {
            self.queue = VecDeque::new();
        }
    }
}

impl<B: AsRef<[u8]>> Letter<B> {
    fn data(&self) -> &[u8] {
        match &self.data {
            Data::Copied(bytes) => bytes,
            Data::Held(bytes) => bytes.as_ref(),
        }
    }
}
