//! Answers HTTP requests.

use std::time::Duration;

use wharf_sdk::http::{Method, StatusCode};
use wharf_sdk::{Body, IntoResponse, Request, Response, Result};

#[wharf_sdk::http]
async fn handle(request: Request) -> Result<Response> {
    let path = request.uri().path().to_string();
    match (request.method(), path.as_str()) {
        (&(Method::GET | Method::HEAD), "/") => {
            Ok("Hello! Try /hello/you and /count\n".into_response())
        }
        (&(Method::GET | Method::HEAD), "/count") => Ok(Response::new(count())),
        (&(Method::GET | Method::HEAD), _) if path.starts_with("/hello/") => {
            Ok(greeting(&path["/hello/".len()..]).into_response())
        }
        _ => Ok((StatusCode::NOT_FOUND, "not found\n").into_response()),
    }
}

fn greeting(name: &str) -> String {
    let name = if name.is_empty() { "World" } else { name };
    format!("Hello, {name}!\n")
}

/// A body that is sent while it is made: see it with `curl -N`.
fn count() -> Body {
    let (mut sender, body) = Body::channel();
    wharf_sdk::spawn(async move {
        for number in 1..=5 {
            if sender.send(format!("{number}\n")).await.is_err() {
                return; // the client left
            }
            wharf_sdk::time::sleep(Duration::from_millis(500)).await;
        }
    });
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greets_by_name() {
        assert_eq!(greeting("Ada"), "Hello, Ada!\n");
    }

    #[test]
    fn greets_the_world_without_a_name() {
        assert_eq!(greeting(""), "Hello, World!\n");
    }
}
