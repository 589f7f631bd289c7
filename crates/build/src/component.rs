//! One component: from its source to the bytes that are packed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use wasmparser::Parser;
use wharf_artifact::{DescribeError, Description, WASM_BYTES_MAX, describe};
use wharf_manifest::{Component, ComponentName, Digest, Source};

use crate::error::{BuildError, read_limited};
use crate::fingerprint::{ComponentRecord, Inputs, key_of};
use crate::optimize::{self, Optimized};
use crate::progress::{Step, during};
use crate::report::{ComponentReport, Optimization, gzip_size};
use crate::rust::{self, Compiled, Prefer};
use crate::session::Session;
use crate::source::{self, SourceKind};
use crate::typed::encoded;
use crate::wasm::{self, Binary};

/// The environment that changes what cargo makes, by the start of its names.
const ENVIRONMENT: &[&str] = &[
    "CARGO_BUILD_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_HOME",
    "CARGO_PROFILE_",
    "CARGO_TARGET_",
    "RUSTC",
    "RUSTFLAGS",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    optimize::WASM_OPT_VARIABLE,
];

/// A component, ready to be packed.
pub(crate) struct Built {
    pub(crate) bytes: Vec<u8>,
    pub(crate) record: ComponentRecord,
}

/// What a component is built from and by, apart from the contents of files.
pub(crate) struct Plan<'a> {
    session: &'a Session<'a>,
    pub(crate) name: &'a ComponentName,
    component: &'a Component,
    source: PathBuf,
    prefer: Prefer,
    wasm_opt: Option<PathBuf>,
    pub(crate) key: Digest,
}

impl<'a> Plan<'a> {
    pub(crate) fn new(
        session: &'a Session<'a>,
        name: &'a ComponentName,
        component: &'a Component,
        prefer: Prefer,
    ) -> Self {
        let Source::Path(path) = &component.source;
        let source = path.join_to(&session.options.app_dir);
        let wasm_opt = optimize::find(&source).filter(|_| component.build.optimize);
        let options = serde_json::to_vec(&component.build).expect("plain data becomes JSON");
        let mut parts = vec![
            env!("CARGO_PKG_VERSION").as_bytes().to_vec(),
            crate::sdk::digest().hex().into_bytes(),
            source.as_os_str().as_encoded_bytes().to_vec(),
            options,
            format!("{prefer:?} {wasm_opt:?}").into_bytes(),
        ];
        let mut environment: Vec<_> = std::env::vars_os()
            .filter(|(name, _)| {
                let name = name.to_string_lossy();
                ENVIRONMENT.iter().any(|start| name.starts_with(start))
            })
            .collect();
        environment.sort();
        for (name, value) in environment {
            parts.push(name.into_encoded_bytes());
            parts.push(value.into_encoded_bytes());
        }
        Self {
            session,
            name,
            component,
            source,
            prefer,
            wasm_opt,
            key: key_of(parts.iter().map(Vec::as_slice)),
        }
    }

    /// The copy of the component that is kept for the user.
    fn output(&self) -> PathBuf {
        self.session.state.join(format!("{}.wasm", self.name))
    }

    /// Whether its file is a component as it is, so that nothing is made beside the artifact.
    pub(crate) fn is_ready(&self) -> bool {
        let Ok(SourceKind::Wasm(file)) = source::detect(self.name.as_str(), &self.source) else {
            return false;
        };
        let mut head = [0; 8];
        let read = File::open(file).and_then(|mut file| file.read_exact(&mut head));
        read.is_ok() && Parser::is_component(&head)
    }

    /// Whether `record` still tells what building would make.
    pub(crate) fn is_fresh(&self, record: &ComponentRecord) -> bool {
        record.key == self.key && record.inputs.hold()
    }

