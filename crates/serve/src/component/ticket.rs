//! What a request on a shared instance and the instance know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use wharf_engine::{Fault, FaultKind};

use crate::log::RequestId;

/// How long a lost request waits to learn what its instance died of.
const CAUSE_KNOWN_WITHIN: Duration = Duration::from_millis(500);

/// A request on its way to an instance. Clones are the same request.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) id: RequestId,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// What the instance died of, should it.
    fate: watch::Sender<Option<Fault>>,
    /// The response head is out.
    answered: AtomicBool,
    /// The response body is still wanted.
    reading: AtomicBool,
}

impl Ticket {
    pub(super) fn new(id: RequestId) -> Ticket {
        Ticket {
            id,
            shared: Arc::new(Shared {
                fate: watch::Sender::new(None),
                answered: AtomicBool::new(false),
                reading: AtomicBool::new(false),
            }),
        }
    }

    /// The head is out; somebody reads the body until the guard is dropped.
    pub(super) fn answered(&self) -> Reading {
        self.shared.answered.store(true, Ordering::Release);
        self.shared.reading.store(true, Ordering::Release);
        Reading(Arc::clone(&self.shared))
    }

    pub(super) fn is_answered(&self) -> bool {
        self.shared.answered.load(Ordering::Acquire)
    }

    pub(super) fn is_being_read(&self) -> bool {
        self.shared.reading.load(Ordering::Acquire)
    }

    /// The instance died under this request.
    pub(super) fn died_of(&self, fault: &Fault) {
        self.shared.fate.send_replace(Some(fault.clone()));
    }

    /// Why the request got no answer. The worker learns the cause a moment after the request
    /// learns that it is lost.
    pub(super) async fn cause(&self) -> Fault {
        let mut fate = self.shared.fate.subscribe();
        let cause = fate.wait_for(Option::is_some);
        let cause = match tokio::time::timeout(CAUSE_KNOWN_WITHIN, cause).await {
            Ok(Ok(fault)) => fault.clone(),
            _ => None,
        };
        cause.unwrap_or_else(|| {
            Fault::new(FaultKind::Guest, "the instance ended under this request")
        })
    }
}

/// Held by a response body: its instance lives on while it is read, and if the instance dies the
/// body is known to be cut short.
#[derive(Debug)]
pub(crate) struct Reading(Arc<Shared>);

impl Reading {
    /// What the instance died of, if it did.
    pub(crate) fn fate(&self) -> Option<Fault> {
        self.0.fate.borrow().clone()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reading.store(false, Ordering::Release);
    }
}
