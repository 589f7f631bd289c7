//! An HTTP handler with a route for each way to harm a host and its neighbours,
//! and one good answer. The table of routes is in `guests/README.md`.

// It grows its memory by hand, which no other target can.
#![cfg(target_family = "wasm")]

mod answers;
mod canary;
mod compute;
mod files;
mod host;
mod kept;
mod memory;

use wharf_sdk::http::StatusCode;
use wharf_sdk::{Error, IntoResponse, Request, Response, Result};

/// What the good routes answer. `/other` is there for a second component of the
/// same code.
const GOOD: &str = "alive\n";

#[wharf_sdk::http]
async fn handle(request: Request) -> Result<Response> {
    let number = argument(&request);
    match request.uri().path() {
        "/" | "/other" => Ok(GOOD.into_response()),

        "/spin" => compute::spin(),
        "/clock" => compute::read_the_clock(),
        "/work" => compute::work(number),
        "/yield" => compute::wait_for_nothing().await,
        "/recurse" => compute::recurse(),
        "/deep" => compute::wait_deep_down(),
        "/panic" => compute::panic(),
        "/trap" => compute::trap(),
        "/exit" => compute::exit(),

        "/memory" => memory::bomb(),
        "/grow" => memory::grow_by_pages(),
        "/fill" => memory::fill_without_end(),
        "/hoard" => memory::hoard(number).await,

        "/headers" => answers::headers(),
        "/body" => answers::endless(64 << 10),
        "/drip" => answers::endless(1),
        "/tick" => answers::ticking(number),
        "/unfinished" => answers::unfinished(),
        "/noread" => answers::never_reads(request).await,
        "/sleep" => answers::never().await,

        "/stdout" => host::print_lines(),
        "/line" => host::print_one_line(),
        "/handles" => host::open_handles(number).await,
        "/tasks" => host::begin_tasks().await,
        "/timers" => host::wait_for_many_timers().await,
        "/random" => host::draw_random_bytes(),
        "/outgoing" => host::ask_without_end(&request).await,

        "/files" | "/other/files" => files::hold(number),
        #[cfg(feature = "p3")]
        "/files/p3" => files::p3::hold(number),
        #[cfg(feature = "p3")]
        "/files/lists" => files::p3::hold_lists(number),

        "/kept/fields" => kept::fields(),
        "/kept/paths" => kept::paths(),
        "/kept/method" => kept::method(number),
        "/kept/dropped" => kept::dropped(),

        "/canary/put" | "/other/canary/put" => canary::put(number),
        "/canary/find" | "/other/canary/find" => canary::find(number),
        "/canary/fresh" | "/other/canary/fresh" => canary::fresh(),

        path => Err(Error::with_status(
            StatusCode::NOT_FOUND,
            format!("no such route: {path}\n"),
        )),
    }
}

/// The query as a number; 0 where it is none.
fn argument(request: &Request) -> u64 {
    let query = request.uri().query().unwrap_or_default();
    query.parse().unwrap_or(0)
}
