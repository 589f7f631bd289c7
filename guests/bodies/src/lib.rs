//! Takes and sends large bodies: the guest that streaming is measured with.

#![forbid(unsafe_code)]

use sha2::{Digest, Sha256};
use wharf_sdk::http::StatusCode;
use wharf_sdk::{Body, IntoResponse, Request, Response, Result};

#[wharf_sdk::http]
async fn handle(request: Request) -> Result<Response> {
    match request.uri().path() {
        "/hash" => hash(request.into_body()).await,
        "/echo" => Ok(Response::new(request.into_body())),
        "/events" => Ok(events(10_000)),
        "/" => Ok("here\n".into_response()),
        _ => Ok(StatusCode::NOT_FOUND.into_response()),
    }
}

/// SHA-256 of the body, in hexadecimal digits.
async fn hash(mut body: Body) -> Result<Response> {
    let mut hasher = Sha256::new();
    while let Some(chunk) = body.chunk().await? {
        hasher.update(&chunk);
    }
    let digits: Vec<String> = (hasher.finalize().iter())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(digits.concat().into_response())
}

/// Server-sent events, each sent by itself.
fn events(count: u32) -> Response {
    let (mut sender, body) = Body::channel();
    wharf_sdk::spawn(async move {
        for number in 0..count {
            let event = format!("id: {number}\ndata: event {number}\n\n");
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    Response::new(body)
}
