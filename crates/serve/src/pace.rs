//! How long one waits for a client, all in all.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::alarm::Alarm;

/// What a client must move of a body on average, either way, while it is waited for.
pub(crate) const BYTES_PER_SECOND_MIN: u64 = 240;

/// Patience with a client that is to bring or to take something. A pause uses it up; what moves
/// gives some back, a second for each [`BYTES_PER_SECOND_MIN`], never more than there was at first.
///
/// So a client may pause for as long as the limit, but one that moves a byte now and then is out of
/// time as soon as its pauses come to that.
#[derive(Debug)]
pub(crate) struct Pace {
    limit: Duration,
    left: Duration,
    /// Since when the client is waited for.
    since: Option<Instant>,
    was_out: bool,
    alarm: Alarm,
}

impl Pace {
    pub(crate) fn new(limit: Duration) -> Pace {
        Pace {
            limit,
            left: limit,
            since: None,
            was_out: false,
            alarm: Alarm::default(),
        }
    }

    /// The client is waited for from now on, if it was not already.
    pub(crate) fn wait(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// It was waited for until `at`, and is not any more.
    pub(crate) fn stop(&mut self, at: impl FnOnce() -> Instant) {
        if let Some(since) = self.since.take() {
            let paused = at().saturating_duration_since(since);
            self.left = self.left.saturating_sub(paused);
            self.was_out |= self.left.is_zero();
        }
    }

    /// So many bytes moved.
    pub(crate) fn moved(&mut self, bytes: usize) {
        if self.since.is_some() {
            let now = Instant::now();
            self.stop(|| now);
            self.since = Some(now);
        }
        if self.left < self.limit {
            let micros = (bytes as u64).saturating_mul(1_000_000) / BYTES_PER_SECOND_MIN;
            let back = Duration::from_micros(micros);
            self.left = self.limit.min(self.left.saturating_add(back));
        }
    }

    /// Waits for the client; ready when patience ends.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ends = *self.since.get_or_insert_with(Instant::now) + self.left;
        self.alarm.poll(ends, cx)
    }

    /// Whether patience has ended, by `now` or ever.
    pub(crate) fn is_out(&self, now: Instant) -> bool {
        self.was_out || self.ends().is_some_and(|ends| ends <= now)
    }

    /// When patience ends if nothing moves; `None` while the client is not waited for.
    pub(crate) fn ends(&self) -> Option<Instant> {
        Some(self.since? + self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn pauses_add_up_unless_bytes_pay_for_them() {
        let mut pace = Pace::new(LIMIT);
        assert_eq!(pace.ends(), None);
        let mut rounds = |bytes| {
            for round in 0..100 {
                pace.wait();
                let ends = pace.ends().unwrap();
                let now = Instant::now();
                if ends <= now + Duration::from_secs(10) {
                    return round;
                }
                // The clock stands still: the pause is told, not slept.
                pace.stop(|| now + Duration::from_secs(10));
                pace.moved(bytes);
            }
            100
        };
        assert_eq!(rounds(2400), 100);
        assert_eq!(rounds(1), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn much_at_once_buys_no_longer_pause() {
        let mut pace = Pace::new(LIMIT);
        pace.wait();
        tokio::time::advance(LIMIT / 2).await;
        pace.moved(1 << 30);
        assert_eq!(pace.ends(), Some(Instant::now() + LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_waited_for_loses_nothing() {
        let mut pace = Pace::new(LIMIT);
        tokio::time::advance(10 * LIMIT).await;
        pace.wait();
        assert_eq!(pace.ends(), Some(Instant::now() + LIMIT));
    }
}
