//! A guest's output, attributed to its request and bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use wharf_manifest::ByteSize;

use super::{Event, GuestLine, GuestStream, Level, LineSplitter, Log, Message, RequestId};

/// What is left of a budget once more was wanted than it had, so that this is told once.
const LIMIT_MET: u64 = u64::MAX;

/// How many bytes a request's output may have, standard output and error together.
///
/// Cheap to clone; the clones share what is left.
#[derive(Debug, Clone)]
pub struct LogBudget {
    limit: ByteSize,
    left: Arc<AtomicU64>,
}

impl LogBudget {
    /// Makes a budget of `limit`, which is the manifest's `limits.log`.
    #[must_use]
    pub fn new(limit: ByteSize) -> Self {
        Self {
            limit,
            left: Arc::new(AtomicU64::new(limit.0.min(LIMIT_MET - 1))),
        }
    }

    /// Takes up to `wanted` bytes. Gives how many, and whether this call met the limit first.
    fn take(&self, wanted: u64) -> (u64, bool) {
        let (mut granted, mut is_limit_met) = (0, false);
        let _ = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                if left == LIMIT_MET {
                    (granted, is_limit_met) = (0, false);
                    return None;
                }
                (granted, is_limit_met) = (wanted.min(left), wanted > left);
                Some(if is_limit_met {
                    LIMIT_MET
                } else {
                    left - wanted
                })
            });
        (granted, is_limit_met)
    }
}

/// Takes what a guest writes to one of its streams and logs it by lines.
///
/// Dropping it logs the last line, if that has no end. Writing never blocks and never fails:
/// output past the budget is dropped, after one warning that names the manifest's key.
#[derive(Debug)]
pub struct GuestLog {
    log: Log,
    splitter: LineSplitter,
    budget: LogBudget,
    request_id: Option<RequestId>,
    app: Arc<str>,
    component: Arc<str>,
    stream: GuestStream,
}

impl GuestLog {
    pub(crate) fn new(
        log: Log,
        request_id: Option<RequestId>,
        app: Arc<str>,
        component: Arc<str>,
        stream: GuestStream,
        budget: LogBudget,
    ) -> Self {
        Self {
            log,
            splitter: LineSplitter::default(),
            budget,
            request_id,
            app,
            component,
            stream,
        }
    }

    /// Takes bytes that the guest has written.
    pub fn write(&mut self, bytes: &[u8]) {
        let (granted, is_limit_met) = self.budget.take(bytes.len() as u64);
        let granted = usize::try_from(granted)
            .unwrap_or(bytes.len())
            .min(bytes.len());
        self.split(|splitter, emit| splitter.push(&bytes[..granted], emit));
        if is_limit_met {
            self.flush();
            let text = format!(
                "log limit of {} met, further output is dropped",
                self.budget.limit
            );
            let mut message = Message::new(Level::Warn, text)
                .about(&self.app)
                .with("component", &*self.component)
                .with("hint", "raise `limits.log` in the manifest");
            if let Some(id) = self.request_id {
                message = message.with("request_id", id);
            }
            self.log.message(message);
        }
    }

    /// Logs a line that has no end yet.
    pub fn flush(&mut self) {
        self.split(|splitter, emit| splitter.finish(emit));
    }

    fn split(&mut self, feed: impl FnOnce(&mut LineSplitter, &mut dyn FnMut(String))) {
        let Self {
            log,
            splitter,
            request_id,
            app,
            component,
            stream,
            ..
        } = self;
        feed(splitter, &mut |line| {
            log.send(Event::GuestOutput(GuestLine {
                time: SystemTime::now(),
                request_id: *request_id,
                app: app.clone(),
                component: component.clone(),
                stream: *stream,
                line,
            }));
        });
    }
}

impl Drop for GuestLog {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_its_end_told_once() {
        let budget = LogBudget::new(ByteSize(10));
        let other = budget.clone();
        assert_eq!(budget.take(4), (4, false));
        assert_eq!(
            other.take(6),
            (6, false),
            "all of it is no more than allowed"
        );
        assert_eq!(budget.take(0), (0, false));
        assert_eq!(budget.take(3), (0, true));
        assert_eq!(other.take(3), (0, false));
        assert_eq!(budget.take(0), (0, false));
        assert_eq!(LogBudget::new(ByteSize(5)).take(7), (5, true));
        assert_eq!(LogBudget::new(ByteSize(0)).take(1), (0, true));
        let unlimited = LogBudget::new(ByteSize(u64::MAX));
        assert_eq!(unlimited.take(1), (1, false));
    }
}
