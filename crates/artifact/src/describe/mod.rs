//! What a component or core module is, what it may ask for, and what it is made of.
//!
//! [`describe`] reads the bytes once and answers for two readers: people (`Display`, the text of
//! `wharf inspect`) and programs (`Serialize`, and the flags by which the server chooses how to
//! run the thing). It runs nothing, and it trusts nothing: every byte may be hostile.

mod authority;
mod dependencies;
mod display;
mod scan;
#[cfg(test)]
mod tests;
mod wit;

use std::collections::{BTreeMap, BTreeSet};
use std::panic;

use serde::Serialize;

pub use authority::{Authority, AuthorityKind, Standing};
pub use dependencies::Dependency;

use scan::{Extern, Scan, scan};
use wit::DecodedWit;

/// The largest binary that is read: 256 MiB.
pub const WASM_BYTES_MAX: u64 = 256 << 20;

/// How deep modules and components may lie inside one another.
pub const NESTING_MAX: usize = 64;

/// The stack of the thread that decodes. Types nest up to 100 deep and the third-party decoder
/// recurses over them; the caller's stack may be a small one.
const STACK_BYTES: usize = 16 << 20;

/// What a component or module is and may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Description {
    /// Component or core module.
    pub kind: Kind,
    /// What it is for.
    pub role: Role,
    /// The WASI versions of its imports and exports, such as `0.2.6`; `0.1` for core modules
    /// that import `wasi_snapshot_preview1`. Empty without WASI.
    pub wasi: BTreeSet<String>,
    /// The version of `wasi:http` by which it answers requests; the newer one if it offers both.
    pub http: Option<HttpVersion>,
    /// Whether it can be run as a command.
    pub command: bool,
    /// Whether it imports anything of WASI 0.2.
    pub imports_p2: bool,
    /// Whether it is a component all of whose imports are WASI 0.3 or consist of async
    /// functions only, so that no call of one request holds up another on the same instance.
    pub imports_only_async_p3: bool,
    /// The names that it imports.
    pub imports: Vec<Name>,
    /// The names that it exports.
    pub exports: Vec<Name>,
    /// Its world as WIT text, with the interfaces that are not WASI's; `None` for core modules
    /// and for components that WIT cannot express.
    pub wit: Option<String>,
    /// Each kind of authority, asked for or not, the ones that matter most first.
    pub authority: Vec<Authority>,
    /// Imports that are not WASI's: something else must provide them.
    pub other_imports: Vec<String>,
    /// The number of core modules in it; 1 for a core module.
    pub core_modules: u32,
    /// Bytes by part.
    pub size: Size,
    /// WebAssembly features that a host must allow for it.
    pub features: Features,
    /// What made it: `language`, `processed-by` and `sdk`, each with names and versions.
    pub producers: BTreeMap<String, BTreeSet<String>>,
    /// The dependencies that its build recorded (`cargo auditable`); empty if it recorded none.
    pub dependencies: Vec<Dependency>,
    /// What else a reader should know, as whole sentences.
    pub notes: Vec<String>,
}

/// The two formats of WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A component (component model).
    Component,
    /// A core module.
    Module,
}

/// What a component or module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Answers HTTP requests.
    HttpHandler,
    /// Runs once, as a program does.
    Command,
    /// Offers functions to others.
    Library,
    /// Holds no code: WIT text in binary form.
    WitPackage,
}

/// A version of `wasi:http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpVersion {
    /// 0.2, `wasi:http/incoming-handler`.
    P2,
    /// 0.3, `wasi:http/handler`.
    P3,
}

/// The name and type of one import or export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Name {
    /// The name; for imports of core modules, the module's name, a blank and the item's name.
    pub name: String,
    /// Its type as people write it: `instance`, `func(i32) -> i32`, `memory 1..`.
    #[serde(rename = "type")]
    pub ty: String,
}

