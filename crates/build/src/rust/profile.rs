//! What `--release` means for a guest whose crate does not say.
//!
//! Cargo's own release profile is made for native programs: guests are
//! optimised for size, as one unit, with link-time optimisation.

use std::path::Path;

/// Where the linker keeps what wasm-opt needs: `symbols` would strip the list
/// of WebAssembly features with the names, which are stripped later anyway.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("opt-level", "CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("lto", "CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("codegen-units", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("panic", "CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("strip", "CARGO_PROFILE_RELEASE_STRIP", "debuginfo"),
];

/// The same for build scripts and procedural macros. Cargo would derive these
/// from the guest's, and then compile such a tool once for each kind of build.
const TOOL_DEFAULTS: &[(&str, &str, &str)] = &[
    (
        "debug",
        "CARGO_PROFILE_RELEASE_BUILD_OVERRIDE_DEBUG",
        "none",
    ),
    (
        "strip",
        "CARGO_PROFILE_RELEASE_BUILD_OVERRIDE_STRIP",
        "none",
    ),
];

/// The part of the release profile that wharf fills in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Defaults {
    /// Environment variables for cargo.
    pub(crate) environment: Vec<(&'static str, &'static str)>,
    /// The crate, or its builder's environment, decides on `strip` or `debug`:
    /// what the linker leaves is then kept.
    pub(crate) keep_names: bool,
    /// The workspace sets its dependencies apart.
    pub(crate) tunes_packages: bool,
}

impl Defaults {
    /// The defaults that neither the workspace's `[profile.release]` nor the
    /// environment overrides, key by key.
    pub(crate) fn for_workspace(root: &Path) -> Self {
        let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
        Self::given(&manifest, |variable| std::env::var_os(variable).is_some())
    }

    fn given(manifest: &str, in_environment: impl Fn(&str) -> bool) -> Self {
        let manifest: toml::Table = manifest.parse().unwrap_or_default();
        let own = manifest
            .get("profile")
            .and_then(|profiles| profiles.get("release"));
        let is_set = |key: &str, variable: &str| {
            own.is_some_and(|profile| profile.get(key).is_some()) || in_environment(variable)
        };
        let tools = own.and_then(|profile| profile.get("build-override"));
        let is_set_for_tools = |key: &str, variable: &str| {
            tools.is_some_and(|profile| profile.get(key).is_some()) || in_environment(variable)
        };
        let guest = DEFAULTS
            .iter()
            .filter(|(key, variable, _)| !is_set(key, variable));
        let tools = TOOL_DEFAULTS
            .iter()
            .filter(|(key, variable, _)| !is_set_for_tools(key, variable));
        Self {
            environment: (guest.chain(tools))
                .map(|(_, variable, value)| (*variable, *value))
                .collect(),
            keep_names: is_set("strip", "CARGO_PROFILE_RELEASE_STRIP")
                || is_set("debug", "CARGO_PROFILE_RELEASE_DEBUG"),
            tunes_packages: own.is_some_and(|profile| profile.get("package").is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_crate_or_the_environment_says_stays() {
        let check = |manifest: &str, variable: &str, expected: &[&str], keep_names: bool| {
            let defaults = Defaults::given(manifest, |name| name == variable);
            let names: Vec<&str> = (defaults.environment.iter())
                .map(|(name, _)| name.trim_start_matches("CARGO_PROFILE_RELEASE_"))
                .collect();
            assert_eq!(names, expected, "{manifest}");
            assert_eq!(defaults.keep_names, keep_names, "{manifest}");
        };
        let all = [
            "OPT_LEVEL",
            "LTO",
            "CODEGEN_UNITS",
            "PANIC",
            "STRIP",
            "BUILD_OVERRIDE_DEBUG",
            "BUILD_OVERRIDE_STRIP",
        ];
        check("", "", &all, false);
        check("[profile.dev]\nopt-level = 1", "", &all, false);
        check("not toml", "", &all, false);
        check(
            "[profile.release]\nopt-level = 3\nstrip = false\n[profile.release.build-override]\ndebug = 1",
            "CARGO_PROFILE_RELEASE_LTO",
            &["CODEGEN_UNITS", "PANIC", "BUILD_OVERRIDE_STRIP"],
            true,
        );
        check("", "CARGO_PROFILE_RELEASE_DEBUG", &all, true);
    }
}
