//! The text for people.

use std::fmt;

use super::authority::{AuthorityKind, Standing};
use super::{Description, HttpVersion, Kind, Role};

/// Longer lists are cut here; `--json` has them whole.
const LINES_MAX: usize = 60;

impl Description {
    /// What it is in a few words, such as `component, answers HTTP (WASI 0.2.6)`.
    #[must_use]
    pub fn title(&self) -> String {
        let kind = match self.kind {
            Kind::Component => "component",
            Kind::Module => "core module",
        };
        let role = match (self.role, self.http) {
            (Role::HttpHandler, Some(HttpVersion::P3)) => "answers HTTP (wasi:http 0.3)",
            (Role::HttpHandler, _) => "answers HTTP (wasi:http 0.2)",
            (Role::Command, _) => "command",
            (Role::Library, _) => "library",
            (Role::WitPackage, _) => "WIT package, no code",
        };
        format!("{kind}, {role}")
    }

    /// What it may ask for in one line, such as `outgoing HTTP; no files; no sockets`. What only
    /// the runtime is seen to ask for counts as not asked.
    #[must_use]
    pub fn authority_summary(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        for authority in &self.authority {
            let kind = authority.kind;
            match authority.standing {
                Standing::Asked => words.push(kind.words().to_owned()),
                Standing::Runtime | Standing::No if kind.reaches_out() => {
                    words.push(format!("no {}", kind.words()));
                }
                Standing::Runtime | Standing::No => {}
            }
        }
        words.extend(
            self.other_imports
                .iter()
                .take(3)
                .map(|name| format!("`{name}`")),
        );
        if self.other_imports.len() > 3 {
            words.push(format!("{} more imports", self.other_imports.len() - 3));
        }
        words.join("; ")
    }

    fn standing_words(&self, standing: Standing) -> String {
        let words: Vec<&str> = self
            .authority
            .iter()
            .filter(|authority| authority.standing == standing)
            .map(|authority| authority.kind.words())
            .collect();
        words.join(", ")
    }

    fn features_words(&self) -> String {
        let features = [
            (self.features.memory64, "memory64"),
            (self.features.threads, "threads"),
            (self.features.gc, "gc"),
            (self.features.exceptions, "exceptions"),
        ];
        let used: Vec<&str> = features
            .iter()
            .filter(|(used, _)| *used)
            .map(|(_, name)| *name)
            .collect();
        used.join(", ")
    }

    fn write_size(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = &self.size;
        let mut parts: Vec<(&str, u64)> = vec![
            ("code", size.code),
            ("data", size.data),
            ("core types", size.types),
            ("core imports, exports", size.names),
            ("tables, globals", size.tables),
            ("component", size.component),
            ("headers", size.other),
        ];
        parts.retain(|(_, bytes)| *bytes > 0);
        let custom = size
            .custom
            .iter()
            .map(|(name, bytes)| (name.as_str(), *bytes));
        parts.extend(custom);
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let width = parts
            .iter()
            .take(LINES_MAX)
            .map(|(name, _)| name.chars().count())
            .max();
        let width = width.unwrap_or(0).min(32);
        writeln!(f, "\nsize {} bytes", grouped(size.total))?;
        for (name, bytes) in parts.iter().take(LINES_MAX) {
            let percent = *bytes as f64 * 100.0 / size.total.max(1) as f64;
            let name = Plain(name);
            writeln!(
                f,
                "  {:<width$}  {:>12}  {percent:>5.1}%",
                name.to_string(),
                grouped(*bytes)
            )?;
        }
        cut(f, parts.len())
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = |f: &mut fmt::Formatter<'_>, name: &str, value: &str| {
            if value.is_empty() {
                Ok(())
            } else {
                writeln!(f, "{name:<9} {}", Plain(value))
            }
        };
        field(f, "kind", &self.title())?;
        let versions: Vec<&str> = self.wasi.iter().map(String::as_str).collect();
        field(f, "wasi", if versions.is_empty() { "none" } else { "" })?;
        field(f, "wasi", &versions.join(", "))?;
        field(f, "asks for", &self.authority_summary())?;
        field(f, "runtime", &self.standing_words(Standing::Runtime))?;
        field(
            f,
            "modules",
            &match self.core_modules {
                0 | 1 => String::new(),
                modules => format!("{modules} core modules inside"),
            },
        )?;
        field(f, "features", &self.features_words())?;
        for (name, values) in &self.producers {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            field(f, producer_word(name), &values.join(", "))?;
        }
        for note in &self.notes {
            field(f, "note", note)?;
        }

        if let Some(wit) = &self.wit {
            writeln!(f, "\n{}", Plain(wit.trim_end()))?;
        } else {
            write_names(f, "imports", &self.imports)?;
            write_names(f, "exports", &self.exports)?;
        }
        self.write_size(f)?;
        if !self.dependencies.is_empty() {
            writeln!(f, "\ndependencies {}", self.dependencies.len())?;
            for dependency in self.dependencies.iter().take(LINES_MAX) {
                let build = if dependency.build_only {
                    "  (build)"
                } else {
                    ""
                };
                writeln!(
                    f,
                    "  {} {}{build}",
                    Plain(&dependency.name),
                    Plain(&dependency.version)
                )?;
            }
            cut(f, self.dependencies.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for AuthorityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

fn producer_word(field: &str) -> &str {
    match field {
        "processed-by" => "made by",
        other => other,
    }
}

fn write_names(f: &mut fmt::Formatter<'_>, title: &str, names: &[super::Name]) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title} {}", names.len())?;
    let width = names
        .iter()
        .take(LINES_MAX)
        .map(|item| item.name.chars().count())
        .max();
    let width = width.unwrap_or(0).min(48);
    for item in names.iter().take(LINES_MAX) {
        writeln!(
            f,
            "  {:<width$}  {}",
            Plain(&item.name).to_string(),
            item.ty
        )?;
    }
    cut(f, names.len())
}

fn cut(f: &mut fmt::Formatter<'_>, lines: usize) -> fmt::Result {
    match lines.checked_sub(LINES_MAX) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(f, "  … and {more} more (--json shows all)"),
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Text out of a binary, without the control characters that would steer a terminal.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\n' => f.write_str("\n")?,
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}
