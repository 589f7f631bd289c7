//! How pages learn of the state of the build.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, RANGE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::sync::watch;

use super::dev_state::{DevState, Signal, shown};
use super::events::DevBody;
use super::inject::{self, Navigation};

/// Where pages listen for events.
const EVENTS_PATH: &str = "/.wharf/dev";
/// Where the script lies that they load.
const SCRIPT_PATH: &str = "/.wharf/dev.js";
const SCRIPT: &str = include_str!("dev.js");
/// Pages that may listen at once.
const LISTENERS_MAX: usize = 256;

/// Tells open pages how the build stands. Cheap to clone; the clones share one state.
#[derive(Debug, Clone)]
pub struct DevOverlay {
    signal: Arc<watch::Sender<Signal>>,
}

impl DevOverlay {
    /// The paths that it answers itself.
    pub const PATHS: &[&str] = &[EVENTS_PATH, SCRIPT_PATH];

    /// Starts in [`DevState::Building`].
    #[must_use]
    pub fn new() -> Self {
        let signal = Signal {
            state: DevState::Building,
            is_shutting_down: false,
        };
        Self {
            signal: Arc::new(watch::Sender::new(signal)),
        }
    }

    /// Sets the state and tells every page.
    pub fn set(&self, state: DevState) {
        self.signal.send_modify(|signal| signal.state = state);
    }

    /// Gives the state.
    #[must_use]
    pub fn state(&self) -> DevState {
        self.signal.borrow().state.clone()
    }

    /// Ends all streams of events, so that no open page holds up a server that drains.
    pub fn shut_down(&self) {
        self.signal
            .send_modify(|signal| signal.is_shutting_down = true);
    }

    /// Answers a request for the overlay's own paths; none for all others.
    #[must_use]
    pub fn respond(&self, method: &Method, path: &str) -> Option<Response<DevBody>> {
        if !Self::PATHS.contains(&path) {
            return None;
        }
        if method != Method::GET && method != Method::HEAD {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(response);
        }
        let (content_type, body) = if path == SCRIPT_PATH {
            ("text/javascript; charset=utf-8", DevBody::full(SCRIPT))
        } else if self.signal.receiver_count() >= LISTENERS_MAX {
            let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open\n");
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("5"));
            return Some(response);
        } else if method == Method::HEAD {
            ("text/event-stream", DevBody::full(Bytes::new()))
        } else {
            (
                "text/event-stream",
                DevBody::events(self.signal.subscribe()),
            )
        };
        let body = if method == Method::HEAD {
            DevBody::full(Bytes::new())
        } else {
            body
        };
        Some(respond_with(StatusCode::OK, content_type, body))
    }

    /// Prepares a request for the app: call it before routing, and pass the app's answer to
    /// [`Navigation::finish`].
    ///
    /// Where a browser asks for a page, it takes off the header fields that would bring an answer
    /// without a whole, plain body: conditions, ranges and codings.
    #[must_use]
    pub fn navigation(&self, method: &Method, headers: &mut HeaderMap) -> Navigation {
        if (method != Method::GET && method != Method::HEAD) || !asks_for_page(headers) {
            return Navigation::other();
        }
        for name in [
            IF_NONE_MATCH,
            IF_MODIFIED_SINCE,
            IF_RANGE,
            RANGE,
            ACCEPT_ENCODING,
        ] {
            headers.remove(name);
        }
        Navigation::page(script_tag(&self.state()), method == Method::HEAD)
    }

    /// A page for while no version has been built yet: it says so, shows why, and reloads by
    /// itself. 503, so that no program takes it for the app's answer.
    #[must_use]
    pub fn placeholder(&self) -> Response<DevBody> {
        let state = self.state();
        let (title, text) = match &state {
            DevState::Failed { text, .. } => ("The build failed", shown(text)),
            DevState::Building | DevState::Ok { .. } => ("Building\u{2026}", String::new()),
        };
        let page = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n<body \
             style=\"font: 16px system-ui, sans-serif; margin: 3rem; color-scheme: light dark\">\n<h1 \
             style=\"font-size: 1.3rem\">{title}</h1>\n<pre style=\"white-space: pre-wrap\">{}</pre>\n{}\n\
             </body></html>\n",
            inject::escape(&text),
            // Without a version, whichever is served first is new.
            script_tag(&DevState::Building),
        );
        let body = DevBody::full(page);
        let mut response = respond_with(
            StatusCode::SERVICE_UNAVAILABLE,
            "text/html; charset=utf-8",
            body,
        );
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }
}

impl Default for DevOverlay {
    fn default() -> Self {
        Self::new()
    }
}

