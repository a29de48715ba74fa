//! What names a registration.

/// The name of one registration, as [`register`] returns it and events carry it.
///
/// A key is a slot number and a generation. Slots are used again, generations
/// are not: a key that has been deregistered never comes back, so an event that
/// is still in a buffer when its source goes cannot be taken for one of the
/// source that took its place. Use [`index`] to address a table of your own and
/// compare the whole key (or the [`generation`]) with the one you stored there.
///
/// Keys of different selectors have nothing to do with one another.
///
/// ```
/// use rondel_poll::Key;
///
/// let key = Key::from_bits(0x0000_0002_0000_0007);
/// assert_eq!((key.index(), key.generation()), (7, 2));
/// assert_eq!(Key::from_bits(key.to_bits()), key);
/// ```
///
/// [`register`]: crate::Selector::register
/// [`index`]: Key::index
/// [`generation`]: Key::generation
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The slot: small, dense, used again by later registrations.
    #[inline]
    pub const fn index(self) -> usize {
        // Lossless: this crate is for Unix systems, where a pointer has at
        // least 32 bits.
        self.index as usize
    }

    /// How often the slot had been used before.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The key as one number, the generation in the upper half.
    #[inline]
    pub const fn to_bits(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }

    /// The key that [`to_bits`](Key::to_bits) made this number from.
    ///
    /// Selectors of your own name their registrations with it. Any number is a
    /// key; one that a selector did not give out is met with
    /// [`NotFound`](std::io::ErrorKind::NotFound).
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        Self {
            index: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}
