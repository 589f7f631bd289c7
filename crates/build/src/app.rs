//! A whole app: every component, then one artifact.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use wharf_manifest::{App, AppPath, ComponentName, Digest, HttpTarget, parse_app};

use crate::component::{Built, Plan, described};
use crate::error::{BuildError, read_limited};
use crate::fingerprint::{ComponentRecord, Inputs, Record, key_of};
use crate::lock::BuildLock;
use crate::optimize::GET_WASM_OPT;
use crate::pack::{self, Packed};
use crate::progress::{Progress, Step, during};
use crate::report::{BuildReport, ComponentReport, Optimization};
use crate::rust::Prefer;
use crate::session::{BuildOptions, STATE_FOLDER, Session, make_state_folder};

/// The largest manifest that is read. The parser has a lower limit and the
/// better words for it.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// Builds the app in `options.app_dir` and packs it into the store.
///
/// An unchanged app costs only looks at its files. Another build of the same
/// app, in any process, is waited for.
///
/// # Errors
///
/// The first thing that failed, with [`BuildError::hint`] on what to do. What
/// the store held before stays.
pub fn build_app(
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<BuildReport, BuildError> {
    let clock = Instant::now();
    let options = &absolute(options)?;
    let (app, manifest) = read_manifest(options)?;
    let state = options.app_dir.join(STATE_FOLDER);
    let session = Session {
        options,
        progress,
        state: &state,
    };
    let plans = plans(&session, &app);
    let key = key_of([
        env!("CARGO_PKG_VERSION").as_bytes(),
        &manifest,
        options.store.root().as_os_str().as_encoded_bytes(),
    ]);
    let record_path = state.join("build.json");
    let unchanged = || {
        let record = Record::load(&record_path)?;
        is_fresh(options, &record, key, &plans).then(|| up_to_date(record, options, clock))
    };
    if !options.force
        && let Some(report) = unchanged()
    {
        return Ok(report);
    }

    let keep = || {
        make_state_folder(&state)?;
        BuildLock::acquire(&state.join("build.lock"), &options.cancel, progress)
    };
    let lock = match plans.iter().all(Plan::is_ready) {
        // All that is made goes to the store, where several may write at once.
        true if options.leave_folder => None,
        true => match keep() {
            Err(BuildError::StateFolder { .. } | BuildError::DiskFull { .. }) => None,
            kept => Some(kept?),
        },
        false => Some(keep()?),
    };
    // The build that was waited for has perhaps made it.
    if lock.is_some()
        && !options.force
        && let Some(report) = unchanged()
    {
        return Ok(report);
    }
    let last = Record::load(&record_path);
    // Cheap mistakes are told before the compiler has run.
    let folders = static_folders(options, &app)?;
    let built = build_components(&plans, last.as_ref())?;
    let started = SystemTime::now();
    let packed = pack_app(&session, &app, &built, folders.clone())?;
    let inputs = Inputs {
        trees: folders.iter().map(|(_, path)| path.clone()).collect(),
        ..Inputs::default()
    };
    remove_old_outputs(last.as_ref(), &built);

    let records: BTreeMap<String, ComponentRecord> = (built.into_iter())
        .map(|(name, built)| (name.to_string(), built.record))
        .collect();
    let components: Vec<_> = records
        .values()
        .map(|record| record.report.clone())
        .collect();
    let report = BuildReport {
        app: app.name.to_string(),
        version: app.version.to_string(),
        artifact: packed.digest,
        up_to_date: false,
        notes: notes(&components, packed.warnings),
        components,
        files: packed.files,
        elapsed_ms: milliseconds(clock),
        watch: Vec::new(),
    };
    let record = Record::new(key, inputs.stamp(started), records, report);
    if lock.is_some() {
        record.save(&record_path);
    }
    Ok(with_watch(record, options))
}

/// What a watcher looks at before a build has told more: the manifest, and the
/// sources and static files that it names. Paths may be absent; what tools
/// write below them (`target`, `.wharf`) is not meant.
pub fn watch_paths(options: &BuildOptions) -> Vec<PathBuf> {
    let mut paths = vec![options.manifest.clone()];
    let Ok((app, _)) = read_manifest(options) else {
        return paths;
    };
    for component in app.components.values() {
        let wharf_manifest::Source::Path(source) = &component.source;
        paths.push(source.join_to(&options.app_dir));
        let watched = component.build.watch.iter();
        paths.extend(watched.map(|path| path.join_to(&options.app_dir)));
    }
    for trigger in &app.triggers.http {
        if let HttpTarget::Files(files) = &trigger.target {
            paths.push(files.dir.join_to(&options.app_dir));
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

fn absolute(options: &BuildOptions) -> Result<BuildOptions, BuildError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(BuildError::io("find", path));
    Ok(BuildOptions {
        app_dir: absolute(&options.app_dir)?,
        manifest: absolute(&options.manifest)?,
        cache_dir: absolute(&options.cache_dir)?,
        ..options.clone()
    })
}

fn read_manifest(options: &BuildOptions) -> Result<(App, Vec<u8>), BuildError> {
    let path = &options.manifest;
    if !path.is_file() {
        return Err(BuildError::ManifestMissing { path: path.clone() });
    }
    let bytes = read_limited(path, MANIFEST_BYTES_MAX)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    let text = String::from_utf8_lossy(&bytes);
    let app = parse_app(&text, &name.to_string_lossy()).map_err(BuildError::Manifest)?;
    Ok((app, bytes))
}

fn plans<'a>(session: &'a Session<'a>, app: &'a App) -> Vec<Plan<'a>> {
    let prefer = |name: &ComponentName| {
        let is_http = app.triggers.http.iter().any(
            |trigger| matches!(&trigger.target, HttpTarget::Component(target) if target == name),
        );
        let command = app.triggers.command.as_ref();
        if is_http {
            Prefer::Library
        } else if command.is_some_and(|command| command.component == *name) {
            Prefer::Binary
        } else {
            Prefer::Either
        }
    };
    (app.components.iter())
        .map(|(name, component)| Plan::new(session, name, component, prefer(name)))
        .collect()
}

fn is_fresh(options: &BuildOptions, record: &Record, key: Digest, plans: &[Plan<'_>]) -> bool {
    record.key == key
        && record.files.hold()
        && record.components.len() == plans.len()
        && plans.iter().all(|plan| {
            (record.components.get(plan.name.as_str())).is_some_and(|component| {
                let output = component.report.file.as_ref();
                plan.is_fresh(component) && output.is_none_or(|file| file.is_file())
            })
        })
        && pack::is_complete(options, record)
}

fn up_to_date(mut record: Record, options: &BuildOptions, clock: Instant) -> BuildReport {
    record.report.up_to_date = true;
    for component in &mut record.report.components {
        component.reused = true;
    }
    record.report.elapsed_ms = milliseconds(clock);
    with_watch(record, options)
}

/// The report with what the build read, for a watcher.
fn with_watch(record: Record, options: &BuildOptions) -> BuildReport {
    let mut watch = vec![options.manifest.clone()];
    let components = (record.components.values()).map(|component| &component.inputs);
    for stamps in components.chain([&record.files]) {
        watch.extend(stamps.existing_paths().map(Path::to_path_buf));
    }
    watch.sort();
    watch.dedup();
    BuildReport {
        watch,
        ..record.report
    }
}

fn build_components(
    plans: &[Plan<'_>],
    last: Option<&Record>,
) -> Result<BTreeMap<ComponentName, Built>, BuildError> {
    let mut built = BTreeMap::new();
    for plan in plans {
        let last = last.and_then(|last| last.components.get(plan.name.as_str()));
        built.insert(plan.name.clone(), plan.build(last)?);
    }
    Ok(built)
}

fn static_folders(
    options: &BuildOptions,
    app: &App,
) -> Result<Vec<(AppPath, PathBuf)>, BuildError> {
    let mut folders: Vec<(AppPath, PathBuf)> = Vec::new();
    for trigger in &app.triggers.http {
        let HttpTarget::Files(files) = &trigger.target else {
            continue;
        };
        let path = files.dir.join_to(&options.app_dir);
        if !path.is_dir() {
            return Err(BuildError::FilesMissing {
                route: trigger.route.to_string(),
                path,
            });
        }
        if folders.iter().all(|(known, _)| *known != files.dir) {
            folders.push((files.dir.clone(), path));
        }
    }
    Ok(folders)
}

fn pack_app(
    session: &Session<'_>,
    app: &App,
    built: &BTreeMap<ComponentName, Built>,
    folders: Vec<(AppPath, PathBuf)>,
) -> Result<Packed, BuildError> {
    if session.options.cancel.is_fired() {
        return Err(BuildError::Cancelled);
    }
    let mut descriptions = BTreeMap::new();
    for (name, built) in built {
        let source = built.record.report.file.clone().unwrap_or_default();
        descriptions.insert(name.clone(), described(&built.bytes, &source)?);
    }
    crate::trigger::check(app, &descriptions)?;
    during(session.progress, &Step::Pack, || {
        let bytes = (built.iter()).map(|(name, built)| (name.clone(), built.bytes.clone()));
        pack::pack(&session.options.store, app, bytes.collect(), folders)
    })
}

/// Removes the copies of components that the app no longer has.
fn remove_old_outputs(last: Option<&Record>, built: &BTreeMap<ComponentName, Built>) {
    let kept: Vec<_> = (built.values())
        .filter_map(|built| built.record.report.file.as_ref())
        .collect();
    let old = last.iter().flat_map(|last| last.components.values());
    for file in old.filter_map(|component| component.report.file.as_ref()) {
        if !kept.contains(&file) {
            let _ = std::fs::remove_file(file);
        }
    }
}

fn notes(components: &[ComponentReport], mut notes: Vec<String>) -> Vec<String> {
    for component in components {
        if let Optimization::Failed { reason } = &component.optimization {
            notes.push(format!("{} is not optimised: {reason}", component.name));
        }
    }
    let not_found =
        |component: &ComponentReport| matches!(component.optimization, Optimization::NotFound);
    if components.iter().any(not_found) {
        notes.push(GET_WASM_OPT.to_string());
    }
    notes
}

fn milliseconds(clock: Instant) -> u64 {
    u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX)
}
