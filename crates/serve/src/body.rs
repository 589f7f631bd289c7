//! Bodies on their way out.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use bytes::{Buf, Bytes};
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::answers::Abandon;
use crate::component::GuestBody;
use crate::files::FileBody;
use crate::length::{announced, has_no_body};
use crate::log::{Log, RequestEvent, RequestId, Wire};
use crate::metrics::ComponentMetrics;
use crate::watch::DevBody;

/// Why a body broke off.
pub(crate) type BodyError = Box<dyn StdError + Send + Sync>;

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
    /// What to do about the error.
    pub(crate) hint: Option<String>,
    /// The client left, and nothing else is the error.
    pub(crate) is_left: bool,
    pub(crate) metrics: Active,
    pub(crate) wire: Wire,
    pub(crate) route: Option<Arc<str>>,
    pub(crate) parent_span: Option<u64>,
}

/// A request that is counted as one in work where it was last seen.
#[derive(Debug)]
pub(crate) struct Active(Arc<ComponentMetrics>);

impl Active {
    pub(crate) fn new(metrics: &Arc<ComponentMetrics>) -> Active {
        metrics.begins();
        Active(Arc::clone(metrics))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.leaves();
    }
}

impl Account {
    /// The client left before it had its answer, unless something else is known to be wrong.
    fn left(&mut self) {
        if self.error.is_none() {
            self.error = Some("the client left".to_owned());
            self.is_left = true;
        }
    }

    /// Logs the request.
    fn close(&mut self, status: Option<StatusCode>, bytes_out: u64) {
        let duration = self.started.elapsed();
        self.metrics.0.ended(status, duration, bytes_out);
        self.log.request(RequestEvent {
            time: SystemTime::now(),
            request_id: self.id,
            app: Arc::clone(&self.app),
            component: self.component.take(),
            method: std::mem::take(&mut self.method),
            path: std::mem::take(&mut self.path),
            status,
            duration,
            bytes_out,
            error: self.error.take(),
            hint: self.hint.take(),
            is_left: self.is_left,
            client: Some(self.client),
            wire: self.wire,
            route: self.route.take(),
            parent_span: self.parent_span,
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
        let ended = account.method == Method::HEAD || has_no_body(&response);
        response.map(|body| AccountedBody {
            body,
            // What an answer to HEAD announces is not sent.
            announced: announced.filter(|_| account.method != Method::HEAD),
            ended,
            account,
            status,
            bytes_out: 0,
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(mut account) = self.0.take() {
            account.left();
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

impl<B: Body> Abandon for AccountedBody<B> {
    fn abandon(&mut self, why: &'static str) {
        self.account.error.get_or_insert_with(|| why.to_owned());
    }
}

impl<B: Body> Drop for AccountedBody<B> {
    fn drop(&mut self) {
        let whole = self.ended
            || self
                .announced
                .is_some_and(|length| self.bytes_out >= length)
            || self.body.is_end_stream();
        if !whole {
            self.account.left();
        }
        let (status, bytes_out) = (self.status, self.bytes_out);
        self.account.close(Some(status), bytes_out);
    }
}