/// The tag that loads the script, with the version that the page is of.
fn script_tag(state: &DevState) -> String {
    match state {
        DevState::Ok { version } => {
            format!(
                "<script src=\"{SCRIPT_PATH}\" data-version=\"{}\"></script>",
                inject::escape(version)
            )
        }
        DevState::Building | DevState::Failed { .. } => {
            format!("<script src=\"{SCRIPT_PATH}\"></script>")
        }
    }
}

/// Says whether a browser asks for a page to show, rather than a script for some HTML.
fn asks_for_page(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-dest").map(HeaderValue::as_bytes) {
        Some(destination) => matches!(destination, b"document" | b"iframe" | b"frame"),
        None => headers.get_all(ACCEPT).iter().any(|accept| {
            accept
                .to_str()
                .is_ok_and(|accept| accept.to_ascii_lowercase().contains("text/html"))
        }),
    }
}

fn plain(status: StatusCode, line: &'static str) -> Response<DevBody> {
    respond_with(status, "text/plain; charset=utf-8", DevBody::full(line))
}

fn respond_with(
    status: StatusCode,
    content_type: &'static str,
    body: DevBody,
) -> Response<DevBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::BodyExt;

    use super::*;

    async fn text(response: Response<DevBody>) -> String {
        String::from_utf8(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn its_own_paths_and_no_others_are_answered() {
        let overlay = DevOverlay::new();
        let script = overlay.respond(&Method::GET, "/.wharf/dev.js").unwrap();
        assert_eq!(
            script.headers()[CONTENT_TYPE],
            "text/javascript; charset=utf-8"
        );
        assert_eq!(script.headers()[CACHE_CONTROL], "no-store");
        assert!(text(script).await.contains("EventSource"));
        for (method, path, status) in [
            (Method::HEAD, "/.wharf/dev", Some(200)),
            (Method::HEAD, "/.wharf/dev.js", Some(200)),
            (Method::POST, "/.wharf/dev", Some(405)),
            (Method::GET, "/.wharf/dev/", None),
            (Method::GET, "/.wharf/other", None),
            (Method::GET, "/", None),
        ] {
            let response = overlay.respond(&method, path);
            assert_eq!(
                response.as_ref().map(|response| response.status().as_u16()),
                status,
                "{path}"
            );
            if method == Method::HEAD {
                assert_eq!(text(response.unwrap()).await, "");
            }
        }
    }

    #[test]
    fn listeners_are_bounded_and_leave() {
        let overlay = DevOverlay::new();
        let open = || overlay.respond(&Method::GET, "/.wharf/dev").unwrap();
        let mut streams: Vec<_> = (0..LISTENERS_MAX).map(|_| open()).collect();
        assert_eq!(open().status(), 503);
        streams.pop();
        assert_eq!(open().status(), 200);
    }

    #[test]
    fn pages_are_told_from_other_requests() {
        let overlay = DevOverlay::new();
        for (method, fields, expected) in [
            (
                Method::GET,
                vec![("sec-fetch-dest", "document"), ("accept", "*/*")],
                true,
            ),
            (Method::GET, vec![("sec-fetch-dest", "iframe")], true),
            (
                Method::GET,
                vec![("sec-fetch-dest", "empty"), ("accept", "text/html")],
                false,
            ),
            (Method::GET, vec![("accept", "text/html,*/*;q=0.8")], true),
            (Method::GET, vec![("accept", "*/*")], false),
            (Method::GET, vec![], false),
            (Method::POST, vec![("accept", "text/html")], false),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            for name in [
                IF_NONE_MATCH,
                IF_MODIFIED_SINCE,
                RANGE,
                IF_RANGE,
                ACCEPT_ENCODING,
            ] {
                headers.insert(name, HeaderValue::from_static("x"));
            }
            let _ = overlay.navigation(&method, &mut headers);
            let expected_len = if expected {
                fields.len()
            } else {
                fields.len() + 5
            };
            assert_eq!(headers.len(), expected_len, "{method} {fields:?}");
        }
    }

    #[tokio::test]
    async fn the_placeholder_shows_the_failure_as_text() {
        let overlay = DevOverlay::new();
        assert!(
            text(overlay.placeholder())
                .await
                .contains("<h1 style=\"font-size: 1.3rem\">Building\u{2026}</h1>")
        );
        overlay.set(DevState::Failed {
            text: "expected `<T>` & \x1b[1mmore".into(),
            is_served: false,
        });
        let response = overlay.placeholder();
        assert_eq!(response.status(), 503);
        let page = text(response).await;
        assert!(page.contains("expected `&lt;T&gt;` &amp; more"), "{page}");
        assert!(page.contains("<script src=\"/.wharf/dev.js\"></script>"));
    }
}
