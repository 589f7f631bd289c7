//! The answer that shows its progress.
//!
//! The body is lines of JSON, each an object with one member, and ends in one of two ways:
//!
//! ```text
//! {"progress":{"stage":"decode","fraction":0.25}}      as often as there is something new
//! {"problem":{"type":…,"title":…,"detail":…}}          the end: what went wrong
//! {"picture":{"length":3518437,"type":"image/png",…}}  the end: so many bytes of picture follow
//! ```

use std::ops::ControlFlow;
use std::time::Duration;

use darkroom_filters::{Stage, apply_async};
use serde_json::{Value, json};
use wharf_sdk::http::HeaderValue;
use wharf_sdk::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use wharf_sdk::time::{Instant, sleep};
use wharf_sdk::{Body, Response};

use crate::problem::Problem;
use crate::query::Query;
use crate::timing::Timing;

/// What a client accepts to get the stream.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.darkroom.progress";

/// Within a stage, no two reports are closer: nobody sees more.
const REPORT_INTERVAL: Duration = Duration::from_millis(30);

/// Starts the work and answers at once.
pub(crate) fn respond(input: Vec<u8>, query: Query, timing: Timing) -> Response {
    let (sender, body) = Body::channel();
    wharf_sdk::spawn(work(input, query, timing, Lines(sender)));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn work(input: Vec<u8>, query: Query, mut timing: Timing, mut lines: Lines) {
    let mut last = Instant::now();
    let mut progress = async |stage: Stage, fraction: f32| {
        let news = timing.reached(stage);
        if !news && last.elapsed() < REPORT_INTERVAL {
            return ControlFlow::Continue(());
        }
        let line = json!({ "progress": { "stage": stage.name(), "fraction": fraction } });
        let sent = lines.send(line).await;
        // The line leaves while nothing is computed.
        sleep(Duration::from_micros(1)).await;
        last = Instant::now();
        sent
    };
    let result = apply_async(&input, &query.operation, &query.options, &mut progress).await;
    timing.finished();
    drop(input);
    // From here on nothing is left to stop if the client is gone.
    let _ = match result {
        Err(error) => {
            lines
                .send(json!({ "problem": Problem::from(error).to_json() }))
                .await
        }
        Ok(output) => {
            let head = json!({ "picture": {
                "length": output.bytes.len(),
                "type": output.format.media_type(),
                "width": output.width,
                "height": output.height,
                "timing": timing.to_json(),
            } });
            match lines.send(head).await {
                ControlFlow::Continue(()) => lines.send_bytes(output.bytes).await,
                gone => gone,
            }
        }
    };
}

/// The writing end, which knows when its reader is gone.
struct Lines(wharf_sdk::Sender);

impl Lines {
    async fn send(&mut self, line: Value) -> ControlFlow<()> {
        self.send_bytes(format!("{line}\n").into_bytes()).await
    }

    async fn send_bytes(&mut self, bytes: Vec<u8>) -> ControlFlow<()> {
        match self.0.send(bytes).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
