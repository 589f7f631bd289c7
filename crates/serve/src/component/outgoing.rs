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
    /// Until it is over.
    event: Option<Box<OutgoingEvent>>,
    since: Instant,
}

/// Begins a span below `at_work`, or below the span that the guest itself names, as a program does
/// that hands `traceparent` on. Without either nobody knows where it belongs, and `None` comes
/// back. Whether a trace is kept `is_sampled` decides, which knows those of the instance's
/// requests: a guest makes nobody keep one that it thought up.
pub(super) fn begin(
    log: &Log,
    (app, component): (&Arc<str>, &Arc<str>),
    (at_work, is_sampled): (Option<RequestId>, &dyn Fn(u128) -> bool),
    (method, uri): (&Method, &Uri),
    headers: &mut HeaderMap,
) -> Option<Box<dyn OutgoingCall>> {
    let named = TraceParent::of(headers).map(|named| TraceParent {
        is_sampled: named.is_sampled && is_sampled(named.trace),
        ..named
    });
    let parent = named.or_else(|| {
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
        event: Some(Box::new(OutgoingEvent {
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
        })),
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
        if let Some(event) = &mut self.event {
            event.answer = answer;
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(mut event) = self.event.take() {
            event.duration = self.since.elapsed();
            self.log.send(Event::Outgoing(event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{LogFormat, LogOptions};

    #[test]
    fn a_guest_makes_nobody_keep_a_trace_that_it_thought_up() {
        let options = LogOptions::new(LogFormat::Json);
        let log = Log::start_observed(std::io::sink(), options, None, true).unwrap();
        let sent = |trace: u128| {
            let mut headers = HeaderMap::new();
            let named = TraceParent {
                trace,
                span: 7,
                is_sampled: true,
            };
            headers.insert(TRACEPARENT.clone(), named.header());
            let uri = Uri::from_static("http://a.example/");
            let is_sampled: &dyn Fn(u128) -> bool = &|trace| trace == 1;
            let whose = (&"app".into(), &"api".into());
            let call = begin(
                &log,
                whose,
                (None, is_sampled),
                (&Method::GET, &uri),
                &mut headers,
            );
            (
                call.is_some(),
                TraceParent::of(&headers).unwrap().is_sampled,
            )
        };
        assert_eq!(sent(1), (true, true));
        assert_eq!(sent(2), (false, false));
    }
}
