//! Finds uses of the standard library that a `pure` component cannot have.
//!
//! On `wasm32-unknown-unknown` std compiles, and its calls into a system panic
//! or fail when they run. Optimising folds many of them away, so they are
//! looked for in a second, unoptimised build of the same crates: there every
//! call is still a call, the linker has dropped what nothing reaches, and line
//! tables say where each one stands.
//!
//! Std as it was shipped does not count: its panic machinery asks for the
//! environment, and no crate can help it. Generic parts of std that a crate
//! instantiates are passed through, up to the crate's own call.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use wasmparser::{FunctionBody, KnownCustom, Name, Operator, Parser, Payload, TypeRef};

use crate::error::ImpureUse;

/// What needs a system: the start of std's paths, old and new.
const FORBIDDEN: &[&str] = &[
    "std::env::",
    "std::fs::",
    "std::io::stdio::_eprint",
    "std::io::stdio::_print",
    "std::io::stdio::stderr",
    "std::io::stdio::stdin",
    "std::io::stdio::stdout",
    "std::net::",
    "std::path::Path::canonicalize",
    "std::path::Path::exists",
    "std::path::Path::is_dir",
    "std::path::Path::is_file",
    "std::path::Path::metadata",
    "std::path::Path::read_dir",
    "std::path::Path::try_exists",
    "std::process::Child",
    "std::process::Command",
    "std::process::exit",
    "std::process::id",
    "std::thread::Builder",
    "std::thread::builder::",
    "std::thread::functions::park_timeout",
    "std::thread::functions::sleep",
    "std::thread::functions::spawn",
    "std::thread::lifecycle::spawn",
    "std::thread::park_timeout",
    "std::thread::scope",
    "std::thread::sleep",
    "std::thread::spawn",
    "std::time::Instant::elapsed",
    "std::time::Instant::now",
    "std::time::SystemTime::elapsed",
    "std::time::SystemTime::now",
];

/// What looks like the above and needs no system.
const ALLOWED: &[&str] = &[
    "std::env::VarError",
    "std::env::join_paths",
    "std::env::split_paths",
    "std::net::ip",
];

/// The crates that make up std.
const STD_CRATES: &[&str] = &[
    "alloc",
    "compiler_builtins",
    "core",
    "dlmalloc",
    "hashbrown",
    "panic_abort",
    "std",
];

/// The most uses that are named.
const USES_MAX: usize = 20;

/// Uses by a crate's code of the parts of std that need a system, in an
/// unoptimised core module with names and line tables. Places inside `home` are
/// named from there.
pub(super) fn uses(module: &[u8], home: &Path) -> Vec<ImpureUse> {
    let Some(outline) = Outline::read(module) else {
        return Vec::new();
    };
    let Some(lines) = Lines::read(&outline.debug) else {
        return Vec::new();
    };
    let mut uses = BTreeMap::new();
    for (&index, path) in outline.names.iter().filter(|(_, path)| is_forbidden(path)) {
        for place in outline.users(index, &lines) {
            // One line of source often reaches several parts of std, of which
            // the first in the order of their names is enough.
            let place = shortened(&place, home);
            uses.entry(place).or_insert_with(|| path.clone());
        }
    }
    let mut uses: Vec<(String, String)> = uses.into_iter().collect();
    uses.sort_by_key(|(place, _)| match place.rsplit_once(':') {
        Some((file, line)) => (file.to_string(), line.parse().unwrap_or(0)),
        None => (place.clone(), 0_u32),
    });
    (uses.into_iter().take(USES_MAX))
        .map(|(place, item)| ImpureUse {
            item,
            place: Some(place),
        })
        .collect()
}

/// A call of a function.
struct Call {
    /// The index of the function that calls.
    caller: u32,
    /// Where the call stands, from the start of the code section.
    address: u64,
}

/// What there is to know of a module.
#[derive(Default)]
struct Outline<'a> {
    /// The paths of functions by index.
    names: BTreeMap<u32, String>,
    /// The calls of each function.
    calls: BTreeMap<u32, Vec<Call>>,
    /// The number of imported functions.
    imported: u32,
    /// Where each function that is not imported begins.
    bodies: Vec<u64>,
    /// The debugging sections by name.
    debug: BTreeMap<&'a str, &'a [u8]>,
}

