//! One timer for many waits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

/// A timer that is made once, and set anew only if it has rung or is to ring sooner. It may ring
/// too early then, which costs less than to set it for each wait.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once it is `at`, which may be another time than when it was last asked.
    pub(crate) fn poll(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = (self.0).get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        loop {
            if timer.is_elapsed() || timer.deadline() > at {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= at {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_time_asked_for_last() {
        let began = Instant::now();
        let mut alarm = Alarm::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // Later, sooner, later again than what it was set to.
        for seconds in [10, 20, 5, 7] {
            let at = began + Duration::from_secs(seconds);
            assert!(alarm.poll(at, &mut cx).is_pending());
        }
        for seconds in [7, 8, 30] {
            let at = began + Duration::from_secs(seconds);
            poll_fn(|cx| alarm.poll(at, cx)).await;
            assert_eq!(Instant::now(), at);
        }
        assert!(alarm.poll(began, &mut cx).is_ready(), "it is past");
    }
}
