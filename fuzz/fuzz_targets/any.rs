//! The target that `WHARF_FUZZ_TARGET` names, under libFuzzer.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use wharf_fuzz::targets;
use wharf_fuzzkit::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("WHARF_FUZZ_TARGET").unwrap_or_default();
    targets()
        .into_iter()
        .find(|target| target.name == name)
        .unwrap_or_else(|| panic!("no target `{name}`: see fuzz/README.md"))
});

fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
