//! Requests that a guest sends, as spans below the request that it is at work for.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri};
use wharf_host::OutgoingCall;

use crate::log::{Event, Log, OutgoingEvent, RequestId};
use crate::telemetry::{TRACEPARENT, TraceParent};

/// A request on its way.
pub(super) struct Call {
    log: Log,
    event: OutgoingEvent,
    since: Instant,
}

/// Begins a span below `at_work`, or below the span that the guest itself names, as a program does
/// that hands `traceparent` on. Without either nobody knows where it belongs, and `None` comes
/// back.
pub(super) fn begin(
    log: &Log,
    (app, component): (&Arc<str>, &Arc<str>),
    at_work: Option<RequestId>,
    (method, uri): (&Method, &Uri),
    headers: &mut HeaderMap,
) -> Option<Box<dyn OutgoingCall>> {
    if !log.is_traced() {
        return None;
    }
    let parent = TraceParent::of(headers).or_else(|| {
        at_work.map(|id| TraceParent {
            trace: id.trace(),
            span: id.span(),
            is_sampled: id.is_sampled(),
        })
    })?;
    let span = RequestId::random().span();
    let own = TraceParent { span, ..parent };
    headers.insert(TRACEPARENT.clone(), own.header());
    if !parent.is_sampled {
        return None;
    }
    Some(Box::new(Call {
        log: log.clone(),
        since: Instant::now(),
        event: OutgoingEvent {
            started: SystemTime::now(),
            duration: std::time::Duration::ZERO,
            trace: parent.trace,
            parent_span: parent.span,
            span,
            app: Arc::clone(app),
            component: Arc::clone(component),
            method: method.clone(),
            uri: without_query(uri),
            answer: Err("given up".to_owned()),
        },
    }))
}

/// Queries hold secrets now and then.
fn without_query(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(uri.path()).ok();
    Uri::from_parts(parts).unwrap_or_default()
}

impl OutgoingCall for Call {
    fn ends(mut self: Box<Self>, answer: Result<StatusCode, String>) {
        self.event.answer = answer;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut event = self.event.clone();
        event.duration = self.since.elapsed();
        self.log.send(Event::Outgoing(Box::new(event)));
    }
}
