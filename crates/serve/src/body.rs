//! Bodies on their way out.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Buf, Bytes};
use http::header::CONTENT_LENGTH;
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::time::Sleep;
use wasmtime_wasi_http::WasiBody;
use wharf_engine::{Fault, FaultKind};
use wharf_manifest::{ByteSize, Limits};

use crate::admission::Place;
use crate::component::{Reading, Run};
use crate::files::FileBody;
use crate::log::{Level, Log, Message, RequestEvent, RequestId};
use crate::watch::DevBody;

/// Why a body broke off.
pub(crate) type BodyError = Box<dyn StdError + Send + Sync>;

/// The length of a body, by `Content-Length`.
fn announced<B>(response: &Response<B>) -> Option<u64> {
    let value = response.headers().get(CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// The body of any answer.
pub(crate) enum AnswerBody {
    Guest(Box<GuestBody>),
    Files(FileBody),
    Dev(DevBody),
    Text(Full<Bytes>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        fn boxed<E: Into<BodyError>>(
            frame: Option<Result<Frame<Bytes>, E>>,
        ) -> Option<Result<Frame<Bytes>, BodyError>> {
            frame.map(|frame| frame.map_err(Into::into))
        }
        match self.get_mut() {
            AnswerBody::Guest(body) => Pin::new(&mut **body).poll_frame(cx).map(boxed),
            AnswerBody::Files(body) => Pin::new(body).poll_frame(cx).map(boxed),
            AnswerBody::Dev(body) => Pin::new(body).poll_frame(cx).map(boxed),
            AnswerBody::Text(body) => Pin::new(body).poll_frame(cx).map(boxed),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            AnswerBody::Guest(body) => body.is_end_stream(),
            AnswerBody::Files(body) => body.is_end_stream(),
            AnswerBody::Dev(body) => body.is_end_stream(),
            AnswerBody::Text(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Guest(body) => body.size_hint(),
            AnswerBody::Files(body) => body.size_hint(),
            AnswerBody::Dev(body) => body.size_hint(),
            AnswerBody::Text(body) => body.size_hint(),
        }
    }
}

/// What a guest answers, with the guest itself where the request owns it.
///
/// Polling it runs the guest; dropping it before its end ends the guest. A guest that is still
/// at work after its last byte goes on in a task of its own until its time limit.
pub(crate) struct GuestBody {
    body: WasiBody,
    guest: Guest,
    idle: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Bytes still announced by `Content-Length`.
    announced: Option<u64>,
    bytes_left: Option<u64>,
    bytes_max: Option<ByteSize>,
    ended: bool,
    after: Option<After>,
}

/// Who makes a body.
pub(crate) enum Guest {
    /// An instance of its own, run by polling the body.
    Own(Run),
    /// An instance that others share.
    Shared(Reading),
    /// Nobody any more: the rest of the body is there.
    Done,
    /// It failed; what it wrote before is still to be sent.
    Failed(Fault),
}

/// What a guest needs to go on after its answer.
#[derive(Debug)]
pub(crate) struct After {
    pub(crate) log: Log,
    pub(crate) id: RequestId,
    pub(crate) component: Arc<str>,
    pub(crate) time: Duration,
    /// Held until the guest is done.
    pub(crate) place: Option<Place>,
}

impl GuestBody {
    pub(crate) fn wrap(
        response: Response<WasiBody>,
        guest: Guest,
        limits: &Limits,
        after: After,
    ) -> Response<GuestBody> {
        let announced = announced(&response);
        // Nobody asks for the body of such a response (RFC 9110, section 6.4.1).
        let bodiless = matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        response.map(|body| GuestBody {
            body,
            guest,
            idle: limits.body_idle,
            deadline: None,
            announced,
            bytes_left: limits.response.map(|size| size.0),
            bytes_max: limits.response,
            ended: bodiless,
            after: Some(after),
        })
    }

    /// Nobody will read it, as it answers HEAD: it is whole as it is.
    pub(crate) fn skip(&mut self) {
        self.ended = true;
    }

    fn note(&mut self, frame: &Frame<Bytes>) -> Result<(), Fault> {
        self.deadline = None;
        let Some(data) = frame.data_ref() else {
            return Ok(());
        };
        let length = data.remaining() as u64;
        if let Some(announced) = &mut self.announced {
            *announced = announced.saturating_sub(length);
        }
        if let Some(left) = &mut self.bytes_left {
            let Some(rest) = left.checked_sub(length) else {
                let max = self.bytes_max.unwrap_or(ByteSize(0));
                return Err(Fault::new(
                    FaultKind::Limit,
                    format!("the response is larger than {max}"),
                )
                .with_hint("raise it with `limits.response` in wharf.toml"));
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

    /// Nothing came: wait up to the idle limit.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let idle = self.idle;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        deadline.as_mut().poll(cx).map(|()| {
            Fault::new(
                FaultKind::Limit,
                format!("the response body brought nothing for {idle:?}"),
            )
            .with_hint("raise it with `limits.body_idle` in wharf.toml")
        })
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        if let Guest::Own(run) = &mut this.guest
            && let Poll::Ready(result) = Pin::new(run).poll(cx)
        {
            this.guest = match result {
                Ok(()) => Guest::Done,
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
                        format!("the guest broke its response off: {error:?}"),
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

impl After {
    /// Runs a guest to its end whose response is out.
    fn go_on(self, run: Run) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let After {
            log,
            id,
            component,
            time,
            place,
        } = self;
        runtime.spawn(async move {
            let ended = tokio::time::timeout(time, run).await;
            drop(place);
            let problem = match ended {
                Ok(Ok(())) => return,
                Ok(Err(fault)) => fault.message,
                Err(_) => format!("still at work {time:?} after its response; ended"),
            };
            log.message(
                Message::new(Level::Warn, "the guest failed after its response")
                    .with("component", &*component)
                    .with("request_id", id)
                    .with("error", problem),
            );
        });
    }
}

/// What is known of a request when its answer begins, for the log line at its end.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) log: Log,
    pub(crate) id: RequestId,
    pub(crate) started: Instant,
    pub(crate) app: Arc<str>,
    pub(crate) component: Option<Arc<str>>,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) client: std::net::IpAddr,
    pub(crate) error: Option<String>,
}

impl Account {
    /// The client left before there was an answer.
    fn close(&mut self, status: Option<StatusCode>, bytes_out: u64) {
        self.log.request(RequestEvent {
            time: SystemTime::now(),
            request_id: self.id,
            app: Arc::clone(&self.app),
            component: self.component.take(),
            method: std::mem::take(&mut self.method),
            path: std::mem::take(&mut self.path),
            status,
            duration: self.started.elapsed(),
            bytes_out,
            error: self.error.take(),
            client: Some(self.client),
        });
    }
}

/// Logs a request whose client left before its answer began.
pub(crate) struct Pending(Option<Account>);

impl Pending {
    pub(crate) fn new(account: Account) -> Pending {
        Pending(Some(account))
    }

    pub(crate) fn account(&mut self) -> &mut Account {
        self.0.as_mut().expect("taken only at the end")
    }

    /// The answer begins: its body takes the account.
    pub(crate) fn begin<B: Body>(mut self, response: Response<B>) -> Response<AccountedBody<B>> {
        let account = self.0.take().expect("begins once");
        let status = response.status();
        let announced = announced(&response);
        response.map(|body| AccountedBody {
            body,
            // What an answer to HEAD announces is not sent.
            announced: announced.filter(|_| account.method != Method::HEAD),
            ended: account.method == Method::HEAD,
            account,
            status,
            bytes_out: 0,
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(mut account) = self.0.take() {
            account
                .error
                .get_or_insert_with(|| "the client left".to_owned());
            account.close(None, 0);
        }
    }
}

/// A body that logs its request when it is done.
pub(crate) struct AccountedBody<B: Body> {
    body: B,
    account: Account,
    status: StatusCode,
    bytes_out: u64,
    announced: Option<u64>,
    ended: bool,
}

impl<B> Body for AccountedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.bytes_out += data.remaining() as u64;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let error = error.into();
                self.account.error = Some(error.to_string());
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.ended = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body> Drop for AccountedBody<B> {
    fn drop(&mut self) {
        let whole = self.ended
            || self
                .announced
                .is_some_and(|length| self.bytes_out >= length)
            || self.body.is_end_stream();
        if !whole && self.account.error.is_none() {
            self.account.error = Some("the client left".to_owned());
        }
        let (status, bytes_out) = (self.status, self.bytes_out);
        self.account.close(Some(status), bytes_out);
    }
}
