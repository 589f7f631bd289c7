//! One HTTP handler with a route for everything that a host must cope with:
//! streams, trailers, outgoing requests, work after the answer, and all ways
//! to fail. The table of routes is in `guests/README.md`.

#![forbid(unsafe_code)]

mod faults;
mod query;
mod streams;
#[cfg(feature = "std")]
mod system;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use query::Query;
use wharf_sdk::http::{self, StatusCode, header};
use wharf_sdk::{Body, Error, IntoResponse, Request, Response, Result, log, random, time};

#[wharf_sdk::http]
async fn handle(request: Request) -> Result<Response> {
    let query = Query::of(request.uri());
    match request.uri().path() {
        "/" | "/hello" => Ok("hello\n".into_response()),
        "/echo" => echo(request),
        "/headers" => headers(&request),
        "/method" => Ok(request.method().to_string().into_response()),
        "/url" => Ok(request.uri().to_string().into_response()),
        "/status" => status(&query),
        "/error" => Err(Error::new("an error that only the log shows")),
        "/refuse" => Err(Error::with_status(StatusCode::IM_A_TEAPOT, "no coffee")),

        "/trailers" => streams::trailers(request).await,
        "/stream" => streams::stream(&query),
        "/sse" => streams::events(&query),
        "/big" => streams::big(&query),
        "/sink" => streams::sink(request).await,
        "/unfinished" => streams::unfinished(),
        "/broken" => streams::broken(),
        "/proxy" => proxy(request, &query).await,
        "/follow" => follow(&query).await,

        "/counter" => Ok(counter().to_string().into_response()),
        "/random" => Ok(random::u64().to_string().into_response()),
        "/now" => Ok(now().into_response()),
        "/sleep" => sleep(&query).await,
        "/after" => after(&query),
        "/log" => Ok(write_log()),

        #[cfg(feature = "std")]
        "/env" => system::environment(),
        #[cfg(feature = "std")]
        "/fs" => system::file(&query),
        #[cfg(feature = "std")]
        "/copy" => system::copy(&query),
        #[cfg(feature = "std")]
        "/exit" => system::exit(&query),

        "/panic" => faults::panic(),
        "/trap" => faults::trap(),
        "/loop" => faults::busy(None),
        "/spin" => faults::busy(Some(query.number("ms", 100))),
        "/oom" => faults::exhaust_memory(),
        "/recurse" => faults::exhaust_stack(),
        "/never" => faults::never().await,
        "/leak" => faults::exhaust_handles().await,

        path => Err(Error::with_status(
            StatusCode::NOT_FOUND,
            format!("no such route: {path}\n"),
        )),
    }
}

/// Sends the body back while it arrives, with its type.
fn echo(request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let mut response = Response::new(body);
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, kind.clone());
    }
    Ok(response)
}

/// The request's headers as JSON: an object of arrays of strings.
fn headers(request: &Request) -> Result<Response> {
    let mut json = String::from("{");
    for name in request.headers().keys() {
        if json.len() > 1 {
            json.push(',');
        }
        push_json(&mut json, name.as_str());
        json.push_str(":[");
        for (number, value) in request.headers().get_all(name).iter().enumerate() {
            if number > 0 {
                json.push(',');
            }
            push_json(&mut json, &String::from_utf8_lossy(value.as_bytes()));
        }
        json.push(']');
    }
    json.push('}');
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

fn push_json(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                json.push('\\');
                json.push(character);
            }
            '\0'..='\x1f' => json.push_str(&format!("\\u{:04x}", character as u32)),
            _ => json.push(character),
        }
    }
    json.push('"');
}

/// `?code=` as the status, with no body.
fn status(query: &Query) -> Result<Response> {
    let code = u16::try_from(query.number("code", 200)).unwrap_or(0);
    let code = StatusCode::from_u16(code)
        .map_err(|_| Error::with_status(StatusCode::BAD_REQUEST, "no such status\n"))?;
    Ok(code.into_response())
}

/// Fetches `?url=` with the method and body of the request, and gives what
/// comes: status, headers and body, streamed.
async fn proxy(request: Request, query: &Query) -> Result<Response> {
    let url = query
        .text("url")
        .ok_or_else(|| Error::with_status(StatusCode::BAD_REQUEST, "?url= is missing\n"))?;
    let outgoing = http::Request::builder()
        .method(request.method())
        .uri(url)
        .body(request.into_body())?;
    match wharf_sdk::send(outgoing).await {
        Ok(response) => Ok(response),
        Err(error) => Err(Error::with_status(
            StatusCode::BAD_GATEWAY,
            format!("{error}\n"),
        )),
    }
}

/// Asks `?url=` and follows where it redirects to, five times at most.
async fn follow(query: &Query) -> Result<Response> {
    let mut url = query.text("url").unwrap_or_default().to_owned();
    for _ in 0..5 {
        let outgoing = http::Request::builder().uri(&url).body(Body::empty())?;
        let response = match wharf_sdk::send(outgoing).await {
            Ok(response) => response,
            Err(error) => {
                return Err(Error::with_status(
                    StatusCode::BAD_GATEWAY,
                    format!("{url}: {error}\n"),
                ));
            }
        };
        let location = response.headers().get(header::LOCATION);
        match location.and_then(|location| location.to_str().ok()) {
            Some(location) if response.status().is_redirection() => url = location.to_owned(),
            _ => return Ok(response),
        }
    }
    Err(Error::with_status(
        StatusCode::BAD_GATEWAY,
        "too many redirects\n",
    ))
}

/// Counts the requests of this instance: shows whether it is used again.
fn counter() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}

fn now() -> String {
    time::SystemTime::now()
        .since_epoch()
        .as_millis()
        .to_string()
}

/// Answers after `?ms=`, with the time that passed.
async fn sleep(query: &Query) -> Result<Response> {
    let start = time::Instant::now();
    time::sleep(Duration::from_millis(query.number("ms", 100))).await;
    Ok(start.elapsed().as_millis().to_string().into_response())
}

/// Answers at once, then works for `?ms=` and logs that it did.
fn after(query: &Query) -> Result<Response> {
    let duration = Duration::from_millis(query.number("ms", 100));
    wharf_sdk::spawn(async move {
        time::sleep(duration).await;
        log::info!("worked after the response");
    });
    Ok("working\n".into_response())
}

/// A line to standard error by the SDK; and where std can write, a line to
/// each of its outputs.
fn write_log() -> Response {
    log::warn!("a line by the SDK, number {}", 1);
    #[cfg(feature = "std")]
    system::print();
    "logged\n".into_response()
}
