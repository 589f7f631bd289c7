//! Answers that no client can use.

use std::time::Duration;

use wharf_sdk::http::{HeaderName, HeaderValue};
use wharf_sdk::{Body, Bytes, IntoResponse, Request, Response, Result, Sender, time};

fn fed<F: Future<Output = ()> + 'static>(feed: impl FnOnce(Sender) -> F) -> Response {
    let (sender, body) = Body::channel();
    wharf_sdk::spawn(feed(sender));
    Response::new(body)
}

/// Two MiB of headers.
pub(crate) fn headers() -> Result<Response> {
    let mut response = "too much\n".into_response();
    let value = "x".repeat(4 << 10);
    for number in 0..500 {
        response.headers_mut().append(
            HeaderName::try_from(format!("x-{number}"))?,
            HeaderValue::try_from(&value)?,
        );
    }
    Ok(response)
}

/// A body of chunks of that size that never ends.
pub(crate) fn endless(chunk_bytes: usize) -> Result<Response> {
    let chunk = Bytes::from(vec![b'x'; chunk_bytes]);
    Ok(fed(|mut sender| async move {
        while sender.send(chunk.clone()).await.is_ok() {}
    }))
}

/// A body without end, of a byte each so many milliseconds.
pub(crate) fn ticking(milliseconds: u64) -> Result<Response> {
    Ok(fed(async move |mut sender| {
        while sender.send("x").await.is_ok() {
            time::sleep(Duration::from_millis(milliseconds)).await;
        }
    }))
}

/// A head and a first chunk, then nothing.
pub(crate) fn unfinished() -> Result<Response> {
    Ok(fed(|mut sender| async move {
        if sender.send("the beginning\n").await.is_ok() {
            pause().await;
        }
    }))
}

/// Holds the request and never reads its body.
pub(crate) async fn never_reads(request: Request) -> Result<Response> {
    pause().await;
    drop(request);
    never().await
}

pub(crate) async fn never() -> Result<Response> {
    loop {
        pause().await;
    }
}

async fn pause() {
    time::sleep(Duration::from_secs(3600)).await;
}