/// Bytes by part, nested modules and components summed. The parts add up to `total`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// The whole file.
    pub total: u64,
    /// Function bodies.
    pub code: u64,
    /// Data segments.
    pub data: u64,
    /// Types of core modules.
    pub types: u64,
    /// Imports and exports of core modules.
    pub names: u64,
    /// Tables, elements, globals and the like of core modules.
    pub tables: u64,
    /// What joins core modules into a component: its types, aliases, instances and adapters.
    pub component: u64,
    /// Custom sections by name; none of them is needed to run.
    pub custom: BTreeMap<String, u64>,
    /// Headers of sections and files.
    pub other: u64,
}

/// WebAssembly features that not every host allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Features {
    /// 64-bit memories.
    pub memory64: bool,
    /// Shared memories or `wasi` `thread-spawn`.
    pub threads: bool,
    /// Types of the garbage-collection proposal.
    pub gc: bool,
    /// Exception tags.
    pub exceptions: bool,
}

/// Why bytes could not be described.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// The bytes do not begin as WebAssembly does.
    #[error("not WebAssembly: {found}")]
    NotWasm {
        /// What they look like instead.
        found: String,
    },
    /// The bytes exceed [`WASM_BYTES_MAX`].
    #[error("{bytes} bytes exceed the limit of 256 MiB for one component")]
    TooLarge {
        /// Their number.
        bytes: u64,
    },
    /// Modules and components nest more than [`NESTING_MAX`] deep.
    #[error(
        "malformed at byte {offset:#x}: more than {NESTING_MAX} modules or components lie inside one another"
    )]
    TooDeep {
        /// Where the one too many begins.
        offset: u64,
    },
    /// The bytes end too early.
    #[error("truncated at byte {offset:#x}: {message}")]
    Truncated {
        /// Where the missing bytes would be.
        offset: u64,
        /// What the parser was reading.
        message: String,
    },
    /// The bytes break a rule of WebAssembly.
    #[error("malformed at byte {offset:#x}: {message}")]
    Malformed {
        /// Where.
        offset: u64,
        /// Which rule.
        message: String,
    },
    /// The decoder gave up in a way that it should not have.
    #[error("cannot be read: the decoder failed inside ({message})")]
    Decoder {
        /// What it said.
        message: String,
    },
}

impl DescribeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotWasm { .. } => {
                Some("give a .wasm file; text needs the ending .wat, sources need `wharf build`")
            }
            Self::TooLarge { .. } => {
                Some("strip debug information, or keep data outside the component")
            }
            Self::Truncated { .. } => Some("the file is incomplete: download or build it again"),
            Self::Malformed { .. } | Self::TooDeep { .. } => {
                Some("the file is damaged or made by a tool that is broken: build it again")
            }
            Self::Decoder { .. } => Some("please report this file as a bug of wharf"),
        }
    }
}

impl From<wasmparser::BinaryReaderError> for DescribeError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        let offset = error.offset() as u64;
        // Some of its numbers are set as in a table.
        let words: Vec<&str> = error.message().split_whitespace().collect();
        let message = words.join(" ");
        if message.starts_with("unexpected end") {
            Self::Truncated { offset, message }
        } else {
            Self::Malformed { offset, message }
        }
    }
}

/// Describes a component or core module.
///
/// Its structure is validated, the bodies of its functions are not: that is [`validate`]'s part.
///
/// # Errors
/// Bytes that are not WebAssembly, are larger than [`WASM_BYTES_MAX`], end too early or break a
/// rule of WebAssembly. The error says where.
pub fn describe(bytes: &[u8]) -> Result<Description, DescribeError> {
    check_head(bytes)?;
    guarded(|| {
        let scan = scan(bytes, false)?;
        let wit = match scan.kind {
            // The decoder takes for granted what not every valid component has. What it cannot
            // tell leaves the rest standing.
            Kind::Component => Some(
                panic::catch_unwind(|| wit::decode(bytes))
                    .unwrap_or_else(|_| DecodedWit::undecodable()),
            ),
            Kind::Module => None,
        };
        Ok(Description::new(scan, wit))
    })
}

