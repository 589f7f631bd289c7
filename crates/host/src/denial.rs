//! What a guest was refused, said once.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use wharf_engine::LimitHit;
use wharf_manifest::ByteSize;

use crate::state::HEADER_BYTES_MAX;

/// Distinct denials remembered; a guest that probes more than this is not listed further.
const DENIALS_MAX: usize = 256;

/// The limit on one set of fields, which a guest of 0.2 does not survive.
pub(crate) const HEADERS_MET: LimitHit = LimitHit::Headers {
    limit: ByteSize(HEADER_BYTES_MAX as u64),
};

/// One refusal: what was asked for, and what would grant it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Denial {
    /// What was asked for: `outgoing HTTP to https://api.example.com`.
    pub what: String,
    /// What would let it pass.
    pub remedy: Remedy,
    /// The guest only asked what it has, as language runtimes do at start; nothing certain was
    /// refused. Worth a word only when the program fails.
    pub asked_only: bool,
    /// Many programs try this and do well without, as Python does with its caches beside a
    /// library. Where the outcome is known, it is worth a word only if that is a failure.
    pub survived_by_many: bool,
}

/// What would let pass what was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// A grant.
    Grant {
        /// Its key in the manifest: `http`.
        key: &'static str,
        /// The line under `[component.NAME.grants]` that would ask for it.
        manifest_line: String,
        /// The flag of `wharf run` that would grant it.
        flag: String,
    },
    /// A word of the node's operator: it is granted, and the node refuses it.
    NodeFile {
        /// The line of the node file.
        line: String,
    },
    /// Both: the grant names no such address by itself, and neither does the node's list.
    GrantAndNodeFile {
        /// The line under `[component.NAME.grants]` that would ask for it.
        manifest_line: String,
        /// The line of the node file.
        line: String,
    },
    /// A higher limit: it is granted, and too much of it was open at once.
    Limit {
        /// Its key under `limits` in the manifest: `outgoing`.
        key: &'static str,
    },
    /// More descriptors for the whole process: it is granted, and guests have too many open.
    Descriptors,
    /// Fewer bytes in one set of header fields.
    Headers,
    /// Nothing.
    Nothing,
}

impl Denial {
    /// What to do about it, for whoever has the manifest of `component`; `None` if nothing helps.
    pub fn manifest_hint(&self, component: &str) -> Option<String> {
        match &self.remedy {
            Remedy::Grant { manifest_line, .. } => Some(format!(
                "grant it under [component.{component}.grants]: {manifest_line}"
            )),
            Remedy::NodeFile { line } => Some(format!(
                "this is the node's rule, whatever is granted; its operator allows it in the node file: {line}"
            )),
            Remedy::GrantAndNodeFile {
                manifest_line,
                line,
            } => Some(format!(
                "neither a wildcard nor a network reaches it: name the very address both under [component.{component}.grants], {manifest_line}, and, as the node's operator, in the node file, {line}"
            )),
            Remedy::Limit { key } => Some(format!(
                "raise it with `limits.{key}` in wharf.toml, and look for what is never closed"
            )),
            Remedy::Descriptors => Some(
                "look for what is never closed; the node's operator raises it with `ulimit -n`, or LimitNOFILE in a unit of systemd"
                    .to_owned(),
            ),
            Remedy::Headers => Some(HEADERS_MET.hint()),
            Remedy::Nothing => None,
        }
    }

    /// What to do about it, for whoever runs a program; `None` if nothing helps.
    pub fn flag_hint(&self) -> Option<String> {
        match &self.remedy {
            Remedy::Grant { flag, .. } => Some(format!("grant it with `{flag}`")),
            Remedy::NodeFile { .. }
            | Remedy::GrantAndNodeFile { .. }
            | Remedy::Limit { .. }
            | Remedy::Descriptors
            | Remedy::Headers
            | Remedy::Nothing => None,
        }
    }

    /// The grant that would let it pass, by its key in the manifest: `http`.
    pub fn grant_key(&self) -> Option<&'static str> {
        match self.remedy {
            Remedy::Grant { key, .. } => Some(key),
            _ => None,
        }
    }

    /// The limit that was met, as it is counted: `outgoing`, `descriptors`, `headers`. Nothing was
    /// denied then.
    pub fn limit(&self) -> Option<&'static str> {
        match self.remedy {
            Remedy::Descriptors => Some("descriptors"),
            Remedy::Headers => Some("headers"),
            _ => self.limit_key(),
        }
    }

    /// The limit of the manifest that was met, by its key there: `outgoing`.
    pub fn limit_key(&self) -> Option<&'static str> {
        match self.remedy {
            Remedy::Limit { key } => Some(key),
            _ => None,
        }
    }

    fn is_limit(&self) -> bool {
        self.limit().is_some()
    }

    pub(crate) fn headers() -> Denial {
        Denial {
            what: HEADERS_MET.to_string(),
            remedy: Remedy::Headers,
            asked_only: false,
            survived_by_many: false,
        }
    }

    pub(crate) fn no_files() -> Denial {
        Denial {
            what: "files: it looked for a folder, and none is granted".to_owned(),
            remedy: Remedy::Grant {
                key: "files",
                manifest_line: "files = [\"data:/data\"]".to_owned(),
                flag: "--dir .".to_owned(),
            },
            asked_only: true,
            survived_by_many: true,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_limit() {
            return f.write_str(&self.what);
        }
        write!(f, "denied: {}", self.what)
    }
}

type Tell = dyn Fn(&Denial) + Send + Sync;

/// Collects denials and reports each distinct one once. Clones share it.
#[derive(Clone)]
pub struct Denials(Arc<Shared>);

struct Shared {
    seen: Mutex<HashSet<Denial>>,
    count: Box<Tell>,
    report: Box<Tell>,
}

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").finish_non_exhaustive()
    }
}

impl Denials {
    /// Denials that `report` is told of.
    pub fn new(report: impl Fn(&Denial) + Send + Sync + 'static) -> Denials {
        Denials::counted(|_| {}, report)
    }

    /// The same, and `count` is called for each denial and each limit met, also those that were
    /// reported before. What a guest only asked for is not counted.
    pub fn counted(
        count: impl Fn(&Denial) + Send + Sync + 'static,
        report: impl Fn(&Denial) + Send + Sync + 'static,
    ) -> Denials {
        Denials(Arc::new(Shared {
            seen: Mutex::default(),
            count: Box::new(count),
            report: Box::new(report),
        }))
    }

    /// Whether anything was denied so far, limits not counted.
    pub fn any(&self) -> bool {
        !self.lock().iter().all(Denial::is_limit)
    }

    pub(crate) fn record(&self, denial: Denial) {
        if !denial.asked_only {
            (self.0.count)(&denial);
        }
        let mut seen = self.lock();
        if seen.len() < DENIALS_MAX && !seen.contains(&denial) {
            seen.insert(denial.clone());
            drop(seen);
            (self.0.report)(&denial);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Denial>> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was reported.
#[cfg(test)]
pub(crate) type Told = Arc<Mutex<Vec<Denial>>>;

/// Denials, and what they report.
#[cfg(test)]
pub(crate) fn told() -> (Denials, Told) {
    let told = Told::default();
    let denials = Denials::new({
        let told = Arc::clone(&told);
        move |denial| told.lock().unwrap().push(denial.clone())
    });
    (denials, told)
}