impl<'a> Outline<'a> {
    fn read(module: &'a [u8]) -> Option<Self> {
        let mut outline = Self::default();
        let mut code_start = 0;
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        if matches!(import.ok()?.ty, TypeRef::Func(_)) {
                            outline.imported += 1;
                        }
                    }
                }
                Payload::CodeSectionStart { range, .. } => code_start = range.start,
                Payload::CodeSectionEntry(body) => outline.read_body(&body, code_start)?,
                Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                    outline.debug.insert(section.name(), section.data());
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(section) = section.as_known() {
                        read_names(section, &mut outline.names)?;
                    }
                }
                _ => {}
            }
        }
        Some(outline)
    }

    fn read_body(&mut self, body: &FunctionBody<'_>, code_start: usize) -> Option<()> {
        let caller = self.imported + u32::try_from(self.bodies.len()).ok()?;
        self.bodies.push((body.range().start - code_start) as u64);
        for operator in body.get_operators_reader().ok()?.into_iter_with_offsets() {
            let (operator, offset) = operator.ok()?;
            if let Operator::Call { function_index } = operator {
                let address = (offset - code_start) as u64;
                let calls = self.calls.entry(function_index).or_default();
                calls.push(Call { caller, address });
            }
        }
        Some(())
    }

    /// The places outside std from which `function` is reached, through what a
    /// crate instantiated of std.
    fn users(&self, function: u32, lines: &Lines<'_>) -> BTreeSet<String> {
        let mut places = BTreeSet::new();
        let mut seen = BTreeSet::from([function]);
        let mut ahead = vec![function];
        while let Some(function) = ahead.pop() {
            for call in self.calls.get(&function).into_iter().flatten() {
                if self.is_shipped(call.caller, lines) {
                    continue;
                }
                match lines
                    .place(call.address)
                    .filter(|place| !is_std_file(place))
                {
                    Some(place) => {
                        places.insert(place);
                    }
                    None => match self.names.get(&call.caller) {
                        Some(name) if !is_std(name) => {
                            places.insert(format!("in {name}"));
                        }
                        _ if seen.insert(call.caller) => ahead.push(call.caller),
                        _ => {}
                    },
                }
            }
        }
        places
    }

    /// Whether a function was compiled with std itself, and not in a crate that
    /// uses it.
    fn is_shipped(&self, function: u32, lines: &Lines<'_>) -> bool {
        let body = function
            .checked_sub(self.imported)
            .and_then(|index| self.bodies.get(index as usize));
        let Some(start) = body else {
            return true;
        };
        // The line table of a function begins after its locals.
        let unit = (*start..start + 24).find_map(|address| lines.unit(address));
        unit.is_none_or(|unit| unit.starts_with("library/") || unit.starts_with("/rustc/"))
    }
}

fn read_names(
    section: wasmparser::NameSectionReader<'_>,
    names: &mut BTreeMap<u32, String>,
) -> Option<()> {
    for subsection in section {
        if let Name::Function(functions) = subsection.ok()? {
            for naming in functions {
                let naming = naming.ok()?;
                names.insert(naming.index, path_of(naming.name));
            }
        }
    }
    Some(())
}

/// A symbol's path without type arguments: `std::time::Instant::now`, of
/// `<std::time::Instant>::now` as of `std::fs::read::<&str>`.
fn path_of(symbol: &str) -> String {
    let demangled = format!("{:#}", rustc_demangle::demangle(symbol));
    let mut path = String::new();
    let mut depth = 0_u32;
    for (index, character) in demangled.char_indices() {
        match character {
            // What implements a trait counts: `<std::fs::File as Read>::read`.
            '<' if index == 0 => {}
            '<' => depth += 1,
            '>' if depth > 0 => depth -= 1,
            '>' => {}
            _ if depth == 0 => path.push(character),
            _ => {}
        }
    }
    let path = match path.split_once(" as ") {
        Some((implementer, rest)) => match rest.rsplit_once("::") {
            Some((_, method)) => format!("{implementer}::{method}"),
            None => path,
        },
        None => path,
    };
    path.trim_start_matches(['&', '*'])
        .trim_start_matches("mut ")
        .replace("::::", "::")
        .trim_end_matches("::")
        .to_string()
}

