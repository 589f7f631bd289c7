//! A folder, a store and a cache for one test, and a target folder for all.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use wharf_artifact::{Description, Store, describe, load_app};
use wharf_build::{BuildError, BuildOptions, BuildReport, Progress, Step, build_app};

pub(crate) struct World {
    /// Holds app and store until the test ends.
    _root: tempfile::TempDir,
    pub(crate) options: BuildOptions,
    pub(crate) events: Events,
}

/// What a build told while it ran.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) steps: Mutex<Vec<Step>>,
    pub(crate) lines: Mutex<Vec<String>>,
    /// Fired when cargo starts to compile.
    pub(crate) cancel_on_compile: Option<wharf_build::Cancel>,
}

impl Progress for Events {
    fn started(&self, step: &Step) {
        self.steps.lock().unwrap().push(step.clone());
        if let (Step::Compile { .. }, Some(cancel)) = (step, &self.cancel_on_compile) {
            cancel.fire();
        }
    }

    fn finished(&self, _: &Step, _: bool, _: Duration) {}

    fn output(&self, line: &str) {
        self.lines.lock().unwrap().push(line.to_string());
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path().join("store")).unwrap();
        let app = root.path().join("app");
        std::fs::create_dir(&app).unwrap();
        // Shared by all tests of one checkout: dependencies are built once.
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let cache = shared.join("cache");
        let config = format!("[build]\ntarget-dir = {:?}\n", shared.join("guests"));
        std::fs::create_dir(root.path().join(".cargo")).unwrap();
        std::fs::write(root.path().join(".cargo/config.toml"), config).unwrap();
        Self {
            options: BuildOptions::new(app, store, cache),
            _root: root,
            events: Events::default(),
        }
    }

    pub(crate) fn app(&self) -> &Path {
        &self.options.app_dir
    }

    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.app().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A manifest with one component `main` and `rest`.
    pub(crate) fn manifest(&self, source: &str, rest: &str) {
        self.put(
            "wharf.toml",
            &format!(
                "manifest = 1\nname = \"tried\"\nversion = \"0.1.0\"\n\n\
                 [component.main]\nsource = \"{source}\"\n{rest}"
            ),
        );
    }

    pub(crate) fn try_build(&self) -> Result<BuildReport, BuildError> {
        build_app(&self.options, &self.events)
    }

    pub(crate) fn build(&self) -> BuildReport {
        self.try_build().unwrap_or_else(|error| {
            let output = error.output().unwrap_or_default();
            panic!("{error}\nhint: {:?}\n{output}", error.hint())
        })
    }

    pub(crate) fn fail(&self) -> BuildError {
        self.try_build().unwrap_err()
    }

    /// What the store holds for the first component of a report.
    pub(crate) fn described(&self, report: &BuildReport) -> Description {
        let app = load_app(&self.options.store, &report.artifact.to_string()).unwrap();
        let blob = app.components.values().next().unwrap();
        let bytes = std::fs::read(&blob.path).unwrap();
        describe(&bytes).unwrap()
    }
}