    /// Builds the component, or takes what `last` left.
    pub(crate) fn build(&self, last: Option<&ComponentRecord>) -> Result<Built, BuildError> {
        let session = self.session;
        if session.options.cancel.is_fired() {
            return Err(BuildError::Cancelled);
        }
        let last = last.filter(|_| !session.options.force);
        if let Some(last) = last.filter(|last| self.is_fresh(last))
            && let Some(built) = self.take(last)
        {
            return Ok(built);
        }
        let started = SystemTime::now();
        let clock = Instant::now();
        match source::detect(self.name.as_str(), &self.source)? {
            SourceKind::Rust(folder) => {
                let compiled = rust::compile(
                    session,
                    self.name.as_str(),
                    &folder,
                    &self.component.build,
                    self.prefer,
                )?;
                self.finish_rust(compiled, last, started, clock)
            }
            SourceKind::Wasm(file) | SourceKind::Wat(file) => {
                let (bytes, is_source) = read_ready(session, self.name.as_str(), &file)?;
                let inputs = self.watched(Inputs {
                    files: [file].into(),
                    ..Inputs::default()
                });
                let file = (!is_source).then(|| self.output());
                let made = Made {
                    bytes,
                    dependencies_size: 0,
                    optimization: Optimization::Ready,
                    recipe: None,
                    file,
                };
                self.finish(made, &inputs, started, clock)
            }
        }
    }

    /// What an earlier build made, if it is still there.
    fn take(&self, last: &ComponentRecord) -> Option<Built> {
        let path = last.report.file.clone().unwrap_or(self.source.clone());
        let bytes = read_limited(&path, WASM_BYTES_MAX).ok()?;
        let mut record = last.clone();
        record.report.reused = true;
        (Digest::of(&bytes) == record.report.digest).then_some(Built { bytes, record })
    }

    fn finish_rust(
        &self,
        compiled: Compiled,
        last: Option<&ComponentRecord>,
        started: SystemTime,
        clock: Instant,
    ) -> Result<Built, BuildError> {
        let recipe = self.recipe(&compiled);
        let mut inputs = self.watched(compiled.inputs);
        inputs.files.extend(self.wasm_opt.clone());
        let inputs = inputs;
        // A change that left the module as it was needs no optimising again.
        if let Some(last) = last.filter(|last| last.recipe == Some(recipe))
            && let Some(mut built) = self.take(last)
        {
            built.record.inputs = inputs.stamp(started);
            built.record.key = self.key;
            return Ok(built);
        }
        let stripped = wasm::strip_module(&compiled.module, compiled.keep_names).len() as u64;
        let mut module = compiled.module;
        let optimization = match &self.wasm_opt {
            _ if !self.component.build.optimize => Optimization::Off,
            None => Optimization::NotFound,
            Some(tool) => {
                let session = self.session;
                let step = Step::Optimize {
                    component: self.name.to_string(),
                };
                let optimized = during(session.progress, &step, || {
                    let cancel = &session.options.cancel;
                    let (names, state) = (compiled.keep_names, session.state);
                    optimize::optimize(tool, &module, names, state, WASM_BYTES_MAX, cancel)
                })?;
                match optimized {
                    Optimized::Failed(reason) => Optimization::Failed { reason },
                    Optimized::Done(smaller) => {
                        module = smaller;
                        Optimization::Done {
                            before: stripped,
                            after: wasm::strip_module(&module, compiled.keep_names).len() as u64,
                        }
                    }
                }
            }
        };
        let mut bytes = rust::finish(self.name.as_str(), &module, compiled.keep_names)?;
        let dependencies_size = rust::embed(&mut bytes, &compiled.dependencies);
        let made = Made {
            bytes,
            dependencies_size,
            // A tool that failed may do better next time.
            recipe: (!matches!(optimization, Optimization::Failed { .. })).then_some(recipe),
            optimization,
            file: Some(self.output()),
        };
        self.finish(made, &inputs, started, clock)
    }

    fn recipe(&self, compiled: &Compiled) -> Digest {
        let stamp = self.wasm_opt.as_ref().map(|tool| {
            let meta = std::fs::metadata(tool).ok();
            format!("{tool:?} {:?}", meta.and_then(|meta| meta.modified().ok()))
        });
        let version = env!("CARGO_PKG_VERSION");
        let words = format!("{version} {} {stamp:?}", compiled.keep_names);
        key_of([&compiled.module, &compiled.dependencies, words.as_bytes()])
    }

