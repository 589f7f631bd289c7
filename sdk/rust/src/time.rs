//! Clocks and timers, from WASI: they work in pure builds, where those of
//! `std` do not.

use std::future::Future;
use std::ops::{Add, Sub};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::wasi;

/// A point on the clock that never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// Now.
    pub fn now() -> Self {
        Instant(Duration::from_nanos(wasi::monotonic_now_ns()))
    }

    /// The time since this instant; zero if it lies ahead.
    pub fn elapsed(self) -> Duration {
        Instant::now() - self
    }

    /// The time since an earlier instant; zero if that one is later.
    pub fn duration_since(self, earlier: Instant) -> Duration {
        self - earlier
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(duration))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A point on the calendar's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemTime(Duration);

impl SystemTime {
    /// Now.
    pub fn now() -> Self {
        SystemTime(wasi::system_now())
    }

    /// The time since the start of 1970 in UTC; zero before that.
    pub fn since_epoch(self) -> Duration {
        self.0
    }

    /// The same point as `std`'s type.
    pub fn to_std(self) -> std::time::SystemTime {
        std::time::SystemTime::UNIX_EPOCH + self.0
    }
}

/// Waits.
pub async fn sleep(duration: Duration) {
    wasi::sleep(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)).await;
}

/// A time limit ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the time limit ran out")
    }
}

impl std::error::Error for Elapsed {}

/// Runs a future for at most `limit`, then drops it.
///
/// # Errors
///
/// [`Elapsed`] when the limit ran out first.
///
/// ```
/// use std::time::Duration;
/// use wharf_sdk::{Request, Response, Result, time};
///
/// async fn proxy(request: Request) -> Result<Response> {
///     time::timeout(Duration::from_secs(2), wharf_sdk::send(request)).await?
/// }
/// ```
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut timer = pin!(sleep(limit));
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        timer.as_mut().poll(context).map(|()| Err(Elapsed))
    })
    .await
}
