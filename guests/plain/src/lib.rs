//! Answers the same few bytes: the guest that servers are measured with.

#![forbid(unsafe_code)]

use wharf_sdk::{Response, Result};

#[wharf_sdk::http]
async fn handle() -> Result<Response> {
    Ok(Response::new("Hello, world!\n".into()))
}
