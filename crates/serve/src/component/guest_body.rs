//! The body of a guest's response, and the guest that makes it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use wasmtime_wasi_http::WasiBody;
use wharf_engine::{Fault, FaultKind, LimitHit, Metered, clip};
use wharf_manifest::{ByteSize, Limits};

use super::Blueprint;
use super::ticket::Reading;
use crate::admission::Place;
use crate::alarm::Alarm;
use crate::length::{announced, has_no_body};
use crate::log::{Level, RequestId};

/// The run of a guest to its end.
pub(super) type Run = Metered<Pin<Box<dyn Future<Output = Result<Leaves, Fault>> + Send>>>;

/// What is still to be done behind a run, by dropping it: its instance is handed on, which nobody
/// may poll before the last poll of this run was counted.
pub(super) type Leaves = Option<Box<dyn Send>>;

/// What a guest answers, with the guest itself where the request owns it.
///
/// Polling it runs the guest; dropping it before its end ends the guest. A guest that is still
/// at work after its last byte goes on in a task of its own until its time limit.
pub(crate) struct GuestBody {
    body: WasiBody,
    guest: Guest,
    idle: Duration,
    silence: Option<Silence>,
    alarm: Alarm,
    /// Bytes still announced by `Content-Length`.
    announced: Option<u64>,
    bytes_left: Option<u64>,
    bytes_max: Option<ByteSize>,
    ended: bool,
    after: Option<After>,
}

/// Who makes a body.
pub(super) enum Guest {
    /// An instance of its own, run by polling the body.
    Own(Run),
    /// An instance that others share.
    Shared(Reading),
    /// Nobody any more: the rest of the body is there.
    Done,
    /// It failed; what it wrote before is still to be sent.
    Failed(Fault),
}

/// A guest is waited for.
struct Silence {
    ends: Instant,
    /// How long the guest had been kept from computing before.
    queued: Duration,
}

/// Whoever comes so late when the time is over did not listen: the client took nothing meanwhile,
/// and the guest was not polled.
const LATE: Duration = Duration::from_secs(1);

/// What a guest needs to go on after its answer.
#[derive(Debug)]
pub(super) struct After {
    pub(super) blueprint: Arc<Blueprint>,
    pub(super) id: RequestId,
    /// Held until the guest is done.
    pub(super) place: Option<Place>,
}

impl Guest {
    /// How long it was kept from computing, in all.
    fn queued(&self) -> Duration {
        match self {
            Guest::Own(run) => run.meter().queued(),
            Guest::Shared(reading) => reading.queued(),
            Guest::Done | Guest::Failed(_) => Duration::ZERO,
        }
    }
}

impl GuestBody {
    pub(super) fn wrap(
        response: Response<WasiBody>,
        guest: Guest,
        limits: &Limits,
        after: After,
    ) -> Response<GuestBody> {
        let announced = announced(&response);
        let ended = has_no_body(&response);
        response.map(|body| GuestBody {
            body,
            guest,
            idle: limits.body_idle,
            silence: None,
            alarm: Alarm::default(),
            announced,
            bytes_left: limits.response.map(|size| size.0),
            bytes_max: limits.response,
            ended,
            after: Some(after),
        })
    }

    /// Nobody will read it, as it answers HEAD: it is whole as it is.
    pub(crate) fn skip(&mut self) {
        self.ended = true;
    }

    fn note(&mut self, frame: &Frame<Bytes>) -> Result<(), Fault> {
        self.silence = None;
        let Some(data) = frame.data_ref() else {
            return Ok(());
        };
        let length = data.remaining() as u64;
        if let Some(announced) = &mut self.announced {
            *announced = announced.saturating_sub(length);
        }
        if let Some(left) = &mut self.bytes_left {
            let Some(rest) = left.checked_sub(length) else {
                let limit = self.bytes_max.unwrap_or(ByteSize(0));
                return Err(Fault::limit(LimitHit::Response { limit }));
            };
            *left = rest;
        }
        Ok(())
    }

    /// What the guest died of before the body was whole, if it did.
    fn cut_short(&self) -> Option<Fault> {
        match &self.guest {
            Guest::Failed(fault) => Some(fault.clone()),
            Guest::Shared(reading) if self.announced != Some(0) => reading.fate(),
            _ => None,
        }
    }

