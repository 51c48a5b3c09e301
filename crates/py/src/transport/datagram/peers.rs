//! The address objects of the peers that one hears from.
//!
//! A peer that is heard again gets the same object, and an answer that is given that object needs
//! no look into it. What is kept are tuples of str and int, str and bytes: dropping one runs no
//! Python, and they are part of no cycle.

use oxloop_engine::Name;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::raw::Ref;

/// A bounded memory of peers. Each has a few possible places, by the hash of its name.
#[derive(Debug, Default)]
pub(super) struct Peers {
    table: Vec<Option<Peer>>,
    /// The place of the peer that was heard last: mostly it is answered.
    last: usize,
    /// The address that was last given to us and understood.
    given: Option<Peer>,
}

#[derive(Debug)]
struct Peer {
    name: Name,
    object: Ref,
}

/// Places that a name may have: neighbours.
const WAYS: usize = 4;
const PLACES_AT_FIRST: usize = 2 * WAYS;
const PLACES_AT_MOST: usize = 1024;

impl Peers {
    /// The object of the peer with that raw name.
    #[inline]
    pub(super) fn find(&mut self, py: Python<'_>, raw: &[u8]) -> Option<Ref> {
        let first = first_place(raw, self.table.len());
        let ways = self.table.get(first..first + WAYS)?;
        let known = |place: &Option<Peer>| matches!(place, Some(peer) if peer.name.as_raw() == raw);
        let way = ways.iter().position(known)?;
        self.last = first + way;
        ways[way].as_ref().map(|peer| peer.object.clone_ref(py))
    }

    /// Keeps the object of a peer that was not found, instead of another's if need be.
    pub(super) fn remember(&mut self, name: Name, object: Ref) {
        let peer = Peer { name, object };
        while self.free_place(&peer).is_none() && self.grow() {}
        let first = first_place(peer.name.as_raw(), self.table.len());
        // Any of the places will do: whoever was there is made again when it is heard again.
        let at = self.free_place(&peer).unwrap_or(first + self.last % WAYS);
        if let Some(place) = self.table.get_mut(at) {
            *place = Some(peer);
            self.last = at;
        }
    }

    /// Keeps what an address that was given to us means.
    pub(super) fn note_given(&mut self, name: Name, object: Ref) {
        self.given = Some(Peer { name, object });
    }

    /// What an address object means, if it is one that is remembered.
    #[inline]
    pub(super) fn name_of(&self, object: *mut ffi::PyObject) -> Option<&Name> {
        let heard = self.table.get(self.last).and_then(Option::as_ref);
        let known = |peer: &&Peer| peer.object.as_ptr() == object;
        heard.filter(known).or(self.given.as_ref().filter(known)).map(|peer| &peer.name)
    }

    fn free_place(&self, peer: &Peer) -> Option<usize> {
        let first = first_place(peer.name.as_raw(), self.table.len());
        let ways = self.table.get(first..first + WAYS)?;
        ways.iter().position(Option::is_none).map(|way| first + way)
    }

    /// More places, if there may be more and there is memory.
    fn grow(&mut self) -> bool {
        let more = (self.table.len() * 2).max(PLACES_AT_FIRST);
        let mut table = Vec::new();
        if more > PLACES_AT_MOST || table.try_reserve_exact(more).is_err() {
            return false;
        }
        table.resize_with(more, || None);
        for peer in std::mem::replace(&mut self.table, table).into_iter().flatten() {
            // There is room: those of one place come to two, by another bit of the same hash.
            if let Some(place) = self.free_place(&peer).and_then(|at| self.table.get_mut(at)) {
                *place = Some(peer);
            }
        }
        true
    }
}

/// The first of the places of a name among `places`: a power of two, or none.
#[inline]
fn first_place(raw: &[u8], places: usize) -> usize {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = 0_u64;
    let (words, rest) = raw.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    for word in words.iter().chain([&last]) {
        // Both halves of the product: every bit of the word counts for every bit of the hash.
        let product = u128::from(hash ^ u64::from_ne_bytes(*word) ^ SPREAD) * u128::from(SPREAD);
        hash = (product >> 64) as u64 ^ product as u64;
    }
    hash as usize & places.wrapping_sub(WAYS)
}