fn is_forbidden(path: &str) -> bool {
    let starts = |list: &[&str]| list.iter().any(|start| path.starts_with(start));
    starts(FORBIDDEN) && !starts(ALLOWED)
}

fn is_std_file(place: &str) -> bool {
    place.starts_with("/rustc/") || place.contains("/lib/rustlib/src/")
}

fn is_std(path: &str) -> bool {
    let first = path.split("::").next().unwrap_or(path);
    STD_CRATES.contains(&first)
}

/// The module's line tables.
struct Lines<'a>(addr2line::Context<gimli::EndianSlice<'a, gimli::LittleEndian>>);

impl<'a> Lines<'a> {
    fn read(debug: &BTreeMap<&str, &'a [u8]>) -> Option<Self> {
        let section = |id: gimli::SectionId| {
            let bytes = debug.get(id.name()).copied().unwrap_or_default();
            Ok::<_, gimli::Error>(gimli::EndianSlice::new(bytes, gimli::LittleEndian))
        };
        let dwarf = gimli::Dwarf::load(section).ok()?;
        addr2line::Context::from_dwarf(dwarf).ok().map(Self)
    }

    /// The root file of the crate that the code at `address` was compiled in.
    fn unit(&self, address: u64) -> Option<String> {
        let unit = self.0.find_dwarf_and_unit(address).skip_all_loads()?;
        unit.name.map(|name| name.to_string_lossy().into_owned())
    }

    /// `file:line` of the code at `address`.
    fn place(&self, address: u64) -> Option<String> {
        let location = self.0.find_location(address).ok()??;
        let file = location.file?;
        Some(match location.line {
            Some(line) if line > 0 => format!("{file}:{line}"),
            _ => file.to_string(),
        })
    }
}

/// A place inside `home` from there; one in another crate from the folder that
/// cargo unpacked it into.
fn shortened(place: &str, home: &Path) -> String {
    if let Ok(inside) = Path::new(place).strip_prefix(home) {
        return inside.display().to_string();
    }
    match place.split_once("/registry/src/") {
        Some((_, rest)) => rest
            .split_once('/')
            .map_or(rest, |(_, inside)| inside)
            .to_string(),
        None => place.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_become_paths() {
        let check = |symbol: &str, path: &str| assert_eq!(path_of(symbol), path);
        check("_ZN3std2fs4read17h0123456789abcdefE", "std::fs::read");
        check(
            "_RNvMs0_NtCs1_3std4timeNtB5_7Instant3now",
            "std::time::Instant::now",
        );
        check("memcpy", "memcpy");
        check(
            "wasi:http/handler@0.3.0#handle",
            "wasi:http/handler@0.3.0#handle",
        );
    }

    #[test]
    fn only_what_needs_a_system_is_forbidden() {
        let check = |path: &str, expected: bool| assert_eq!(is_forbidden(path), expected, "{path}");
        check("std::fs::read", true);
        check("std::time::SystemTime::now", true);
        check("std::env::var", true);
        check("std::time::Duration::from_secs", false);
        check("std::thread::local::LocalKey::with", false);
        check("std::env::split_paths", false);
        check("std::process::abort", false);
        check("std::thread::functions::park", false);
        check("my_std::fs::read", false);
        assert!(is_std("core::option::Option::map") && !is_std("my_app::handle"));
    }

    #[test]
    fn places_are_named_from_the_app() {
        let check = |place: &str, expected: &str| {
            assert_eq!(shortened(place, Path::new("/a/b/app")), expected);
        };
        check("/a/b/app/src/lib.rs:3", "src/lib.rs:3");
        check(
            "/c/registry/src/index.crates.io-1/dep-1.0.0/src/a.rs:9",
            "dep-1.0.0/src/a.rs:9",
        );
        check("/elsewhere/b.rs:1", "/elsewhere/b.rs:1");
    }

    #[test]
    fn a_module_without_names_has_no_known_uses() {
        assert!(uses(b"\0asm\x01\0\0\0", Path::new("/")).is_empty());
        assert!(uses(b"rubbish", Path::new("/")).is_empty());
    }
}