    /// Nothing came: wait up to the idle limit, in which the guest must have been able to go on.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let idle = self.idle;
        let guest = &self.guest;
        let silence = self.silence.get_or_insert_with(|| Silence {
            ends: Instant::now() + idle,
            queued: guest.queued(),
        });
        loop {
            ready!(self.alarm.poll(silence.ends, cx));
            let queued = guest.queued();
            let kept = queued.saturating_sub(silence.queued);
            let more = match silence.ends.elapsed() < LATE {
                true => kept.min(idle),
                false => idle,
            };
            if more.is_zero() {
                return Poll::Ready(Fault::limit(LimitHit::BodyIdle { limit: idle }));
            }
            silence.queued = queued;
            silence.ends = Instant::now() + more;
        }
    }
}

impl GuestBody {
    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self;
        if let Guest::Own(run) = &mut this.guest
            && let Poll::Ready(result) = Pin::new(run).poll(cx)
        {
            this.guest = match result {
                Ok(_) => Guest::Done,
                Err(fault) => Guest::Failed(fault),
            };
        }
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => match this.note(&frame) {
                Ok(()) => Poll::Ready(Some(Ok(frame))),
                Err(fault) => {
                    this.guest = Guest::Done;
                    Poll::Ready(Some(Err(fault)))
                }
            },
            Poll::Ready(Some(Err(error))) => {
                let fault = this.cut_short().unwrap_or_else(|| {
                    Fault::new(
                        FaultKind::Guest,
                        clip(format_args!("the guest broke its response off: {error:?}")),
                    )
                });
                Poll::Ready(Some(Err(fault)))
            }
            Poll::Ready(None) => match this.cut_short() {
                Some(fault) => Poll::Ready(Some(Err(fault))),
                None => {
                    this.ended = true;
                    Poll::Ready(None)
                }
            },
            Poll::Pending if matches!(this.guest, Guest::Failed(_)) => {
                Poll::Ready(this.cut_short().map(Err))
            }
            Poll::Pending => this.wait(cx).map(|fault| {
                this.guest = Guest::Done;
                Some(Err(fault))
            }),
        }
    }

    /// Logs what broke the body off, with what can be done about it.
    fn tell(&self, fault: &Fault) {
        // What ends a shared instance is told by the instance.
        let is_told = matches!(&self.guest, Guest::Shared(reading) if reading.fate().is_some());
        if let (false, Some(after)) = (is_told, &self.after) {
            after.blueprint.log_fault(fault, Some(after.id));
        }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let polled = self.poll_guest(cx);
        if let Poll::Ready(Some(Err(fault))) = &polled {
            self.tell(fault);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        let whole = self.ended || self.announced == Some(0) || self.body.is_end_stream();
        if !whole {
            return;
        }
        let guest = std::mem::replace(&mut self.guest, Guest::Done);
        match (guest, self.after.take()) {
            (Guest::Own(run), Some(after)) => after.go_on(run),
            (Guest::Shared(reading), _) => reading.finish(),
            _ => {}
        }
    }
}

/// For a fault that has no hint of its own.
const AFTER_HINT: &str = "the client has its whole answer; look at what the handler does behind it, and at its own messages under this request id";

impl After {
    /// Runs a guest to its end whose response is out.
    fn go_on(self, run: Run) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let After {
            blueprint,
            id,
            place,
        } = self;
        runtime.spawn(async move {
            let time = blueprint.limits.time;
            let ended = tokio::time::timeout(time, run).await;
            drop(place);
            let (problem, fault) = match ended {
                Ok(Ok(_)) => return,
                Ok(Err(fault)) => (fault.message.clone(), fault),
                Err(_) => {
                    let problem = format!("still at work {time:?} after its response; ended");
                    (problem, blueprint.out_of_time())
                }
            };
            blueprint.metrics.faulted(&fault);
            let fault = match fault.hint {
                Some(_) => fault,
                None => fault.with_hint(AFTER_HINT),
            };
            let message = blueprint
                .message(Level::Warn, "the guest failed after its response", Some(id))
                .with("error", problem);
            blueprint.log.message(blueprint.explain(message, &fault));
        });
    }
}
