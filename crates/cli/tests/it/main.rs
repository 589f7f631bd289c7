//! The command as its users meet it: arguments in; text, files and exit codes out.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod bombs;
mod build;
mod cache;
mod egress;
mod h2_wire;
mod help;
mod http2_cases;
mod http2_streams;
mod inspect;
mod invoke;
mod new;
mod run;
mod serve_node;
mod serve_tls;
mod terminal;
mod up_client;
mod up_departures;
mod up_descriptors;
mod up_faults;
mod up_files;
mod up_floods;
mod up_grants;
mod up_hostile;
mod up_http;
mod up_http1;
mod up_http2;
mod up_kept;
mod up_kitchen;
mod up_limits;
mod up_pace;
mod up_process;
mod up_secrets;
mod up_telemetry;
mod up_watch;
mod up_wire;

use wharf_testkit::Sandbox;

/// A sandbox for the command under test.
fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_wharf"))
}
