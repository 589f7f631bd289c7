//! Looks from outside whether an instance is idle too long, or at work for nobody.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::roll::{LEAVING, Need, Roll};
use crate::component::INSTANCE_IDLE;

/// How often it is looked whether anybody still needs an instance.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How an instance ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It had nothing to do any more, or nobody to do it for.
    Over,
    /// It was at work too long after its last answer.
    Overdue,
}

pub(super) struct Watch {
    /// What it may work after its last answer.
    time: Duration,
    alone_since: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

impl Watch {
    pub(super) fn new(time: Duration) -> Watch {
        Watch {
            time,
            alone_since: None,
            sleep: Box::pin(tokio::time::sleep(LOOK_EVERY)),
        }
    }

    /// Ready when the instance must end. To be polled after each poll of the guest.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, roll: &Roll) -> Poll<End> {
        loop {
            let now = tokio::time::Instant::now().into_std();
            let need = roll.need(now);
            let alone_since = match need {
                Need::Alone { .. } => Some(self.alone_since.unwrap_or(now)),
                Need::Wanted | Need::Resting(_) => None,
            };
            self.alone_since = alone_since;
            let since = alone_since.unwrap_or(now);
            let (at, end) = match need {
                // Who waits leaves at the deadline. A response may take as long as it brings
                // something; the body looks after that.
                Need::Wanted => (now + LOOK_EVERY, End::Over),
                Need::Resting(since) => (since + INSTANCE_IDLE, End::Over),
                Need::Alone { is_retired: true } => (since + LEAVING, End::Over),
                Need::Alone { is_retired: false } => (since + self.time, End::Overdue),
            };
            if at <= now {
                return Poll::Ready(end);
            }
            // It may ring too early, so that it is not set anew with each poll.
            if self.sleep.is_elapsed() || self.sleep.deadline() > at.into() {
                self.sleep.as_mut().reset(at.into());
            }
            if self.sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
