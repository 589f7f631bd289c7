//! Streams a few chunks: the guest whose size is stated.

#![forbid(unsafe_code)]

use wharf_sdk::{Body, Response, Result};

#[wharf_sdk::http]
async fn handle() -> Result<Response> {
    let (mut sender, body) = Body::channel();
    wharf_sdk::spawn(async move {
        for part in ["Hello, ", "streaming ", "world!\n"] {
            if sender.send(part).await.is_err() {
                return;
            }
        }
    });
    Ok(Response::new(body))
}
