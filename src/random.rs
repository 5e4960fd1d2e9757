//! Randomness as an argument: event tags, grants, jitter, trace ids.

use std::sync::Mutex;

/// Where random numbers come from.
pub trait Random: Send + Sync + 'static {
    fn next_u64(&self) -> u64;

    /// Evenly from `0.0` (inclusive) to `1.0` (exclusive).
    fn next_unit(&self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The operating system's generator, through aws-lc.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    #[expect(
        clippy::expect_used,
        reason = "aws-lc aborts rather than fail here; ids drawn from anything weaker could be guessed"
    )]
    fn next_u64(&self) -> u64 {
        let mut bytes = [0u8; 8];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system's random generator");
        u64::from_le_bytes(bytes)
    }
}

/// The same numbers again for the same seed (splitmix64): for tests.
#[derive(Debug)]
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    pub fn new(seed: u64) -> Self {
        SeededRandom(Mutex::new(seed))
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        let mut state = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
