//! The node: hands each request to the live app.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use wasmtime_wasi_http::WasiBody;
use wharf_host::IdleBody;

use crate::answer::{self, Detail};
use crate::app::{LiveApp, Target};
use crate::body::{Account, AccountedBody, AnswerBody, Pending};
use crate::component::{Admitted, LiveComponent};
use crate::files::FileRequest;
use crate::http1::Refusal;
use crate::log::{Log, RequestId};
use crate::request::{self, Origin, Peer};
use crate::watch::{DevOverlay, InjectBody, Navigation};

/// Settings of a [`Node`].
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// Put a guest's error into the answer, for a developer's own machine.
    pub show_errors: bool,
    /// The overlay of `wharf up --watch`.
    pub overlay: Option<DevOverlay>,
}

/// Holds the live app and answers requests with it. The app can be swapped at any time; requests
/// under way finish on the one they began with.
#[derive(Debug)]
pub struct Node {
    app: ArcSwapOption<LiveApp>,
    log: Log,
    detail: Detail,
    overlay: Option<DevOverlay>,
}

impl Node {
    /// A node without an app yet.
    pub fn new(log: Log, options: NodeOptions) -> Node {
        Node {
            app: ArcSwapOption::empty(),
            log,
            detail: if options.show_errors {
                Detail::Full
            } else {
                Detail::IdOnly
            },
            overlay: options.overlay,
        }
    }

    /// Serves `app` from the next request on.
    pub fn serve(&self, app: Arc<LiveApp>) {
        self.app.store(Some(app));
    }

    /// The app that is served.
    pub fn app(&self) -> Option<Arc<LiveApp>> {
        self.app.load_full()
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    pub(crate) fn overlay(&self) -> Option<&DevOverlay> {
        self.overlay.as_ref()
    }

    /// Answers one request, or refuses it as soon as `refused` says so and its answer has not
    /// begun. It is logged even if the future is dropped before its first poll, as happens when a
    /// client leaves right after asking.
    pub(crate) fn answer<F>(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        refused: F,
    ) -> impl Future<Output = Response<NodeBody>> + use<F>
    where
        F: Fn() -> Option<Refusal>,
    {
        let node = Arc::clone(self);
        let app = self.app.load_full();
        let id = RequestId::random();
        let mut pending = Pending::new(Account {
            log: self.log.clone(),
            id,
            started: Instant::now(),
            app: app
                .as_ref()
                .map_or_else(|| "-".into(), |app| Arc::clone(&app.name)),
            component: None,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            client: peer.addr.ip(),
            error: None,
        });
        async move {
            let origin = Origin { id, peer };
            let answer = unless(refused, node.finish(app, request, origin, &mut pending));
            let response = match answer.await {
                Ok(response) => response,
                Err(refusal) => {
                    pending.account().error = Some(refusal.text.to_owned());
                    Navigation::other().finish(answer::refusal(refusal))
                }
            };
            pending.begin(response)
        }
    }

    async fn finish(
        &self,
        app: Option<Arc<LiveApp>>,
        mut request: Request<Incoming>,
        origin: Origin,
        pending: &mut Pending,
    ) -> Response<InjectBody<AnswerBody>> {
        let navigation = match &self.overlay {
            Some(overlay) => {
                if let Some(response) = overlay.respond(request.method(), request.uri().path()) {
                    let response = response.map(AnswerBody::Dev);
                    return Navigation::other().finish(response);
                }
                let method = request.method().clone();
                overlay.navigation(&method, request.headers_mut())
            }
            None => Navigation::other(),
        };
        let response = match app {
            Some(app) => self.route(&app, request, origin, pending).await,
            None => self.no_app(),
        };
        navigation.finish(response)
    }

    fn no_app(&self) -> Response<AnswerBody> {
        match &self.overlay {
            Some(overlay) => overlay.placeholder().map(AnswerBody::Dev),
            None => answer::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "no app is being served yet",
            ),
        }
    }

    async fn route(
        &self,
        app: &LiveApp,
        mut request: Request<Incoming>,
        origin: Origin,
        pending: &mut Pending,
    ) -> Response<AnswerBody> {
        if request.method() == Method::CONNECT {
            return answer::no_connect();
        }
        if request::wants_upgrade(request.headers()) {
            return answer::no_upgrade();
        }
        if let Err(bad) = request::prepare(&mut request, origin) {
            return answer::text(StatusCode::BAD_REQUEST, bad.text());
        }
        match app.target(request.uri().path()) {
            None => answer::no_route(request.uri().path()),
            Some(Target::Files(files)) => {
                let file = FileRequest {
                    method: request.method(),
                    path: request.uri().path(),
                    query: request.uri().query(),
                    headers: request.headers(),
                };
                match files.respond(file).await {
                    Ok(response) => response.map(AnswerBody::Files),
                    Err(error) => {
                        pending.account().error = Some(error.to_string());
                        let text = format!("a file cannot be read (request {})", origin.id);
                        answer::text(StatusCode::INTERNAL_SERVER_ERROR, text)
                    }
                }
            }
            Some(Target::Component(component)) => {
                pending.account().component = Some(Arc::clone(component.name()));
                self.ask(component, request, origin, pending).await
            }
        }
    }

    async fn ask(
        &self,
        component: &LiveComponent,
        request: Request<Incoming>,
        origin: Origin,
        pending: &mut Pending,
    ) -> Response<AnswerBody> {
        let limits = component.limits();
        let deadline = Instant::now() + limits.time;
        let place = match component.admission().enter(deadline).await {
            Ok(place) => place,
            Err(refused) => {
                pending.account().error = Some(format!(
                    "refused: limit of {} requests at once met",
                    limits.concurrency
                ));
                return answer::refused(refused);
            }
        };
        let is_head = request.method() == Method::HEAD;
        // HTTP/1 leaves out the body of an answer to HEAD by itself.
        let strip = is_head && request.version() == Version::HTTP_2;
        let request = request.map(|body| incoming(body, limits.body_idle));
        let admitted = Admitted {
            id: origin.id,
            deadline,
            place,
        };
        match component.answer(request, admitted).await {
            Ok(mut response) => {
                if is_head {
                    response.body_mut().skip();
                }
                response.map(|body| match strip {
                    true => AnswerBody::Text(Full::default()),
                    false => AnswerBody::Guest(Box::new(body)),
                })
            }
            Err(fault) => {
                component.log_fault(&fault, origin.id);
                pending.account().error = Some(fault.message.clone());
                answer::fault(&fault, origin.id, self.detail)
            }
        }
    }
}

/// What `answer` comes to, unless the request is refused meanwhile. Whoever refuses does so in
/// the task that polls this.
async fn unless<T>(
    refused: impl Fn() -> Option<Refusal>,
    answer: impl Future<Output = T>,
) -> Result<T, Refusal> {
    let mut answer = pin!(answer);
    poll_fn(|cx| match refused() {
        Some(refusal) => Poll::Ready(Err(refusal)),
        None => answer.as_mut().poll(cx).map(Ok),
    })
    .await
}

/// A request body as the guest reads it.
fn incoming(body: Incoming, idle: Duration) -> WasiBody {
    if body.is_end_stream() {
        return Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    IdleBody::new(
        body,
        idle,
        || wasmtime_wasi_http::Error::ConnectionReadTimeout,
        (),
    )
    .boxed_unsync()
}

/// The body of every answer.
pub(crate) type NodeBody = AccountedBody<InjectBody<AnswerBody>>;
