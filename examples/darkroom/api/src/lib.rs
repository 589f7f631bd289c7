//! Darkroom over HTTP: the filters behind two routes.
//!
//! - `POST /api/filter?op=…` takes a picture as its body and answers with a picture, or, asked for
//!   by `Accept`, with a stream of progress that ends in the picture (module `stream`).
//! - `GET /api/operations` lists what `op` can be.
//!
//! Errors are problem details (RFC 9457).

mod catalogue;
mod problem;
mod query;
mod stream;
mod timing;

use std::ops::ControlFlow;

use darkroom_filters::{Output, apply_async};
use wharf_sdk::http::header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use wharf_sdk::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use wharf_sdk::{Body, Request, Response, Result};

use problem::Problem;
use query::Query;
use timing::Timing;

/// The largest file that is taken: a PNG of 24 megapixels has some 70 MB.
const INPUT_BYTES_MAX: usize = 160 << 20;

#[wharf_sdk::http]
async fn handle(request: Request) -> Result<Response> {
    let answer = match request.uri().path() {
        "/api/filter" => match *request.method() {
            Method::POST => filter(request).await?,
            _ => Err(Problem::method("POST")),
        },
        "/api/operations" => match *request.method() {
            Method::GET | Method::HEAD => Ok(json(StatusCode::OK, catalogue::operations())),
            _ => Err(Problem::method("GET, HEAD")),
        },
        _ => Err(Problem::not_found()),
    };
    Ok(answer.unwrap_or_else(refuse))
}

async fn filter(request: Request) -> Result<Result<Response, Problem>> {
    let query = match Query::parse(request.uri().query().unwrap_or_default()) {
        Ok(query) => query,
        Err(problem) => return Ok(Err(problem)),
    };
    let streamed = wants_progress(request.headers());
    let mut timing = Timing::start();
    let input = match receive(request).await? {
        Ok(input) => input,
        Err(problem) => return Ok(Err(problem)),
    };
    timing.received();
    Ok(match streamed {
        true => Ok(stream::respond(input, query, timing)),
        false => respond(&input, &query, timing).await,
    })
}

/// Whether the client asked for the stream of progress by its media type.
fn wants_progress(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let media_type = range.split(';').next().unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case(stream::MEDIA_TYPE)
    })
}

/// Reads the whole body into memory that is allocated once where its length is told.
async fn receive(request: Request) -> Result<Result<Vec<u8>, Problem>> {
    let told = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    let told = told.and_then(|text| text.parse().ok()).unwrap_or(0);
    if told > INPUT_BYTES_MAX {
        return Ok(Err(Problem::too_long(INPUT_BYTES_MAX)));
    }
    let mut input = Vec::with_capacity(told);
    let mut body = request.into_body();
    while let Some(chunk) = body.chunk().await? {
        if input.len() + chunk.len() > INPUT_BYTES_MAX {
            return Ok(Err(Problem::too_long(INPUT_BYTES_MAX)));
        }
        input.extend_from_slice(&chunk);
    }
    Ok(Ok(input))
}

/// Answers with the picture itself, and what is known of it in headers.
async fn respond(input: &[u8], query: &Query, mut timing: Timing) -> Result<Response, Problem> {
    let mut progress = async |stage, _| {
        timing.reached(stage);
        ControlFlow::Continue(())
    };
    let output = apply_async(input, &query.operation, &query.options, &mut progress).await?;
    timing.finished();
    Ok(picture(output, &timing))
}

fn picture(output: Output, timing: &Timing) -> Response {
    let media_type = HeaderValue::from_static(output.format.media_type());
    let mut response = Response::new(Body::from(output.bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(
        HeaderName::from_static("x-darkroom-width"),
        output.width.into(),
    );
    headers.insert(
        HeaderName::from_static("x-darkroom-height"),
        output.height.into(),
    );
    if let Ok(value) = HeaderValue::from_str(&timing.header()) {
        headers.insert(HeaderName::from_static("server-timing"), value);
    }
    response
}

fn json(status: StatusCode, value: serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

fn refuse(problem: Problem) -> Response {
    let mut response = json(problem.status, problem.to_json());
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    if let Some(allow) = problem.allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    response
}
