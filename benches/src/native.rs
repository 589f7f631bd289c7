//! The least that a server can do: hyper, which answers hello by itself.

use std::convert::Infallible;

use anyhow::Result;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lexopt::prelude::*;
use tokio::net::TcpListener;

/// Serves `body` at the address of `--addr`, or one of its own, which it tells, until it is killed.
pub(crate) fn serve(mut arguments: lexopt::Parser, body: &'static str) -> Result<()> {
    let mut addr = "127.0.0.1:0".to_owned();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("addr") => addr = arguments.value()?.string()?,
            other => return Err(other.unexpected().into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(addr).await?;
        eprintln!("listening on http://{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let answer = service_fn(async |_: Request<Incoming>| {
                    let body = Full::new(Bytes::from_static(body.as_bytes()));
                    Ok::<_, Infallible>(Response::new(body))
                });
                // A client that leaves is no error of ours.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    })
}
