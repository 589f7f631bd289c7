//! Percentiles and medians.

/// The nearest rank; of nothing, nothing.
pub(crate) fn percentile<T: Copy + Default>(sorted: &[T], percent: usize) -> T {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The middle one.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    percentile(&values, 50)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let ms = Duration::from_millis;
        let sorted: Vec<_> = (1..=200).map(ms).collect();
        assert_eq!(percentile(&sorted, 50), ms(100));
        assert_eq!(percentile(&sorted, 99), ms(198));
        assert_eq!(percentile(&sorted, 100), ms(200));
        assert_eq!(percentile(&sorted[..1], 50), ms(1));
        assert_eq!(percentile::<Duration>(&[], 99), ms(0));
    }

    #[test]
    fn a_median_needs_no_order() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([]), 0.0);
    }
}
