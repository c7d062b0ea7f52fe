//! Chance, all of it from one seed.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::Ms;

/// A source of chance.
pub(super) struct Chance(SmallRng);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 up to but without 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) fn share(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True so often.
    pub(super) fn is(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    /// A number below `end`, which is not zero; zero if it is.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        // Multiply and shift; the product of two 64-bit numbers, shifted, fits.
        ((u128::from(self.draw()) * u128::from(end)) >> 64) as u64
    }

    pub(super) fn pick(&mut self, end: u32) -> u32 {
        // Below a u32.
        self.below(u64::from(end)) as u32
    }

    /// A span between two, the short ones as likely as the long ones.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "spans of hours, and none is negative"
    )]
    pub(super) fn span(&mut self, least: Ms, most: Ms) -> Ms {
        let ratio = most as f64 / least as f64;
        (least as f64 * ratio.powf(self.share())) as Ms
    }

    /// The time to the next of events that come `per_hour`, each regardless of the others.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a logarithm of less than 1 is negative, and a float saturates"
    )]
    pub(super) fn gap(&mut self, per_hour: f64) -> Ms {
        let hours = -(1.0 - self.share()).ln() / per_hour;
        (hours * super::HOUR as f64) as Ms + 1
    }
}
