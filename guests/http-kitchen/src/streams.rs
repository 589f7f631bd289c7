//! Bodies in all shapes.

use std::future::Future;
use std::time::Duration;

use wharf_sdk::http::{HeaderMap, HeaderName, HeaderValue, header};
use wharf_sdk::{Body, Bytes, Error, IntoResponse, Request, Response, Result, Sender, time};

use crate::query::Query;

const CHUNK_BYTES: usize = 64 << 10;

/// A response whose body a future feeds.
fn fed<F: Future<Output = ()> + 'static>(feed: impl FnOnce(Sender) -> F) -> Response {
    let (sender, body) = Body::channel();
    wharf_sdk::spawn(feed(sender));
    Response::new(body)
}

/// The request's trailers come back as trailers, with `x-length` and
/// `x-done: yes` beside them.
pub(crate) async fn trailers(request: Request) -> Result<Response> {
    let mut body = request.into_body();
    let mut length = 0;
    while let Some(chunk) = body.chunk().await? {
        length += chunk.len();
    }
    let mut trailers = body.trailers().await?.unwrap_or_default();
    trailers.insert(
        HeaderName::from_static("x-length"),
        HeaderValue::from(length),
    );
    trailers.insert(
        HeaderName::from_static("x-done"),
        HeaderValue::from_static("yes"),
    );
    let mut response = fed(|mut sender| async move {
        if sender.send("body\n").await.is_ok() {
            // The client left where this fails, which is its right.
            let _ = sender.send_trailers(trailers).await;
        }
    });
    announce(response.headers_mut());
    Ok(response)
}

fn announce(headers: &mut HeaderMap) {
    let names = HeaderValue::from_static("x-length, x-done");
    headers.insert(header::TRAILER, names);
}

/// `?n=` chunks, `?ms=` apart.
pub(crate) fn stream(query: &Query) -> Result<Response> {
    let count = query.number("n", 5);
    let pause = Duration::from_millis(query.number("ms", 0));
    Ok(fed(|mut sender| async move {
        for number in 0..count {
            if number > 0 && !pause.is_zero() {
                time::sleep(pause).await;
            }
            if sender.send(format!("chunk {number}\n")).await.is_err() {
                return;
            }
        }
    }))
}

/// `?n=` server-sent events, `?ms=` apart.
pub(crate) fn events(query: &Query) -> Result<Response> {
    let count = query.number("n", 5);
    let pause = Duration::from_millis(query.number("ms", 100));
    let mut response = fed(|mut sender| async move {
        for number in 0..count {
            let event = format!("id: {number}\ndata: event {number}\n\n");
            if sender.send(event).await.is_err() {
                return;
            }
            time::sleep(pause).await;
        }
    });
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    Ok(response)
}

/// `?mb=` MiB of zeros.
pub(crate) fn big(query: &Query) -> Result<Response> {
    static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];
    let chunks = query.number("mb", 1) * ((1 << 20) / CHUNK_BYTES as u64);
    Ok(fed(move |mut sender| async move {
        for _ in 0..chunks {
            if sender.send(Bytes::from_static(&ZEROS)).await.is_err() {
                return;
            }
        }
    }))
}

/// Reads the body and answers with its length.
pub(crate) async fn sink(request: Request) -> Result<Response> {
    let mut body = request.into_body();
    let mut length = 0_u64;
    while let Some(chunk) = body.chunk().await? {
        length += chunk.len() as u64;
    }
    Ok(length.to_string().into_response())
}

/// A head and a first chunk, then nothing for an hour.
pub(crate) fn unfinished() -> Result<Response> {
    Ok(fed(|mut sender| async move {
        if sender.send("the beginning\n").await.is_ok() {
            time::sleep(Duration::from_secs(3600)).await;
        }
    }))
}

/// A head and a first chunk, then the body breaks off.
pub(crate) fn broken() -> Result<Response> {
    Ok(fed(|mut sender| async move {
        if sender.send("the beginning\n").await.is_ok() {
            sender.abort(Error::new("broken on purpose")).await;
        }
    }))
}
