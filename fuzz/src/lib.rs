//! Fuzz targets for the parsers of wharf, as ordinary functions.
//!
//! A target takes any bytes and panics where a parser does, or where it breaks a promise: what is
//! printed reads back as the same. `fuzz_targets/any.rs` runs them under libFuzzer; the test
//! `smoke` runs each for some seconds on any compiler, from the seeds below.

mod artifact;
mod manifest;

/// A parser under test.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Parses bytes, and panics if it finds a fault.
    pub run: fn(&[u8]),
    /// Good inputs to begin with, and inputs that broke it once.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "manifest",
        run: manifest::app,
        seeds: manifest::app_seeds,
    },
    Target {
        name: "canonical-json",
        run: manifest::canonical,
        seeds: manifest::canonical_seeds,
    },
    Target {
        name: "route",
        run: manifest::route,
        seeds: manifest::route_seeds,
    },
    Target {
        name: "grant",
        run: manifest::grant,
        seeds: manifest::grant_seeds,
    },
    Target {
        name: "quantity",
        run: manifest::quantity,
        seeds: manifest::quantity_seeds,
    },
    Target {
        name: "name",
        run: manifest::name,
        seeds: manifest::name_seeds,
    },
    Target {
        name: "describe",
        run: artifact::describe,
        seeds: artifact::wasm_seeds,
    },
    Target {
        name: "dependencies",
        run: artifact::dependencies,
        seeds: artifact::dependency_seeds,
    },
    Target {
        name: "store-index",
        run: artifact::index,
        seeds: artifact::index_seeds,
    },
    Target {
        name: "app-artifact",
        run: artifact::load,
        seeds: artifact::load_seeds,
    },
];

/// Texts as seeds.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