/// Checks everything that WebAssembly demands, the bodies of all functions included.
///
/// # Errors
/// As [`describe`].
pub fn validate(bytes: &[u8]) -> Result<(), DescribeError> {
    check_head(bytes)?;
    guarded(|| scan(bytes, true).map(drop))
}

fn check_head(bytes: &[u8]) -> Result<(), DescribeError> {
    if bytes.len() as u64 > WASM_BYTES_MAX {
        return Err(DescribeError::TooLarge {
            bytes: bytes.len() as u64,
        });
    }
    if bytes.starts_with(b"\0asm") {
        return Ok(());
    }
    let found = match bytes {
        [] => "the file is empty".to_owned(),
        _ if b"\0asm".starts_with(bytes) => {
            return Err(DescribeError::Truncated {
                offset: bytes.len() as u64,
                message: "unexpected end in the file's first bytes".to_owned(),
            });
        }
        [0x7f, b'E', b'L', b'F', ..] => "this is a native Linux program (ELF)".to_owned(),
        [b'M', b'Z', ..] => "this is a native Windows program".to_owned(),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] => "this is a native macOS program".to_owned(),
        [0x1f, 0x8b, ..] => "this is compressed by gzip".to_owned(),
        [b'P', b'K', 3, 4, ..] => "this is a zip archive".to_owned(),
        [b'(', ..] => "this is WebAssembly text, not yet converted".to_owned(),
        [a, ..] => format!("it begins with byte {a:#04x}, not with \"\\0asm\""),
    };
    Err(DescribeError::NotWasm { found })
}

/// The name of the thread on which third-party decoders run. A panic on it is no fault of the
/// program's: it is told as an error.
pub const DECODER_THREAD: &str = "wasm-decoder";

/// Runs third-party decoding on a thread with a stack of known size, and turns a panic there
/// into an error. The decoders are fuzzed and meant never to panic, but these bytes are hostile
/// and a server that describes a component must outlive it.
fn guarded<T: Send>(
    work: impl FnOnce() -> Result<T, DescribeError> + Send,
) -> Result<T, DescribeError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(DECODER_THREAD.to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| DescribeError::Decoder {
                message: format!("no thread: {error}"),
            })?;
        thread.join().unwrap_or_else(|panicked| {
            let message = panicked
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panicked.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            Err(DescribeError::Decoder { message })
        })
    })
}

impl Description {
    fn new(scan: Scan, wit: Option<DecodedWit>) -> Self {
        let is_module = scan.kind == Kind::Module;
        let exports_of = |interface: &'static str| {
            scan.exports
                .iter()
                .filter(move |e| scan::without_version(&e.name) == interface)
        };
        let http = if exports_of("wasi:http/handler").any(|e| minor(&e.name) == Some(3)) {
            Some(HttpVersion::P3)
        } else if exports_of("wasi:http/incoming-handler").any(|e| minor(&e.name) == Some(2)) {
            Some(HttpVersion::P2)
        } else {
            None
        };
        let command = if is_module {
            scan.exports
                .iter()
                .any(|e| e.name == "_start" && e.ty.starts_with("func"))
        } else {
            exports_of("wasi:cli/run").any(|e| matches!(minor(&e.name), Some(2 | 3)))
        };
        let role = match &wit {
            Some(DecodedWit {
                is_package: true, ..
            }) => Role::WitPackage,
            _ if http.is_some() => Role::HttpHandler,
            _ if command => Role::Command,
            _ => Role::Library,
        };
        let imports_p2 = !is_module
            && scan
                .imports
                .iter()
                .any(|import| minor(&import.name) == Some(2));
        let imports_only_async_p3 = wit.as_ref().is_some_and(|wit| {
            scan.imports
                .iter()
                .all(|import| is_async_p3(&import.name) || wit.async_imports.contains(&import.name))
        });
        let interpreter = authority::interpreter(&scan.producers);
        let mut notes = drafts(&scan);
        if let Some(name) = interpreter {
            notes.push(format!(
                "it carries an interpreter ({name}): what the script uses of files, sockets and the like cannot be seen from outside"
            ));
        }
        if let Some(DecodedWit {
            error: Some(error), ..
        }) = &wit
        {
            notes.push(format!("its world cannot be written as WIT: {error}"));
        }
        Self {
            kind: scan.kind,
            role,
            wasi: wasi_versions(&scan),
            http,
            command,
            imports_p2,
            imports_only_async_p3,
            authority: authority::classify(&scan, interpreter.is_some()),
            other_imports: authority::other_imports(&scan),
            imports: scan.imports.iter().map(Name::from).collect(),
            exports: scan.exports.iter().map(Name::from).collect(),
            wit: wit.and_then(|wit| wit.text),
            core_modules: scan.core_modules,
            size: scan.size,
            features: scan.features,
            producers: scan.producers,
            dependencies: scan.dependencies.into_sorted(),
            notes,
        }
    }

    /// The standing of one kind of authority.
    #[must_use]
    pub fn standing(&self, kind: AuthorityKind) -> Standing {
        self.authority
            .iter()
            .find(|a| a.kind == kind)
            .map_or(Standing::No, |a| a.standing)
    }
}