    fn watched(&self, mut inputs: Inputs) -> Inputs {
        for path in &self.component.build.watch {
            inputs
                .trees
                .insert(path.join_to(&self.session.options.app_dir));
        }
        inputs
    }

    fn finish(
        &self,
        made: Made,
        inputs: &Inputs,
        started: SystemTime,
        clock: Instant,
    ) -> Result<Built, BuildError> {
        let description = described(&made.bytes, &self.source)?;
        if let Some(file) = &made.file {
            write_whole(file, &made.bytes)?;
        }
        let elapsed_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let report = ComponentReport {
            name: self.name.to_string(),
            digest: Digest::of(&made.bytes),
            file: made.file,
            kind: description.title(),
            asks: description.authority_summary(),
            size: made.bytes.len() as u64,
            gzip_size: gzip_size(&made.bytes),
            dependencies_size: made.dependencies_size,
            optimization: made.optimization,
            elapsed_ms,
            reused: false,
        };
        Ok(Built {
            bytes: made.bytes,
            record: ComponentRecord {
                key: self.key,
                inputs: inputs.stamp(started),
                recipe: made.recipe,
                report,
            },
        })
    }
}

struct Made {
    bytes: Vec<u8>,
    /// How many of the bytes list dependencies.
    dependencies_size: u64,
    optimization: Optimization,
    recipe: Option<Digest>,
    file: Option<PathBuf>,
}

/// Describes what was built or read from `source`.
pub(crate) fn described(bytes: &[u8], source: &Path) -> Result<Description, BuildError> {
    describe(bytes).map_err(bad_wasm(source))
}

/// Reads a ready `.wasm` or `.wat`. The flag says that the file itself holds
/// the bytes: nothing was parsed or encoded.
fn read_ready(
    session: &Session<'_>,
    name: &str,
    file: &Path,
) -> Result<(Vec<u8>, bool), BuildError> {
    let step = Step::Read {
        component: name.to_string(),
        file: file.to_path_buf(),
    };
    during(session.progress, &step, || load_ready(name, file))
}

/// Reads a ready `.wasm` or `.wat`, checks it, and encodes a core module that
/// carries a component's type.
pub(crate) fn load_ready(name: &str, file: &Path) -> Result<(Vec<u8>, bool), BuildError> {
    let bytes = read_limited(file, WASM_BYTES_MAX)?;
    let bad = |reason: String| BuildError::BadText {
        path: file.to_path_buf(),
        reason,
    };
    let is_text = file.extension().is_some_and(|extension| extension == "wat");
    let (bytes, is_source) = if is_text {
        let text = std::str::from_utf8(&bytes).map_err(|error| bad(error.to_string()))?;
        let binary = wat::Parser::new()
            .parse_str(Some(file), text)
            .map_err(|error| bad(error.to_string().trim_end().to_string()))?;
        (binary, false)
    } else {
        (bytes, true)
    };
    wharf_artifact::validate(&bytes).map_err(bad_wasm(file))?;
    match wasm::outline(&bytes).map_err(|error| bad_wasm(file)(error.into()))? {
        Binary::Module(module) if module.has_component_type => {
            Ok((encoded(name, &bytes, &module)?, false))
        }
        Binary::Module(_) | Binary::Component { .. } => Ok((bytes, is_source)),
    }
}

fn bad_wasm(path: &Path) -> impl FnOnce(DescribeError) -> BuildError {
    |source| BuildError::BadWasm {
        path: path.to_path_buf(),
        source,
    }
}

/// Writes a file by rename, so that a reader never sees half of it.
fn write_whole(file: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let fresh = file.with_extension("wasm.new");
    std::fs::write(&fresh, bytes).map_err(BuildError::io("write", &fresh))?;
    std::fs::rename(&fresh, file).map_err(BuildError::io("write", file))
}
