//! The node: hands each request to the live app.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::header::EXPECT;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use wasmtime_wasi_http::WasiBody;
use wharf_manifest::{AddressRange, ForwardedField, HostName};

use crate::answer::{self, Detail};
use crate::app::{Absence, LiveApp, Target};
use crate::body::{Account, AccountedBody, Active, AnswerBody, Pending};
use crate::client_body::{ClientBody, Complaint};
use crate::component::{Admitted, LiveComponent};
use crate::files::FileRequest;
use crate::hosts::Hosts;
use crate::http1::Refusal;
use crate::late::Late;
use crate::log::{Log, RequestId, Wire};
use crate::metrics::{ComponentMetrics, Metrics};
use crate::proxies::Proxies;
use crate::request::{self, BadRequest, Origin, Peer};
use crate::telemetry::{TRACEPARENT, Telemetry, TraceParent};
use crate::watch::{DevOverlay, InjectBody, Navigation};

/// Settings of a [`Node`].
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// Put a guest's error into the answer, for a developer's own machine.
    pub show_errors: bool,
    /// The overlay of `wharf up --watch`.
    pub overlay: Option<DevOverlay>,
    /// Where traces are exported; the log exports what it writes by itself.
    pub telemetry: Option<Telemetry>,
    /// Proxies whose word on their clients is believed. Default none.
    pub trusted_proxies: Vec<AddressRange>,
    /// Where they write it.
    pub forwarded_field: ForwardedField,
}

/// Holds the live apps and answers requests with them. They can be swapped at any time; requests
/// under way finish on the app that they began with.
#[derive(Debug)]
pub struct Node {
    hosts: ArcSwap<Hosts>,
    log: Log,
    metrics: Metrics,
    /// Of requests that reach no app.
    strays: Arc<ComponentMetrics>,
    detail: Detail,
    overlay: Option<DevOverlay>,
    telemetry: Option<Telemetry>,
    proxies: Proxies,
    is_draining: AtomicBool,
}

impl Node {
    /// A node without an app yet, which counts in `metrics`.
    pub fn new(log: Log, metrics: Metrics, options: NodeOptions) -> Node {
        metrics.watch_log(&log);
        Node {
            hosts: ArcSwap::default(),
            log,
            strays: metrics.component(&"".into(), &"".into()),
            metrics,
            detail: if options.show_errors {
                Detail::Full
            } else {
                Detail::IdOnly
            },
            overlay: options.overlay,
            telemetry: options.telemetry,
            proxies: Proxies::new(options.trusted_proxies, options.forwarded_field),
            is_draining: AtomicBool::new(false),
        }
    }

    /// Serves `app` for all host names from the next request on.
    pub fn serve(&self, app: Arc<LiveApp>) {
        let apps = BTreeMap::from([(app.name().to_owned(), app.absence.is_none())]);
        self.metrics.set_apps(apps);
        self.hosts.store(Arc::new(Hosts::only(app)));
    }

    /// Serves each of `apps` under its names from the next request on, and one without names
    /// for all others.
    pub fn serve_by_host(&self, apps: impl IntoIterator<Item = (Vec<HostName>, Arc<LiveApp>)>) {
        let mut hosts = Hosts::default();
        let mut all = BTreeMap::new();
        for (names, app) in apps {
            hosts.add(&names, &app);
            all.insert(app.name().to_owned(), app.absence.is_none());
        }
        self.metrics.set_apps(all);
        self.hosts.store(Arc::new(hosts));
    }

    /// The app that is served for names that no other app has.
    pub fn app(&self) -> Option<Arc<LiveApp>> {
        self.hosts.load().others().cloned()
    }

    /// Whether requests are answered by apps: none is still being loaded for the first time, and
    /// the node is not about to end.
    pub(crate) fn readiness(&self) -> Readiness {
        let hosts = self.hosts.load();
        let mut apps = hosts.apps();
        if self.is_draining.load(Ordering::Relaxed) {
            Readiness::Draining
        } else if hosts.is_empty() || apps.any(|app| app.absence == Some(Absence::Loading)) {
            Readiness::NoApp
        } else {
            Readiness::Ready
        }
    }

