//! Rust crates: cargo builds a core module, and this crate makes it a
//! component.
//!
//! The linker's own step from core module to component is skipped, so that one
//! path serves both targets and wasm-opt sees the core module first:
//!
//! ```text
//! cargo rustc ─ core module ─▶ pure check ─▶ wasm-opt ─▶ strip ─▶ encode ─▶ component
//!      └─ crates that were compiled ─▶ list of dependencies ─────────────────┘
//! ```

mod compile;
mod dependencies;
mod inputs;
mod profile;
mod pure;
mod select;
mod toolchain;

use std::path::Path;

use wharf_manifest as manifest;

use crate::error::BuildError;
use crate::fingerprint::Inputs;
use crate::lock::BuildLock;
use crate::session::Session;
use crate::wasm::{self, Binary};

pub(crate) use dependencies::embed;
pub(crate) use select::Prefer;

/// The target whose std is on top of WASI 0.2.
const TARGET_WASI: &str = "wasm32-wasip2";

/// The target whose std imports nothing.
const TARGET_PURE: &str = "wasm32-unknown-unknown";

/// The largest unoptimised module that is checked for being pure: 1 GiB.
const CHECKED_BYTES_MAX: u64 = 1 << 30;

/// What cargo made of a crate, before optimising.
pub(crate) struct Compiled {
    /// The core module as linked, names and features still inside.
    pub(crate) module: Vec<u8>,
    /// Whether the crate's own profile asks for names or debug information.
    pub(crate) keep_names: bool,
    /// The list of dependencies, to be embedded.
    pub(crate) dependencies: Vec<u8>,
    /// Everything whose change asks for another build.
    pub(crate) inputs: Inputs,
}

/// Compiles the crate in `folder` to a core module.
pub(crate) fn compile(
    session: &Session<'_>,
    component: &str,
    folder: &Path,
    options: &manifest::BuildOptions,
    prefer: Prefer,
) -> Result<Compiled, BuildError> {
    let toolchain = toolchain::Toolchain::find(component, folder)?;
    let target = if options.pure {
        TARGET_PURE
    } else {
        TARGET_WASI
    };
    toolchain.ensure_target(session, folder, target)?;
    let choice = select::select(&toolchain, component, folder, prefer, options.pure)?;
    let profile = profile::Defaults::for_workspace(&choice.workspace_root);
    let patch = choice
        .needs_sdk
        .then(|| crate::sdk::unpack(&session.options.cache_dir))
        .transpose()?;
    let link = (patch.as_deref()).map(|sdk| crate::sdk::link(sdk, session.state));
    let job = compile::Job {
        component,
        folder,
        target,
        choice: &choice,
        features: &options.features,
        purpose: compile::Purpose::Release,
        profile: &profile,
        sdk: patch.as_deref(),
    };
    let lock = lock_target(session, &choice.target_directory)?;
    // First, so that what stays there is the release build.
    if options.pure {
        check_pure(session, &toolchain, &job)?;
    }
    let built = compile::cargo_rustc(session, &toolchain, &job)?;
    let module = crate::error::read_limited(&built.module, wharf_artifact::WASM_BYTES_MAX)?;
    drop(lock);
    let versions = choice.workspace_root.join("Cargo.lock");
    let dependencies = dependencies::list(
        &built.packages,
        &choice.package_id,
        &std::fs::read_to_string(versions).unwrap_or_default(),
        &choice.development_only,
    );
    let mut inputs = inputs::of_crate(folder, &choice, &toolchain, &built.module)?;
    inputs.generated.extend(link);
    Ok(Compiled {
        module,
        keep_names: profile.keep_names,
        dependencies,
        inputs,
    })
}

/// Keeps other builds of ours out of cargo's target folder, which those of other apps may share:
/// cargo leaves what it links for both purposes at one place, and lets go of it before it is read.
fn lock_target(session: &Session<'_>, target: &Path) -> Result<BuildLock, BuildError> {
    std::fs::create_dir_all(target).map_err(BuildError::io("make", target))?;
    let lock = target.join(".wharf-build.lock");
    BuildLock::acquire(&lock, &session.options.cancel, session.progress)
}

/// Builds the crate without optimising, and looks for calls that a pure component
/// cannot make.
fn check_pure(
    session: &Session<'_>,
    toolchain: &toolchain::Toolchain,
    job: &compile::Job<'_>,
) -> Result<(), BuildError> {
    let job = compile::Job {
        purpose: compile::Purpose::Check,
        ..*job
    };
    let built = compile::cargo_rustc(session, toolchain, &job)?;
    // Larger than the release build by its debug information.
    let module = crate::error::read_limited(&built.module, CHECKED_BYTES_MAX)?;
    let used = pure::uses(&module, job.choice.package_folder());
    if used.is_empty() {
        return Ok(());
    }
    Err(BuildError::NotPure {
        component: job.component.to_string(),
        used,
    })
}

/// Turns an optimised core module into the component that is packed.
pub(crate) fn finish(
    component: &str,
    module: &[u8],
    keep_names: bool,
) -> Result<Vec<u8>, BuildError> {
    let encode_error = |reason: String| BuildError::Encode {
        component: component.to_string(),
        reason,
    };
    let module = wasm::strip_module(module, keep_names);
    match wasm::outline(&module) {
        Ok(Binary::Module(outline)) => {
            let component = crate::encode::encode(&module, &outline).map_err(encode_error)?;
            Ok(match keep_names {
                true => component,
                false => wasm::strip_component(&component),
            })
        }
        // A crate may run the linker's own step by a flag of its own.
        Ok(Binary::Component { .. }) => Ok(module),
        Err(error) => Err(encode_error(error.to_string())),
    }
}
