//! What a guest prints, attributed to the request that it works on.

use std::sync::{Arc, Mutex, PoisonError};

use wharf_host::{GuestOutput, OutputStream};
use wharf_manifest::ByteSize;

use crate::log::{GuestLog, GuestStream, Log, LogBudget, RequestId};

/// The output of one instance. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct InstanceOutput(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    log: Log,
    app: Arc<str>,
    component: Arc<str>,
    budget: ByteSize,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    /// Requests at work on the instance, the latest last.
    requests: Vec<RequestId>,
    /// Made when the guest first prints: most requests print nothing.
    streams: Option<Streams>,
}

#[derive(Debug)]
struct Streams {
    request: Option<RequestId>,
    stdout: GuestLog,
    stderr: GuestLog,
}

impl InstanceOutput {
    pub(super) fn new(
        log: Log,
        app: Arc<str>,
        component: Arc<str>,
        budget: ByteSize,
    ) -> InstanceOutput {
        InstanceOutput(Arc::new(Shared {
            log,
            app,
            component,
            budget,
            current: Mutex::default(),
        }))
    }

    pub(super) fn sink(&self) -> Arc<dyn GuestOutput> {
        Arc::clone(&self.0) as Arc<dyn GuestOutput>
    }

    /// The instance works on `request` until the guard is dropped.
    pub(super) fn request(&self, request: RequestId) -> AtWork {
        self.0.lock().requests.push(request);
        AtWork {
            shared: Arc::clone(&self.0),
            request,
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, what the instance prints may belong to its request.
#[derive(Debug)]
pub(super) struct AtWork {
    shared: Arc<Shared>,
    request: RequestId,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut current = self.shared.lock();
        current.requests.retain(|request| *request != self.request);
        if current.requests.is_empty() {
            // Dropping them writes a last line without an end.
            current.streams = None;
        }
    }
}

impl GuestOutput for Shared {
    fn write(&self, stream: OutputStream, bytes: &[u8]) {
        let mut current = self.lock();
        // With several requests at work nobody can tell whose output it is: it is logged as the
        // component's.
        let request = match current.requests[..] {
            [request] => Some(request),
            _ => None,
        };
        if current
            .streams
            .as_ref()
            .is_none_or(|streams| streams.request != request)
        {
            let budget = LogBudget::new(self.budget);
            let open = |stream| {
                self.log.guest(
                    request,
                    Arc::clone(&self.app),
                    Arc::clone(&self.component),
                    stream,
                    budget.clone(),
                )
            };
            current.streams = Some(Streams {
                request,
                stdout: open(GuestStream::Stdout),
                stderr: open(GuestStream::Stderr),
            });
        }
        let streams = current.streams.as_mut().expect("made above");
        match stream {
            OutputStream::Stdout => streams.stdout.write(bytes),
            OutputStream::Stderr => streams.stderr.write(bytes),
        }
    }
}