    /// The node is about to end: it is not ready for more.
    pub(crate) fn drains(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
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
        mut request: Request<Incoming>,
        peer: Peer,
        refused: F,
    ) -> impl Future<Output = Response<NodeBody>> + use<F>
    where
        F: Fn() -> Option<Refusal>,
    {
        let node = Arc::clone(self);
        let hosts = self.hosts.load();
        let app = hosts.app(request::host(&request)).cloned();
        drop(hosts);
        let (client, given) = self.proxies.client(peer, request.headers());
        let id = RequestId::random();
        let id = given.map_or(id, |given| id.known_as(given));
        let (id, parent_span) = match &self.telemetry {
            Some(telemetry) => self.trace(telemetry, id, peer, request.headers_mut()),
            None => (id, None),
        };
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
            client: client.addr.ip(),
            error: None,
            hint: None,
            is_left: false,
            metrics: Active::new(match &app {
                Some(app) => &app.metrics,
                None => &self.strays,
            }),
            wire: Wire {
                scheme: client.scheme.as_str(),
                version: request.version(),
            },
            route: None,
            parent_span,
        });
        async move {
            let origin = Origin { id, peer, client };
            let answer = unless(refused, node.finish(app, request, origin, &mut pending));
            let response = match answer.await {
                Ok(response) => response,
                Err(refusal) => {
                    node.metrics.server().bad_request();
                    let account = pending.account();
                    account.metrics = Active::new(&node.strays);
                    account.error = Some(refusal.text.to_owned());
                    Navigation::other().finish(answer::refusal(refusal))
                }
            };
            pending.begin(response)
        }
    }

    /// Puts the request `id` into the trace that it says it belongs to, or a new one, and tells the
    /// guest of its span; gives the span above, too. Whether the trace is kept is decided by what
    /// is said only if a trusted proxy says it.
    fn trace(
        &self,
        telemetry: &Telemetry,
        id: RequestId,
        peer: Peer,
        headers: &mut HeaderMap,
    ) -> (RequestId, Option<u64>) {
        let parent = TraceParent::of(headers);
        let trace = parent.map_or(id.trace(), |parent| parent.trace);
        let decides = parent.filter(|_| self.proxies.trusts(peer.addr.ip()));
        let is_sampled = telemetry.sampling().keeps(trace, decides.as_ref());
        let id = id.in_trace(trace, is_sampled);
        let own = TraceParent {
            trace,
            span: id.span(),
            is_sampled,
        };
        headers.insert(TRACEPARENT.clone(), own.header());
        (id, parent.map(|parent| parent.span))
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
            None if self.hosts.load().is_empty() => self.no_app(),
            None => self.no_host(&mut request, origin),
        };
        navigation.finish(response)
    }

    fn bad(&self, bad: BadRequest) -> Response<AnswerBody> {
        self.metrics.server().bad_request();
        answer::text(bad.status(), bad.text())
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

    /// No app has the host that is asked for, if it is one.
    fn no_host(&self, request: &mut Request<Incoming>, origin: Origin) -> Response<AnswerBody> {
        match request::prepare(request, origin) {
            Err(bad) => self.bad(bad),
            Ok(()) => answer::text(
                StatusCode::MISDIRECTED_REQUEST,
                "no app is served under this host name",
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
            return self.bad(bad);
        }
        if let Some(absence) = app.absence {
            return answer::absent(absence);
        }
        let Some(route) = app.route(request.uri().path()) else {
            return answer::no_route(request.uri().path());
        };
        pending.account().route = Some(Arc::clone(&route.text));
        match &route.target {
            Target::Files(files) => {
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
            Target::Component(component) => {
                let account = pending.account();
                account.component = Some(Arc::clone(component.name()));
                account.metrics = Active::new(component.metrics());
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
        let place = match component
            .admission()
            .enter(origin.client.addr.ip(), deadline)
            .await
        {
            Ok(place) => place,
            Err(refused) => {
                let (error, hint) = component.refusal(refused);
                pending.account().error = Some(error);
                pending.account().hint = Some(hint);
                component.metrics().refused(refused);
                return answer::refused(refused);
            }
        };
        let is_head = request.method() == Method::HEAD;
        let is_h2 = request.version() == Version::HTTP_2;
        // HTTP/1 leaves out the body of an answer to HEAD by itself.
        let strip = is_head && is_h2;
        // Who waits to be told to go on sends nothing that is to be taken.
        let waits = !is_h2
            && (request.headers().get(EXPECT))
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let complaint = || Complaint {
            blueprint: Arc::clone(component.blueprint()),
            id: origin.id,
        };
        let request = request.map(|body| incoming(body, limits.body_idle, waits, complaint));
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
                let fault = component.advised(fault);
                pending.account().error = Some(fault.message.clone());
                answer::fault(&fault, origin.id, self.detail)
            }
        }
    }
}

/// Whether a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// There is no app yet.
    NoApp,
    /// It is about to end.
    Draining,
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
fn incoming(
    body: Incoming,
    idle: Duration,
    waits: bool,
    complaint: impl FnOnce() -> Complaint,
) -> WasiBody {
    if body.is_end_stream() {
        return Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    let body = ClientBody::new(body, idle, Some(complaint()));
    match waits {
        true => body.boxed_unsync(),
        false => Late::new(body).boxed_unsync(),
    }
}

/// The body of every answer.
pub(crate) type NodeBody = AccountedBody<InjectBody<AnswerBody>>;