impl Size {
    fn sum(&self) -> u64 {
        let custom: u64 = self.custom.values().sum();
        self.code + self.data + self.types + self.names + self.tables + self.component + custom
    }
}

impl From<&Extern> for Name {
    fn from(item: &Extern) -> Self {
        let name = match &item.module {
            Some(module) => format!("{module} {}", item.name),
            None => item.name.clone(),
        };
        Self {
            name,
            ty: item.ty.clone(),
        }
    }
}

/// The version of a WASI interface name: `0.2.6` of `wasi:http/types@0.2.6`.
fn wasi_version(name: &str) -> Option<&str> {
    let (interface, version) = name.split_once('@')?;
    interface.starts_with("wasi:").then_some(version)
}

/// 2 for WASI 0.2, 3 for WASI 0.3; drafts (`0.3.0-rc-…`, `0.2.0-draft`) are neither.
fn minor(name: &str) -> Option<u64> {
    let version = wasi_version(name)?;
    if version.contains('-') {
        return None;
    }
    let mut parts = version.split('.');
    if parts.next()? != "0" {
        return None;
    }
    parts.next()?.parse().ok()
}

/// The interfaces of WASI 0.3 itself. The drafts beside it (keyvalue, config, …) are synchronous.
fn is_async_p3(name: &str) -> bool {
    const PACKAGES: [&str; 6] = ["cli", "clocks", "filesystem", "http", "random", "sockets"];
    let package = name
        .strip_prefix("wasi:")
        .and_then(|rest| rest.split('/').next());
    minor(name) == Some(3) && package.is_some_and(|package| PACKAGES.contains(&package))
}

fn wasi_versions(scan: &Scan) -> BTreeSet<String> {
    let core = &authority::CORE_PACKAGES;
    let mut versions: BTreeSet<String> = (scan.imports.iter().chain(&scan.exports))
        .filter(|item| {
            let package = item
                .name
                .strip_prefix("wasi:")
                .and_then(|rest| rest.split('/').next());
            package.is_some_and(|package| core.contains(&package))
        })
        .filter_map(|item| wasi_version(&item.name))
        .map(str::to_owned)
        .collect();
    let is_p1 = |module: &str| authority::P1_MODULES.contains(&module);
    if scan
        .imports
        .iter()
        .any(|import| import.module.as_deref().is_some_and(is_p1))
    {
        versions.insert("0.1".to_owned());
    }
    versions
}

/// One note for each draft of WASI 0.3 that the binary was built for.
fn drafts(scan: &Scan) -> Vec<String> {
    let drafts: BTreeSet<&str> = (scan.imports.iter().chain(&scan.exports))
        .filter_map(|item| wasi_version(&item.name))
        .filter(|version| version.starts_with("0.3.0-"))
        .collect();
    drafts
        .into_iter()
        .map(|draft| {
            format!(
                "it was built for a draft of WASI 0.3 ({draft}): build it again with newer tools"
            )
        })
        .collect()
}
