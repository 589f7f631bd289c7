//! What a build made, for people and programs.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wharf_manifest::Digest;

/// The level of gzip by which compressed sizes are stated.
const GZIP_LEVEL: u32 = 6;

/// What a build made. `Display` is the short report at the end of
/// `wharf build`, `Serialize` its `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BuildReport {
    /// The app's name.
    pub app: String,
    /// The app's version.
    pub version: String,
    /// The digest of the app's manifest in the store.
    pub artifact: Digest,
    /// Nothing had changed, so nothing was done.
    pub up_to_date: bool,
    /// The components by name.
    pub components: Vec<ComponentReport>,
    /// The folders of static files, in the order of their routes.
    pub files: Vec<FilesReport>,
    /// What the user may want to know, as sentences without a full stop.
    pub notes: Vec<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// What the build read, for a watcher: files, folders of sources whose list
    /// of names counts, and folders of static files.
    #[serde(skip)]
    pub watch: Vec<PathBuf>,
}

/// One component of a [`BuildReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ComponentReport {
    /// The component's name.
    pub name: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// A copy for the user; `None` where the source is itself the component.
    pub file: Option<PathBuf>,
    /// What it is, such as `component, answers HTTP (wasi:http 0.3)`.
    pub kind: String,
    /// What it may ask for, in words.
    pub asks: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its size in bytes after gzip at level 6.
    pub gzip_size: u64,
    /// How many bytes of [`ComponentReport::size`] are the list of dependencies
    /// that this build embedded; 0 where it embedded none.
    pub dependencies_size: u64,
    /// What wasm-opt did.
    pub optimization: Optimization,
    /// How long it took, in milliseconds; that of the build that made it.
    pub elapsed_ms: u64,
    /// Its sources had not changed since an earlier build.
    pub reused: bool,
}

/// What wasm-opt did for a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Optimization {
    /// It ran; the sizes of the core module in bytes, names stripped.
    Done {
        /// Before.
        before: u64,
        /// After.
        after: u64,
    },
    /// There is no wasm-opt on this machine.
    NotFound,
    /// The manifest says `optimize = false`.
    Off,
    /// It failed or took too long; the component is as the compiler left it.
    Failed {
        /// Why.
        reason: String,
    },
    /// The component came ready-made and is kept as it is.
    Ready,
}

/// A folder of static files of a [`BuildReport`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FilesReport {
    /// The folder, as the manifest names it.
    pub dir: String,
    /// The number of files.
    pub count: u64,
    /// Their size in bytes.
    pub size: u64,
}

impl fmt::Display for BuildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for component in &self.components {
            writeln!(f, "{component}")?;
        }
        for files in &self.files {
            let plural = if files.count == 1 { "" } else { "s" };
            writeln!(
                f,
                "{}: {} file{plural}, {}",
                files.dir,
                files.count,
                Bytes(files.size)
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        let done = if self.up_to_date {
            "is up to date"
        } else {
            "built"
        };
        let seconds = self.elapsed_ms as f64 / 1000.0;
        write!(f, "{} {} {done} in {seconds:.2} s", self.app, self.version)
    }
}

impl fmt::Display for ComponentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}, {} ({} gzip)",
            self.name,
            self.kind,
            Bytes(self.size),
            Bytes(self.gzip_size)
        )?;
        match &self.optimization {
            Optimization::Done { before, after } if after < before => {
                let percent = (before - after) * 100 / before;
                write!(
                    f,
                    ", wasm-opt saved {} ({percent} %)",
                    Bytes(before - after)
                )?;
            }
            Optimization::Done { .. } => write!(f, ", wasm-opt saved nothing")?,
            Optimization::NotFound => write!(f, ", without wasm-opt")?,
            Optimization::Failed { .. } => write!(f, ", wasm-opt failed")?,
            Optimization::Off | Optimization::Ready => {}
        }
        if let Some(file) = &self.file {
            write!(f, "\n  {}", shown(file))?;
        }
        write!(f, "\n  asks for: {}", self.asks)
    }
}

/// A component's copy as seen from the app's folder, such as `.wharf/api.wasm`.
fn shown(file: &Path) -> String {
    let inside = (file.ancestors().nth(2)).and_then(|app| file.strip_prefix(app).ok());
    inside.unwrap_or(file).display().to_string()
}

/// Bytes as people read them.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1_000 => write!(f, "{} B", self.0),
            1_000..1_000_000 => write!(f, "{:.1} kB", self.0 as f64 / 1e3),
            _ => write!(f, "{:.1} MB", self.0 as f64 / 1e6),
        }
    }
}

/// The size of `bytes` after gzip.
pub(crate) fn gzip_size(bytes: &[u8]) -> u64 {
    let level = flate2::Compression::new(GZIP_LEVEL);
    let mut encoder = flate2::write::GzEncoder::new(Counter(0), level);
    encoder.write_all(bytes).expect("a counter takes all bytes");
    encoder.finish().expect("a counter takes all bytes").0
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn report() -> BuildReport {
        BuildReport {
            app: "guestbook".into(),
            version: "0.1.0".into(),
            artifact: Digest::of(b"app"),
            up_to_date: false,
            components: vec![ComponentReport {
                name: "api".into(),
                digest: Digest::of(b"api"),
                file: Some("/app/.wharf/api.wasm".into()),
                kind: "component, answers HTTP (wasi:http 0.3)".into(),
                asks: "no outgoing HTTP; no files; no sockets".into(),
                size: 48_500,
                gzip_size: 20_050,
                dependencies_size: 400,
                optimization: Optimization::Done {
                    before: 60_000,
                    after: 45_000,
                },
                elapsed_ms: 900,
                reused: false,
            }],
            files: vec![FilesReport {
                dir: "public".into(),
                count: 1,
                size: 3_200_000,
            }],
            notes: vec![],
            elapsed_ms: 1_234,
            watch: vec![],
        }
    }

    #[test]
    fn the_report_is_short() {
        assert_eq!(
            report().to_string(),
            "api: component, answers HTTP (wasi:http 0.3), 48.5 kB (20.1 kB gzip), wasm-opt saved 15.0 kB (25 %)\n  \
             .wharf/api.wasm\n  \
             asks for: no outgoing HTTP; no files; no sockets\n\
             public: 1 file, 3.2 MB\n\
             guestbook 0.1.0 built in 1.23 s"
        );
    }

    #[test]
    fn json_can_be_read_back() {
        let json = serde_json::to_string(&report()).unwrap();
        assert!(json.contains(r#""optimization":{"state":"done","before":60000,"after":45000}"#));
        assert_eq!(
            serde_json::from_str::<BuildReport>(&json).unwrap(),
            report()
        );
    }

    #[test]
    fn gzip_size_is_that_of_a_gzip_file() {
        assert_eq!(gzip_size(b""), 20);
        assert!(gzip_size(&[0; 100_000]) < 200);
    }
}
