//! The fuzz targets of wharf.
//!
//! Those of the manifest and artifact crates stand here. Those of crates that bring the Wasm engine
//! lie in the crates themselves, with the parsers that they test, and are run there as unit tests;
//! the feature `engine` adds them here. `fuzz_targets/any.rs` runs all of them under libFuzzer; the
//! test `smoke` runs each for some seconds on any compiler.

mod artifact;
mod manifest;

use wharf_fuzzkit::Target;

/// All of them.
#[must_use]
pub fn targets() -> Vec<Target> {
    #[cfg_attr(not(feature = "engine"), expect(unused_mut))]
    let mut targets = TARGETS.to_vec();
    #[cfg(feature = "engine")]
    {
        targets.extend_from_slice(wharf_host::fuzzing::TARGETS);
        targets.extend_from_slice(wharf_serve::fuzzing::TARGETS);
    }
    targets
}

const TARGETS: &[Target] = &[
    Target::new("manifest", manifest::app, manifest::app_seeds),
    Target::new("node", manifest::node, manifest::node_seeds),
    Target::new(
        "canonical-json",
        manifest::canonical,
        manifest::canonical_seeds,
    ),
    Target::new("route", manifest::route, manifest::route_seeds),
    Target::new("grant", manifest::grant, manifest::grant_seeds),
    Target::new("address-range", manifest::range, manifest::range_seeds),
    Target::new("host-name", manifest::host, manifest::host_seeds),
    Target::new(
        "private-address",
        manifest::private,
        manifest::private_seeds,
    ),
    Target::new("quantity", manifest::quantity, manifest::quantity_seeds),
    Target::new("name", manifest::name, manifest::name_seeds),
    Target::new("describe", artifact::describe, artifact::wasm_seeds),
    Target::new(
        "dependencies",
        artifact::dependencies,
        artifact::dependency_seeds,
    ),
    Target::new("store-index", artifact::index, artifact::index_seeds),
    Target::new("app-artifact", artifact::load, artifact::load_seeds),
];
