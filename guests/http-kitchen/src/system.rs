//! What needs std's WASI imports.

use wharf_sdk::{IntoResponse, Response, Result};

use crate::query::Query;

/// The environment, `NAME=value` a line, sorted.
pub(crate) fn environment() -> Result<Response> {
    let mut lines: Vec<String> = std::env::vars()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    lines.sort();
    Ok(lines.concat().into_response())
}

/// The file at `?path=`; an error's text where it cannot be read.
pub(crate) fn file(query: &Query) -> Result<Response> {
    let path = query.text("path").unwrap_or("/data/hello.txt");
    Ok(match std::fs::read(path) {
        Ok(bytes) => bytes.into_response(),
        Err(error) => format!("error: {error}\n").into_response(),
    })
}

/// Copies the file at `?path=` to `?to=`, each in one go.
pub(crate) fn copy(query: &Query) -> Result<Response> {
    let path = query.text("path").unwrap_or("/data/hello.txt");
    let to = query.text("to").unwrap_or("/data/copy");
    let copied = std::fs::read(path).and_then(|bytes| std::fs::write(to, bytes));
    Ok(match copied {
        Ok(()) => "copied\n".into_response(),
        Err(error) => format!("error: {error}\n").into_response(),
    })
}

/// Ends the program with `?code=`.
pub(crate) fn exit(query: &Query) -> Result<Response> {
    std::process::exit(query.number("code", 1) as i32)
}

/// A line to each output.
pub(crate) fn print() {
    println!("a line to standard output");
    eprintln!("a line to standard error");
}
