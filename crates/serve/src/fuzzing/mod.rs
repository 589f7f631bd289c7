//! Fuzz targets for what clients, guests and operators write.
//!
//! A target lies beside its parser, in a module `fuzz`; those of parsers that have no folder of
//! their own lie here. As a unit test each runs for a second; the feature `fuzzing` shows them to
//! the workspace in `fuzz/`, which runs them for longer.

mod certificates;
mod request;

use wharf_fuzzkit::Target;

use crate::{files, http1, log, watch};

/// All of them.
pub const TARGETS: &[Target] = &[
    Target::new("http1", http1::fuzz::messages, http1::fuzz::seeds),
    Target::new("http1-gate", http1::fuzz::gate, http1::fuzz::seeds),
    Target::new("authority", request::authority, request::authority_seeds),
    Target::new("request", request::prepare, request::prepare_seeds),
    Target::new("proxies", request::proxies, request::proxies_seeds),
    Target::new(
        "traceparent",
        request::traceparent,
        request::traceparent_seeds,
    ),
    Target::new("request-id", request::id, request::id_seeds),
    Target::new("file-path", files::fuzz::path, files::fuzz::path_seeds),
    Target::new("range", files::fuzz::range, files::fuzz::range_seeds),
    Target::new(
        "conditional",
        files::fuzz::conditional,
        files::fuzz::conditional_seeds,
    ),
    Target::new(
        "file-fields",
        files::fuzz::fields,
        files::fuzz::fields_seeds,
    ),
    Target::new("log-lines", log::fuzz::lines, log::fuzz::seeds),
    Target::new("log-format", log::fuzz::format, log::fuzz::seeds),
    Target::new("build-output", watch::fuzz::ansi, watch::fuzz::ansi_seeds),
    Target::new("page", watch::fuzz::inject, watch::fuzz::inject_seeds),
    Target::new("ignored", watch::fuzz::ignored, watch::fuzz::ignored_seeds),
    Target::new("certificate", certificates::run, certificates::seeds),
];

#[cfg(test)]
mod tests {
    #[test]
    fn no_input_breaks_a_parser() {
        wharf_fuzzkit::smoke(super::TARGETS, 1);
    }
}
