//! An axum router behind the SDK: `GET /`, `GET /add?left=&right=`,
//! `GET /guests/{name}` and `POST /guests` with JSON.

#![forbid(unsafe_code)]

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;
use wharf_sdk::Request;

#[wharf_sdk::http]
async fn handle(request: Request) -> wharf_sdk::Result<axum::response::Response> {
    let router = Router::new()
        .route("/", get(async || "hello from axum\n"))
        .route("/add", get(add))
        .route("/guests/{name}", get(guest))
        .route("/guests", post(register));
    Ok(router.oneshot(request).await?)
}

#[derive(Deserialize)]
struct Sum {
    left: i64,
    right: i64,
}

async fn add(Query(sum): Query<Sum>) -> String {
    (sum.left + sum.right).to_string()
}

#[derive(Deserialize, Serialize)]
struct Guest {
    name: String,
}

async fn guest(Path(name): Path<String>) -> Json<Guest> {
    Json(Guest { name })
}

async fn register(Json(guest): Json<Guest>) -> impl IntoResponse {
    (StatusCode::CREATED, Json(guest))
}
