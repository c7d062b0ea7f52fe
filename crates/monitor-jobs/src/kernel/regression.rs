//! Whether something has become slower: against a stored baseline, beyond chance.

use serde::{Deserialize, Serialize};

/// Samples on each side before there is a word.
const ENOUGH: u64 = 10;
/// How many standard errors apart the means must be: one false alarm in a thousand.
const BEYOND_CHANCE: f64 = 3.1;

/// Durations of one operation, as far as a comparison needs them: to be stored beside a release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    count: u64,
    mean: f64,
    /// Sum of the squares of what each sample was off.
    squares: f64,
}

impl Baseline {
    /// One without samples.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample, in seconds. One that is no finite number is left out.
    pub fn add(&mut self, seconds: f64) {
        if !seconds.is_finite() {
            return;
        }
        self.count += 1;
        let off = seconds - self.mean;
        self.mean += off / self.count as f64;
        self.squares += off * (seconds - self.mean);
    }

    /// The mean, in seconds.
    #[must_use]
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// How many samples there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The samples that came after `earlier`, which is what this one was before them.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let count = self.count.saturating_sub(earlier.count);
        if count == 0 {
            return Self::new();
        }
        let (all, before, after) = (self.count as f64, earlier.count as f64, count as f64);
        let mean = (all * self.mean - before * earlier.mean) / after;
        let apart = mean - earlier.mean;
        let between = apart * apart * before * after / all;
        Self {
            count,
            mean,
            // What rounding leaves is not less than nothing.
            squares: (self.squares - earlier.squares - between).max(0.0),
        }
    }

    /// By what share `now` is slower than this baseline, if that is more than `tolerance` (0.1 is
    /// 10 %) and more than chance explains; `None`: it is not, or there are too few samples.
    #[must_use]
    pub fn regression(&self, now: &Self, tolerance: f64) -> Option<f64> {
        if self.count.min(now.count) < ENOUGH || self.mean <= 0.0 {
            return None;
        }
        let slower = now.mean / self.mean - 1.0;
        let error = (self.variance() + now.variance()).sqrt();
        let beyond = now.mean - self.mean > BEYOND_CHANCE * error;
        (slower > tolerance && beyond).then_some(slower)
    }

    /// Of the mean.
    fn variance(&self) -> f64 {
        let count = self.count as f64;
        self.squares / (count - 1.0) / count
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn samples(seed: u64, count: u32, mean: f64) -> Baseline {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut baseline = Baseline::new();
        (0..count).for_each(|_| baseline.add(mean * rng.random_range(0.5..1.5)));
        baseline
    }

    /// JOB-45: a synthetic slow-down of a fifth fires, noise does not, and neither does a slow-down
    /// within the tolerance, nor a handful of samples.
    #[test]
    fn a_slow_down_is_told_from_noise() {
        let before = samples(1, 500, 0.010);
        let (mut fired, mut false_alarms) = (0, 0);
        for seed in 2..102 {
            let slower = before.regression(&samples(seed, 500, 0.0125), 0.1);
            fired += u32::from(slower.is_some_and(|slower| (0.15..0.35).contains(&slower)));
            let same = before.regression(&samples(seed, 500, 0.010), 0.1);
            let slightly = before.regression(&samples(seed, 500, 0.0104), 0.1);
            false_alarms += u32::from(same.is_some()) + u32::from(slightly.is_some());
        }
        assert_eq!((fired, false_alarms), (100, 0));
        assert_eq!(before.regression(&samples(1, 5, 1.0), 0.1), None);
        let stored = serde_json::to_string(&before).unwrap();
        let stored: Baseline = serde_json::from_str(&stored).unwrap();
        assert!((stored.mean() - before.mean()).abs() < 1e-12, "{stored:?}");
        assert_eq!(stored.count, before.count);
    }

    /// What came after a moment is what would have been counted from there on.
    #[test]
    fn later_samples_are_told_from_earlier_ones() {
        let mut rng = SmallRng::seed_from_u64(7);
        let (mut all, mut later) = (Baseline::new(), Baseline::new());
        (0..300).for_each(|_| all.add(rng.random_range(0.001..0.002)));
        let earlier = all;
        for _ in 0..200 {
            let sample = rng.random_range(0.010..0.030);
            all.add(sample);
            later.add(sample);
        }
        let since = all.since(&earlier);
        assert_eq!(since.count(), 200);
        assert!((since.mean() - later.mean()).abs() < 1e-12);
        assert!((since.squares / later.squares - 1.0).abs() < 1e-9);
        assert_eq!(earlier.since(&all), Baseline::new(), "none came after");
        assert_eq!(all.since(&all), Baseline::new());
    }
}
