//! Answers that the host gives itself.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;
use wharf_engine::{Fault, LimitHit};

use crate::admission::Refused;
use crate::app::Absence;
use crate::body::AnswerBody;
use crate::http1::Refusal;
use crate::log::RequestId;

/// How much of an error a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The request id only.
    IdOnly,
    /// What happened and the hint: for the developer's own machine.
    Full,
}

/// A plain text answer.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Response<AnswerBody> {
    let mut text = text.into();
    text.push('\n');
    let mut response = Response::new(AnswerBody::Text(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// What an HTTP/1 request gets that breaks the rules; it is the connection's last.
pub(crate) fn refusal(refusal: Refusal) -> Response<AnswerBody> {
    let mut response = text(refusal.status, refusal.text);
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// 404 for a path without a route.
pub(crate) fn no_route(path: &str) -> Response<AnswerBody> {
    text(StatusCode::NOT_FOUND, format!("no route matches {path}"))
}

/// 503 for an app that is not there, though the node knows it.
pub(crate) fn absent(absence: Absence) -> Response<AnswerBody> {
    let why = match absence {
        Absence::Loading => "the app is being loaded",
        Absence::Failed => "the app could not be loaded",
    };
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// 501 for WebSocket and other upgrades.
pub(crate) fn no_upgrade() -> Response<AnswerBody> {
    text(
        StatusCode::NOT_IMPLEMENTED,
        "upgrades (WebSocket) are not supported; use server-sent events or plain requests",
    )
}

/// 405 for CONNECT; what follows it was meant for a tunnel.
pub(crate) fn no_connect() -> Response<AnswerBody> {
    let mut response = refusal(Refusal::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this is no proxy",
    ));
    response.headers_mut().insert(
        ALLOW,
        HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    );
    response
}

/// 503 when the component is full.
pub(crate) fn refused(refused: Refused) -> Response<AnswerBody> {
    let why = match refused {
        Refused::QueueFull(_) => "the app is busy and its queue is full",
        Refused::Waited(_) => "the app is busy and this request waited too long",
    };
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The status that a fault is answered with.
pub(crate) fn status_of(fault: &Fault) -> StatusCode {
    match &fault.limit {
        Some(LimitHit::Time { .. }) => StatusCode::GATEWAY_TIMEOUT,
        Some(limit) if limit.is_shared() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer to a request whose guest failed before its response head.
pub(crate) fn fault(fault: &Fault, id: RequestId, detail: Detail) -> Response<AnswerBody> {
    let status = status_of(fault);
    let mut message = match status {
        StatusCode::GATEWAY_TIMEOUT => "the app took too long".to_owned(),
        StatusCode::SERVICE_UNAVAILABLE => "the app has no room for this request".to_owned(),
        _ => "the app failed".to_owned(),
    };
    message.push_str(&format!(" (request {id})"));
    if detail == Detail::Full {
        message.push_str(&format!("\n\n{}: {fault}", fault.kind.as_str()));
        if let Some(hint) = &fault.hint {
            message.push_str(&format!("\nhint: {hint}"));
        }
        if let Some(backtrace) = &fault.backtrace {
            message.push_str(&format!("\n\n{}", backtrace.trim_end()));
        }
    }
    let mut response = text(status, message);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
