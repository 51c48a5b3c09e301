//! Places with generations: a key names one occupant of a place, not the place.

/// Names what [`Slots::insert`] stored, and nothing that comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key as a poller's token.
    pub fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub fn from_token(token: u64) -> Key {
        Key { index: token as u32, generation: (token >> 32) as u32 }
    }
}

/// A vector of places that are used again; a key of an earlier occupant finds nothing.
#[derive(Debug)]
pub struct Slots<T> {
    places: Vec<Place<T>>,
    vacant: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    occupant: Option<T>,
}

/// No index reaches this, so no token equals the poller's own.
const MAX_PLACES: usize = u32::MAX as usize;

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { places: Vec::new(), vacant: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Gives `value` back if there is no memory for it.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if let Some(index) = self.vacant.pop() {
            let place = &mut self.places[index as usize];
            place.occupant = Some(value);
            return Ok(Key { index, generation: place.generation });
        }
        let index = self.places.len();
        // Room in `vacant` for every place, so that `remove` never allocates.
        if index >= MAX_PLACES
            || self.places.try_reserve(1).is_err()
            || self.vacant.try_reserve(self.places.len() + 1).is_err()
        {
            return Err(value);
        }
        self.places.push(Place { generation: 0, occupant: Some(value) });
        Ok(Key { index: index as u32, generation: 0 })
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        if place.generation == key.generation { place.occupant.as_ref() } else { None }
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation == key.generation { place.occupant.as_mut() } else { None }
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize)?;
        if place.generation != key.generation {
            return None;
        }
        let occupant = place.occupant.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(key.index);
        Some(occupant)
    }

    pub fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key { index: index as u32, generation: place.generation };
            place.occupant.as_ref().map(|value| (key, value))
        })
    }

    /// Takes everything out; keys given so far find nothing afterwards.
    pub fn drain(&mut self) -> Vec<T> {
        let keys: Vec<Key> = self.iter().map(|(key, _)| key).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, Slots};

    #[test]
    fn a_key_names_one_occupant() {
        let mut slots = Slots::default();
        let first = slots.insert('a').unwrap();
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b').unwrap();
        assert_eq!((slots.get(first), slots.get(second)), (None, Some(&'b')));
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn a_token_carries_the_key() {
        let mut slots = Slots::default();
        let gone = slots.insert(1).unwrap();
        slots.remove(gone);
        let key = slots.insert(2).unwrap();
        assert_eq!(Key::from_token(key.token()), key);
        assert_ne!(gone.token(), key.token());
    }
}
