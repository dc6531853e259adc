//! Numbers that look random and are the same for the same seed on every machine.

/// `SplitMix64` (Steele, Lea and Flood, 2014).
#[derive(Debug)]
pub struct Seeded {
    /// Grows by the golden ratio with each number.
    state: u64,
}

impl Seeded {
    /// Starts the sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if `end` is.
    pub fn below(&mut self, end: usize) -> usize {
        // The upper half of the product: a multiplication in place of a division.
        let product = u128::from(self.draw()) * (end as u128);
        (product >> 64) as usize
    }

    /// A number from `least` to `most`, both included.
    pub fn within(&mut self, least: u32, most: u32) -> u32 {
        let span = u128::from(most.saturating_sub(least)) + 1;
        let product = u128::from(self.draw()) * span;
        least.saturating_add((product >> 64) as u32)
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
