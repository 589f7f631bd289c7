//! What a guest was refused, said once.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Distinct denials remembered; a guest that probes more than this is not listed further.
const DENIALS_MAX: usize = 256;

/// One refusal: what was asked for, and what would grant it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Denial {
    /// What was asked for: `outgoing HTTP to https://api.example.com`.
    pub what: String,
    /// The line under `[component.NAME.grants]` that would ask for it.
    pub manifest_line: String,
    /// The flag of `wharf run` that would grant it.
    pub flag: String,
    /// The guest only asked what it has, as language runtimes do at start; nothing certain was
    /// refused. Worth a word only when the program fails.
    pub asked_only: bool,
    /// Many programs try this and do well without, as Python does with its caches beside a
    /// library. Where the outcome is known, it is worth a word only if that is a failure.
    pub survived_by_many: bool,
}

impl Denial {
    pub(crate) fn no_files() -> Denial {
        Denial {
            what: "files: it looked for a folder, and none is granted".to_owned(),
            manifest_line: "files = [\"data:/data\"]".to_owned(),
            flag: "--dir .".to_owned(),
            asked_only: true,
            survived_by_many: true,
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied: {}", self.what)
    }
}

type Count = dyn Fn() + Send + Sync;
type Report = dyn Fn(&Denial) + Send + Sync;

/// Collects denials and reports each distinct one once. Clones share it.
#[derive(Clone)]
pub struct Denials {
    seen: Arc<Mutex<HashSet<Denial>>>,
    count: Arc<Count>,
    report: Arc<Report>,
}

impl fmt::Debug for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denials").finish_non_exhaustive()
    }
}

impl Denials {
    /// Denials that `report` is told of.
    pub fn new(report: impl Fn(&Denial) + Send + Sync + 'static) -> Denials {
        Denials::counted(|| {}, report)
    }

    /// The same, and `count` is called for each denial, also those that were reported before.
    /// What a guest only asked for is not counted.
    pub fn counted(
        count: impl Fn() + Send + Sync + 'static,
        report: impl Fn(&Denial) + Send + Sync + 'static,
    ) -> Denials {
        Denials {
            seen: Arc::default(),
            count: Arc::new(count),
            report: Arc::new(report),
        }
    }

    /// Whether anything was denied so far.
    pub fn any(&self) -> bool {
        !self.lock().is_empty()
    }

    pub(crate) fn record(&self, denial: Denial) {
        if !denial.asked_only {
            (self.count)();
        }
        let mut seen = self.lock();
        if seen.len() < DENIALS_MAX && seen.insert(denial.clone()) {
            drop(seen);
            (self.report)(&denial);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Denial>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
