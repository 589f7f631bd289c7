//! Waiting until changes have come to rest.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// More paths than this are not told one by one.
const PATHS_MAX: usize = 10_000;

/// Gathers changed paths until none has come for `quiet`, but no longer than `patience`.
#[derive(Debug)]
pub(crate) struct Debouncer {
    quiet: Duration,
    patience: Duration,
    paths: BTreeSet<PathBuf>,
    /// When the first and the last of the paths came.
    since: Option<(Instant, Instant)>,
}

impl Debouncer {
    pub(crate) fn new(quiet: Duration, patience: Duration) -> Self {
        Self {
            quiet,
            patience,
            paths: BTreeSet::new(),
            since: None,
        }
    }

    pub(crate) fn record(&mut self, path: PathBuf, now: Instant) {
        if self.paths.len() < PATHS_MAX {
            self.paths.insert(path);
        }
        let first = self.since.map_or(now, |(first, _)| first);
        self.since = Some((first, now));
    }

    /// When the gathered paths are due, if there are any.
    pub(crate) fn due(&self) -> Option<Instant> {
        let (first, last) = self.since?;
        Some((last + self.quiet).min(first + self.patience))
    }

    /// Takes the paths if they are due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<BTreeSet<PathBuf>> {
        if self.due()? > now {
            return None;
        }
        self.since = None;
        Some(std::mem::take(&mut self.paths))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn changes_are_told_once_they_rest() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut debouncer = Debouncer::new(Duration::from_millis(150), Duration::from_millis(2000));
        assert_eq!(debouncer.due(), None);
        assert_eq!(debouncer.take(at(0)), None);
        debouncer.record("a".into(), at(0));
        debouncer.record("b".into(), at(100));
        debouncer.record("a".into(), at(120));
        assert_eq!(debouncer.due(), Some(at(270)));
        assert_eq!(debouncer.take(at(269)), None);
        assert_eq!(
            debouncer.take(at(270)).unwrap(),
            BTreeSet::from(["a".into(), "b".into()])
        );
        assert_eq!(debouncer.due(), None);
    }

    #[test]
    fn changes_that_never_rest_are_told_all_the_same() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut debouncer = Debouncer::new(Duration::from_millis(150), Duration::from_millis(2000));
        for ms in (0..2000).step_by(100) {
            assert_eq!(debouncer.take(at(ms)), None);
            debouncer.record(format!("{ms}").into(), at(ms));
        }
        assert_eq!(debouncer.take(at(2000)).unwrap().len(), 20);
    }

    #[test]
    fn paths_are_bounded() {
        let mut debouncer = Debouncer::new(Duration::ZERO, Duration::ZERO);
        let now = Instant::now();
        for n in 0..PATHS_MAX + 5 {
            debouncer.record(n.to_string().into(), now);
        }
        assert_eq!(debouncer.take(now).unwrap().len(), PATHS_MAX);
    }
}
