//! The guest SDK, until crates.io has it.
//!
//! Guests write `wharf-sdk = "0.1"`. The SDK's sources travel inside this
//! crate, are unpacked into the cache once a version, and take the place of the
//! crate on crates.io by cargo's `[patch]`, given on the command line.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use wharf_manifest::Digest;

use crate::embedded;
use crate::error::BuildError;

/// The SDK's name on crates.io.
pub(crate) const CRATE: &str = "wharf-sdk";

/// The link to the SDK in an app's state folder. Whoever reads the path in an
/// error of cargo's sees what to run.
const LINK: &str = "made-by-wharf-build/wharf-sdk";

/// Unpacks the SDK below `cache_dir`, unless it is there, and returns the
/// folder of the crate `wharf-sdk`.
///
/// Safe under many processes: the folder is named by its contents and appears
/// by rename, whole or not at all.
///
/// # Errors
///
/// The cache cannot be written, or its disk is full.
pub fn unpack(cache_dir: &Path) -> Result<PathBuf, BuildError> {
    let parent = cache_dir.join("sdk");
    let folder = parent.join(&digest().hex()[..16]);
    if folder.join("Cargo.toml").is_file() {
        return Ok(folder);
    }
    std::fs::create_dir_all(&parent).map_err(BuildError::io("create", &parent))?;
    let fresh = parent.join(format!(".new-{}-{}", std::process::id(), unique()));
    let result = write_all(&fresh).and_then(|()| match std::fs::rename(&fresh, &folder) {
        // Another process was faster.
        Err(_) if folder.join("Cargo.toml").is_file() => Ok(()),
        Err(error) => Err(BuildError::io("create", &folder)(error)),
        Ok(()) => Ok(()),
    });
    let _ = std::fs::remove_dir_all(&fresh);
    result.map(|()| folder)
}

/// What names this version of the SDK.
pub(crate) fn digest() -> Digest {
    static DIGEST: OnceLock<Digest> = OnceLock::new();
    *DIGEST.get_or_init(|| {
        let files = files();
        let parts = files.iter().map(|(path, bytes)| [path.as_bytes(), bytes]);
        crate::fingerprint::key_of(parts.flatten())
    })
}

/// The files as they are unpacked.
fn files() -> Vec<(&'static str, Cow<'static, [u8]>)> {
    (embedded::SDK.iter())
        .map(|(path, bytes)| {
            let manifest = path.ends_with("Cargo.toml").then(|| quiet(bytes)).flatten();
            let bytes = manifest.map_or(Cow::Borrowed(*bytes), |text| text.into_bytes().into());
            (*path, bytes)
        })
        .collect()
}

/// The `[patch]` for `cargo --config`.
pub(crate) fn patch_key(folder: &Path) -> String {
    format!(
        "patch.crates-io.{CRATE}.path={}",
        toml::Value::from(folder.to_string_lossy().as_ref())
    )
}

/// The same for an app's `.cargo/config.toml`, so that plain cargo and editors
/// find the SDK as `wharf build` does, at [`LINK`].
///
/// It holds no path of one machine, and belongs in version control. Without the
/// link, as in a fresh checkout, cargo names the path that it misses.
pub(crate) const CARGO_CONFIG: &str = r#"# Until crates.io has the SDK, `wharf build` puts it here for cargo and editors.
[patch.crates-io]
wharf-sdk = { path = ".wharf/made-by-wharf-build/wharf-sdk" }
"#;

/// Links the SDK at `folder` into an app's state folder and returns the link.
/// Failing costs only those who run cargo by themselves.
pub(crate) fn link(folder: &Path, state: &Path) -> PathBuf {
    let link = state.join(LINK);
    if std::fs::read_link(&link).is_ok_and(|target| target == folder) {
        return link;
    }
    let fresh = link.with_extension(format!("new-{}", unique()));
    let _ = std::fs::create_dir_all(link.parent().unwrap_or(state))
        .and_then(|()| symlink(folder, &fresh))
        .and_then(|()| std::fs::rename(&fresh, &link));
    let _ = std::fs::remove_file(&fresh);
    link
}

#[cfg(unix)]
fn symlink(folder: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(folder, link)
}

#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn write_all(folder: &Path) -> Result<(), BuildError> {
    for (path, bytes) in files() {
        let file = folder.join(path);
        let parent = file.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(BuildError::io("create", parent))?;
        std::fs::write(&file, bytes).map_err(BuildError::io("write", &file))?;
    }
    Ok(())
}

/// A crate's manifest with its lints off: cargo shows the warnings of a crate
/// given by path as if the user had written it.
fn quiet(manifest: &[u8]) -> Option<String> {
    let mut manifest: toml::Table = std::str::from_utf8(manifest).ok()?.parse().ok()?;
    let lints = "rust = { warnings = \"allow\" }".parse::<toml::Table>();
    manifest.insert("lints".into(), lints.ok()?.into());
    toml::to_string(&manifest).ok()
}

/// Tells this process's unpackings apart.
fn unique() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn many_unpack_at_once_and_all_find_it_whole() {
        let cache = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| unpack(cache.path()).unwrap()))
                .collect();
            (threads.into_iter())
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        for folder in &folders {
            assert_eq!(folder, &folders[0]);
        }
        let manifest = std::fs::read_to_string(folders[0].join("Cargo.toml")).unwrap();
        assert!(manifest.contains("name = \"wharf-sdk\""));
        let manifest: toml::Table = manifest.parse().unwrap();
        assert_eq!(
            manifest["lints"]["rust"]["warnings"].as_str(),
            Some("allow")
        );
        let left: Vec<_> = std::fs::read_dir(cache.path().join("sdk"))
            .unwrap()
            .collect();
        assert_eq!(left.len(), 1, "no half-written folder stays");
    }

    #[test]
    fn paths_with_quotes_stay_toml() {
        let key = patch_key(Path::new("/a \"b\"/c'd"));
        let table: toml::Table = key.parse().unwrap();
        let path = table["patch"]["crates-io"][CRATE]["path"].as_str();
        assert_eq!(path, Some("/a \"b\"/c'd"));
    }

    #[cfg(unix)]
    #[test]
    fn the_link_is_where_the_config_says_and_follows_the_sdk() {
        let config: toml::Table = CARGO_CONFIG.parse().unwrap();
        let path = config["patch"]["crates-io"][CRATE]["path"].as_str();
        let app = tempfile::tempdir().unwrap();
        let state = app.path().join(crate::session::STATE_FOLDER);
        for sdk in ["old", "new", "new"] {
            let sdk = app.path().join(sdk);
            std::fs::create_dir_all(&sdk).unwrap();
            let link = link(&sdk, &state);
            assert_eq!(link, app.path().join(path.unwrap()));
            assert_eq!(std::fs::read_link(&link).unwrap(), sdk);
            let beside = link.parent().unwrap().read_dir().unwrap();
            assert_eq!(beside.count(), 1, "nothing else is left");
        }
    }
}
