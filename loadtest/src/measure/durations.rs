//! Durations as a distribution: percentiles within one percent, everything else exact.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::{Bucket, Distribution};

/// Durations that were recorded. Takes no memory before the first.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    histogram: Option<Box<Histogram<u64>>>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Durations {
    /// Records one.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.min = if self.count == 0 { nanos } else { self.min.min(nanos) };
        self.max = self.max.max(nanos);
        self.count += 1;
        self.sum += u128::from(nanos);
        let units = (nanos / UNIT).min(LONGEST);
        self.histogram().record(units).expect("it resizes itself, and stays below LONGEST");
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        let Some(theirs) = &other.histogram else { return };
        self.histogram().add(theirs.as_ref()).expect("both resize themselves and stay below LONGEST");
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum += other.sum;
    }

    /// In milliseconds. Percentiles are of the histogram, and never outside of what was recorded.
    pub fn distribution(&self) -> Distribution {
        let Some(histogram) = &self.histogram else { return Distribution::default() };
        let percentile =
            |percent| milliseconds((histogram.value_at_percentile(percent) * UNIT).clamp(self.min, self.max));
        Distribution {
            count: self.count,
            min: milliseconds(self.min),
            mean: self.sum as f64 / self.count as f64 / MILLISECOND,
            p50: percentile(50.0),
            p95: percentile(95.0),
            p99: percentile(99.0),
            max: milliseconds(self.max),
        }
    }

    /// Bars from the shortest to the longest without a gap, each a fifth wider than the one before.
    pub fn buckets(&self) -> Vec<Bucket> {
        let Some(histogram) = &self.histogram else { return Vec::new() };
        let (mut from, mut buckets) = (0, Vec::new());
        let last = histogram.max();
        while from <= last {
            let to = (from * 6 / 5).max(from + FINEST);
            let count = histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()));
            let count = count.filter(|(value, _)| (from..to).contains(value)).map(|(_, count)| count).sum();
            if count > 0 || !buckets.is_empty() {
                buckets.push(Bucket { from: milliseconds(from * UNIT), to: milliseconds(to * UNIT), count });
            }
            from = to;
        }
        buckets
    }

    fn histogram(&mut self) -> &mut Histogram<u64> {
        self.histogram.get_or_insert_with(|| {
            let histogram = Histogram::new(DIGITS).expect("hdrhistogram knows up to five digits");
            Box::new(auto(histogram))
        })
    }
}

fn auto(mut histogram: Histogram<u64>) -> Histogram<u64> {
    histogram.auto(true);
    histogram
}

fn milliseconds(nanos: u64) -> f64 {
    nanos as f64 / MILLISECOND
}

const MILLISECOND: f64 = 1e6;
/// Nanoseconds that are told apart: latencies on one machine are some tens of microseconds.
const UNIT: u64 = 1_000;
/// Microseconds of the longest that is told apart, an hour: what is longer counts as that, which bounds the memory.
const LONGEST: u64 = 3_600_000_000;
/// Two significant digits are below one percent, and a stream's histogram stays at some kilobytes.
const DIGITS: u8 = 2;
/// Microseconds of the narrowest bar.
const FINEST: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(milliseconds: impl IntoIterator<Item = u64>) -> Durations {
        let mut durations = Durations::default();
        milliseconds.into_iter().for_each(|ms| durations.record(Duration::from_millis(ms)));
        durations
    }

    #[test]
    fn percentiles_are_within_one_percent_and_the_rest_exact() {
        let distribution = recorded(1..=1_000).distribution();
        assert_eq!((distribution.count, distribution.min, distribution.max), (1_000, 1.0, 1_000.0));
        assert!((distribution.mean - 500.5).abs() < 1e-9);
        for (found, exact) in [(distribution.p50, 500.0), (distribution.p95, 950.0), (distribution.p99, 990.0)] {
            assert!((found / exact - 1.0f64).abs() < 0.01, "{found} for {exact}");
        }
    }

    #[test]
    fn merged_is_as_recorded_together() {
        let mut merged = recorded(1..=300);
        merged.merge(&recorded(301..=1_000));
        merged.merge(&Durations::default());
        assert_eq!(merged.distribution(), recorded(1..=1_000).distribution());
        let mut empty = Durations::default();
        empty.merge(&merged);
        assert_eq!(empty.distribution(), merged.distribution());
    }

    #[test]
    fn nothing_recorded_is_all_zero_and_ages_do_not_overflow() {
        assert_eq!(Durations::default().distribution(), Distribution::default());
        assert!(Durations::default().buckets().is_empty());
        let mut durations = Durations::default();
        durations.record(Duration::MAX);
        durations.record(Duration::ZERO);
        assert_eq!(durations.distribution().min, 0.0);
    }

    #[test]
    fn bars_hold_everything_once_and_touch() {
        let durations = recorded((1..=500).map(|n| n * n % 977));
        let buckets = durations.buckets();
        assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 500);
        assert!(buckets.windows(2).all(|pair| pair[0].to == pair[1].from));
    }
}
