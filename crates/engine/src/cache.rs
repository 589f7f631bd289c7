//! The cache of native code: `DIR/ENGINE-IDENTITY/SHA256-OF-WASM`.
//!
//! A file is native code followed by a seal (a mark and a BLAKE3 checksum of all before it).
//! It is written beside its place and renamed into it, so many processes can share the
//! directory; it is never changed in place, so it can be mapped. A file whose seal does not hold
//! is removed and made again. Files of other engines age out with the rest.

#![allow(unsafe_code)]

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use wasmtime::Module;
use wasmtime::component::Component;
use wharf_manifest::{ByteSize, Digest};

use crate::compiler::{CompileError, Compiler};
use crate::config::Engine;
use crate::seal::{SEAL_BYTES, sealed};
use crate::tally::{CodeTally, Outcome};

/// How long a hit may go unrecorded: a file's time is its last use, give or take this.
const USE_RECORDED_EVERY: Duration = Duration::from_secs(3600);

/// Temporary files older than this belong to a process that died.
const TEMPORARY_FILE_AGE: Duration = Duration::from_secs(3600);

/// Names native code within one engine: the digest of the Wasm bytes.
pub type CacheKey = Digest;

/// The code cache failed in a way that compiling again does not mend.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The bytes do not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Native code that was just made cannot be loaded.
    #[error("cannot load the native code just made: {0:#}")]
    Load(wasmtime::Error),
    /// The Wasm bytes cannot be read.
    #[error("cannot read the component: {0}")]
    Source(io::Error),
    /// The Wasm bytes are not the ones that were asked for.
    #[error("the component's bytes were changed: they are not those of {expected}")]
    WrongBytes {
        /// The digest that they should have.
        expected: Digest,
    },
    /// The directory cannot be used.
    #[error("cannot use the code cache {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl CacheError {
    /// Whether only the place to keep code failed, not the code.
    fn is_of_the_disk(&self) -> bool {
        matches!(
            self,
            CacheError::Directory { .. } | CacheError::Compile(CompileError::Write { .. })
        )
    }

    /// Whether the Wasm bytes are at fault, rather than this machine.
    pub fn is_of_the_code(&self) -> bool {
        matches!(
            self,
            CacheError::Compile(
                CompileError::Invalid { .. }
                    | CompileError::Cpu { .. }
                    | CompileError::Large { .. }
                    | CompileError::Time { .. }
                    | CompileError::Died { .. }
            )
        )
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            CacheError::Compile(error) => error.hint(),
            CacheError::Load(_) | CacheError::Source(_) => None,
            CacheError::WrongBytes { .. } => Some("build it again with `--force`".to_owned()),
            CacheError::Directory { .. } => {
                Some("set WHARF_CACHE_DIR to a folder that can be written".to_owned())
            }
        }
    }
}

/// A directory of native code, bounded in size, safe under many processes at once.
#[derive(Clone)]
pub struct CodeCache {
    directory: PathBuf,
    bytes_max: ByteSize,
    warn: Arc<dyn Fn(&CacheError) + Send + Sync>,
    tally: Arc<CodeTally>,
}

impl fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeCache")
            .field("directory", &self.directory)
            .field("bytes_max", &self.bytes_max)
            .finish_non_exhaustive()
    }
}

/// What native code can be loaded as.
trait Image: Sized {
    /// # Safety
    /// `path` must hold native code that this build of wharf wrote, unchanged since.
    unsafe fn load(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Self>;

    /// # Safety
    /// `native` must be native code that this build of wharf made.
    unsafe fn load_bytes(engine: &wasmtime::Engine, native: &[u8]) -> wasmtime::Result<Self>;
}

impl Image for Component {
    unsafe fn load(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
        // SAFETY: the caller's promise.
        unsafe { Component::deserialize_file(engine, path) }
    }

    unsafe fn load_bytes(engine: &wasmtime::Engine, native: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: the caller's promise.
        unsafe { Component::deserialize(engine, native) }
    }
}

impl Image for Module {
    unsafe fn load(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Module> {
        // SAFETY: the caller's promise.
        unsafe { Module::deserialize_file(engine, path) }
    }

    unsafe fn load_bytes(engine: &wasmtime::Engine, native: &[u8]) -> wasmtime::Result<Module> {
        // SAFETY: the caller's promise.
        unsafe { Module::deserialize(engine, native) }
    }
}

impl CodeCache {
    /// The cache in `directory`, which is made when first needed, of at most `bytes_max`.
    ///
    /// Where the directory cannot be used, code is made without being kept, and `warn` is told
    /// why.
    pub fn new(
        directory: PathBuf,
        bytes_max: ByteSize,
        warn: impl Fn(&CacheError) + Send + Sync + 'static,
    ) -> CodeCache {
        CodeCache {
            directory,
            bytes_max,
            warn: Arc::new(warn),
            tally: Arc::default(),
        }
    }

    /// The same cache, whose work is counted in `tally`.
    pub fn counted_in(&self, tally: &Arc<CodeTally>) -> CodeCache {
        CodeCache {
            tally: Arc::clone(tally),
            ..self.clone()
        }
    }

    /// Whether native code of `key` is there for `engine`. Its seal is looked at on loading.
    pub fn contains(&self, engine: &Engine, key: &CacheKey) -> bool {
        self.path(engine, key).exists()
    }

    /// The component of `wasm`, compiled if its native code is not there. Blocks.
    ///
    /// # Errors
    /// When the bytes do not compile, or nothing can be written anywhere.
    pub fn component<W: AsRef<[u8]>>(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        key: &CacheKey,
        wasm: impl FnOnce() -> io::Result<W>,
    ) -> Result<Component, CacheError> {
        self.load_or_compile(engine, compiler, key, wasm)
    }

    /// The same for a core module.
    ///
    /// # Errors
    /// As for [`CodeCache::component`].
    pub fn module<W: AsRef<[u8]>>(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        key: &CacheKey,
        wasm: impl FnOnce() -> io::Result<W>,
    ) -> Result<Module, CacheError> {
        self.load_or_compile(engine, compiler, key, wasm)
    }

    /// Compiles `wasm` if its native code is not there yet; true if it is kept now and was not
    /// before.
    ///
    /// # Errors
    /// When the bytes do not compile.
    pub fn prepare(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        key: &CacheKey,
        wasm: &[u8],
    ) -> Result<bool, CacheError> {
        let path = self.path(engine, key);
        if sealed(&path) {
            return Ok(false);
        }
        match self.compile(engine, compiler, key, wasm, &path) {
            Ok(_) => {
                self.tally.prepares(*key);
                Ok(true)
            }
            Err(error) if error.is_of_the_disk() => {
                (self.warn)(&error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn load_or_compile<I: Image, W: AsRef<[u8]>>(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        key: &CacheKey,
        wasm: impl FnOnce() -> io::Result<W>,
    ) -> Result<I, CacheError> {
        let path = self.path(engine, key);
        if self.is_private(&path) && sealed(&path) {
            // SAFETY: the file lies in our private cache under this engine's identity, and its
            // seal shows that it is whole. Files there are replaced by rename only.
            match unsafe { I::load(engine.wasmtime(), &path) } {
                Ok(image) => {
                    record_use(&path);
                    self.tally.loads(key);
                    return Ok(image);
                }
                // Whole but not ours: made again below.
                Err(_) => drop(fs::remove_file(&path)),
            }
        }
        let wasm = wasm().map_err(CacheError::Source)?;
        let wasm = wasm.as_ref();
        match self.compile(engine, compiler, key, wasm, &path) {
            // SAFETY: written just now by our compiler for this very engine.
            Ok(path) => unsafe { I::load(engine.wasmtime(), &path) }.map_err(CacheError::Load),
            Err(error) if error.is_of_the_disk() => {
                (self.warn)(&error);
                self.compile_unkept(engine, compiler, wasm)
            }
            Err(error) => Err(error),
        }
    }

    /// The one way in: whatever is kept under `key` was made of the bytes of that digest.
    fn compile(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        key: &CacheKey,
        wasm: &[u8],
        path: &Path,
    ) -> Result<PathBuf, CacheError> {
        if Digest::of(wasm) != *key {
            return Err(CacheError::WrongBytes { expected: *key });
        }
        let directory = path.parent().expect("the path has the identity's folder");
        let failed = |source| CacheError::Directory {
            path: directory.to_owned(),
            source,
        };
        make_private_directory(directory).map_err(failed)?;
        if !self.is_private(path) {
            return Err(failed(io::Error::other(
                "others may write to it, and native code is executed",
            )));
        }
        // Processes that start together compile a program once. Where locks do not work they
        // all do, which is only slower.
        let lock = path.with_extension("lock");
        let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
        if locked.is_ok() && sealed(path) {
            return Ok(path.to_owned());
        }
        let made = self.make(engine, compiler, wasm, path);
        // Whoever waits for it finds the code; whoever comes later never looks for it.
        let _ = fs::remove_file(&lock);
        made?;
        self.evict(path);
        Ok(path.to_owned())
    }

    fn make(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        wasm: &[u8],
        path: &Path,
    ) -> Result<(), CacheError> {
        let directory = path.parent().unwrap_or(&self.directory);
        let failed = |source| CacheError::Directory {
            path: directory.to_owned(),
            source,
        };
        let temporary = tempfile::Builder::new()
            .prefix(".making-")
            .tempfile_in(directory)
            .map_err(failed)?
            .into_temp_path();
        self.run(compiler, engine, wasm, &temporary)?;
        temporary.persist(path).map_err(|error| failed(error.error))
    }

    /// Compiles into a file of this process alone, and loads it into memory: the place may be one
    /// from which nothing can be executed.
    fn compile_unkept<I: Image>(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        wasm: &[u8],
    ) -> Result<I, CacheError> {
        let in_memory = Path::new("/dev/shm");
        let place = if in_memory.is_dir() {
            in_memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let failed = |source| CacheError::Directory {
            path: place.clone(),
            source,
        };
        // Made with mode 0600: nobody else can write to it.
        let mut file = tempfile::Builder::new()
            .prefix("wharf-")
            .tempfile_in(&place)
            .map_err(failed)?;
        self.run(compiler, engine, wasm, file.path())?;
        let mut native = Vec::new();
        // The compiler wrote through the name; this is the same file.
        file.read_to_end(&mut native).map_err(failed)?;
        native.truncate(native.len().saturating_sub(SEAL_BYTES));
        // SAFETY: written just now by our compiler for this very engine, into a file that is ours.
        unsafe { I::load_bytes(engine.wasmtime(), &native) }.map_err(CacheError::Load)
    }

    /// Compiles, and counts that.
    fn run(
        &self,
        compiler: &Compiler,
        engine: &Engine,
        wasm: &[u8],
        output: &Path,
    ) -> Result<(), CompileError> {
        let began = Instant::now();
        let compiled = compiler.compile(engine, wasm, output);
        let outcome = match &compiled {
            Ok(()) => Outcome::Compiled,
            Err(CompileError::Write { .. }) => Outcome::Lost,
            Err(_) => Outcome::Failed,
        };
        self.tally.compilation(outcome, began.elapsed());
        compiled
    }

    /// Whether nobody else can put a file there: the folder of `path` and the cache's own belong
    /// to this user, and only to this user's pen.
    fn is_private(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let us = rustix::process::geteuid().as_raw();
        [path.parent().unwrap_or(path), &self.directory]
            .iter()
            .all(|folder| {
                fs::metadata(folder)
                    .is_ok_and(|found| found.uid() == us && found.mode() & 0o022 == 0)
            })
    }

    fn path(&self, engine: &Engine, key: &CacheKey) -> PathBuf {
        self.directory
            .join(engine.identity().as_str())
            .join(key.hex())
    }

    /// Removes what was used longest ago until the cache is below its bound, but never `keep`.
    fn evict(&self, keep: &Path) {
        let mut files = Vec::new();
        let mut total: u64 = 0;
        let now = SystemTime::now();
        for folder in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let Ok(metadata) = file.metadata() else {
                    continue;
                };
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                let age = now.duration_since(used).unwrap_or_default();
                let name = file.file_name();
                let name = name.to_string_lossy();
                let is_temporary = name.starts_with('.') || name.ends_with(".lock");
                if is_temporary {
                    if age > TEMPORARY_FILE_AGE {
                        let _ = fs::remove_file(file.path());
                    }
                    continue;
                }
                total += metadata.len();
                files.push((used, metadata.len(), file.path()));
            }
        }
        files.sort();
        for (_, bytes, path) in files {
            if total <= self.bytes_max.0 {
                return;
            }
            if path != keep && fs::remove_file(&path).is_ok() {
                total -= bytes;
            }
        }
    }
}

fn record_use(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    let age = modified.map(|time| time.elapsed().unwrap_or_default());
    if age.is_ok_and(|age| age > USE_RECORDED_EVERY) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Native code is executed: nobody else may write where it lies.
fn make_private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EngineOptions, Profile};
    use crate::seal::seal;
    use std::sync::Mutex;

    struct Fixture {
        folder: tempfile::TempDir,
        engine: Engine,
        warnings: Arc<Mutex<Vec<String>>>,
    }

    impl Fixture {
        fn new() -> Fixture {
            Fixture {
                folder: tempfile::tempdir().unwrap(),
                engine: Engine::new(EngineOptions::compile_only(Profile::Command)).unwrap(),
                warnings: Arc::default(),
            }
        }

        fn cache(&self, bytes_max: u64) -> CodeCache {
            let warnings = Arc::clone(&self.warnings);
            let directory = self.folder.path().join("code");
            CodeCache::new(directory, ByteSize(bytes_max), move |error| {
                warnings.lock().unwrap().push(error.to_string());
            })
        }

        /// Loads the module that returns `number`; true if it had to be compiled.
        fn load(&self, cache: &CodeCache, number: u32) -> bool {
            let wasm = wasm(number);
            let mut compiled = false;
            cache
                .module(
                    &self.engine,
                    &Compiler::in_process(),
                    &Digest::of(&wasm),
                    || {
                        compiled = true;
                        Ok(wasm.clone())
                    },
                )
                .unwrap();
            compiled
        }

        fn file(&self, cache: &CodeCache, number: u32) -> PathBuf {
            cache.path(&self.engine, &Digest::of(&wasm(number)))
        }
    }

    fn wasm(number: u32) -> Vec<u8> {
        let text = format!("(module (func (export \"f\") (result i32) i32.const {number}))");
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn code_is_made_once() {
        let fixture = Fixture::new();
        let cache = fixture.cache(1 << 30);
        assert!(fixture.load(&cache, 1));
        assert!(!fixture.load(&cache, 1));
        assert!(cache.contains(&fixture.engine, &Digest::of(&wasm(1))));
        assert!(fixture.load(&cache, 2));
    }

    #[test]
    fn damaged_code_is_made_again_wherever_the_damage_is() {
        let fixture = Fixture::new();
        let cache = fixture.cache(1 << 30);
        fixture.load(&cache, 1);
        let path = fixture.file(&cache, 1);
        let whole = fs::read(&path).unwrap();
        for offset in [0, 100, whole.len() / 2, whole.len() - 40, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[offset] ^= 0x40;
            fs::write(&path, damaged).unwrap();
            assert!(fixture.load(&cache, 1), "a flipped bit at {offset}");
        }
        for length in [0, 10, SEAL_BYTES, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(fixture.load(&cache, 1), "cut off at {length}");
        }
        // Whole, but sealed over something else than code.
        let mut other = b"no code at all".to_vec();
        other.extend(seal(&other));
        fs::write(&path, other).unwrap();
        assert!(fixture.load(&cache, 1));
        assert!(!fixture.load(&cache, 1));
    }

    #[test]
    fn the_least_used_goes_when_the_cache_is_full() {
        let fixture = Fixture::new();
        let cache = fixture.cache(1 << 30);
        fixture.load(&cache, 1);
        let size = fs::metadata(fixture.file(&cache, 1)).unwrap().len();
        let cache = fixture.cache(size * 2 + size / 2);
        let long_ago = SystemTime::now() - Duration::from_secs(1_000_000);
        let age = |number, time| {
            let file = File::open(fixture.file(&cache, number)).unwrap();
            file.set_modified(time).unwrap();
        };
        fixture.load(&cache, 2);
        age(1, long_ago);
        age(2, long_ago + Duration::from_secs(1));
        // A use counts.
        assert!(!fixture.load(&cache, 1));
        fixture.load(&cache, 3);
        assert!(!fixture.load(&cache, 1));
        assert!(fixture.load(&cache, 2), "used longest ago");
    }

    #[test]
    fn a_place_that_cannot_be_written_costs_time_only() {
        let fixture = Fixture::new();
        fs::write(fixture.folder.path().join("code"), "a file in its way").unwrap();
        let cache = fixture.cache(1 << 30);
        assert!(fixture.load(&cache, 1));
        assert!(fixture.load(&cache, 1));
        let warnings = fixture.warnings.lock().unwrap();
        assert!(
            warnings[0].starts_with("cannot use the code cache"),
            "{warnings:?}"
        );
    }

    #[test]
    fn what_does_not_compile_is_told() {
        let fixture = Fixture::new();
        let cache = fixture.cache(1 << 30);
        let check = |wasm: &[u8], message: &str, hint: &str| {
            let result = cache.module(
                &fixture.engine,
                &Compiler::in_process(),
                &Digest::of(wasm),
                || Ok(wasm.to_vec()),
            );
            let error = result.map(drop).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert!(
                error.hint().unwrap_or_default().contains(hint),
                "{:?}",
                error.hint()
            );
        };
        check(&wasm(1)[..30], "unexpected end", "cut off");
        let threads = wat::parse_str("(module (memory 1 1 shared))").unwrap();
        check(
            &threads,
            "threads must be enabled",
            "threads are not supported",
        );
    }

    #[test]
    fn what_is_compiled_and_found_is_counted_for_whoever_asks() {
        let fixture = Fixture::new();
        let tallies: [Arc<CodeTally>; 2] = Default::default();
        let cache = fixture.cache(1 << 30);
        let [one, two] = tallies.each_ref().map(|tally| cache.counted_in(tally));
        let counts = || {
            tallies
                .each_ref()
                .map(|tally| (tally.compiled(), tally.found(), tally.failed()))
        };
        let compiler = Compiler::in_process();
        let prepare = |cache: &CodeCache, wasm: &[u8]| {
            cache.prepare(&fixture.engine, &compiler, &Digest::of(wasm), wasm)
        };
        prepare(&one, &wasm(1)).unwrap();
        fixture.load(&one, 1);
        assert_eq!(counts()[0], (1, 0, 0), "made for this very use");
        fixture.load(&one, 1);
        fixture.load(&two, 1);
        fixture.load(&two, 2);
        assert_eq!(counts(), [(1, 1, 0), (1, 1, 0)]);
        assert!(prepare(&two, b"no wasm").is_err());
        assert!(!prepare(&two, &wasm(1)).unwrap());
        assert_eq!(counts(), [(1, 1, 0), (1, 1, 1)]);
        assert!(tallies.iter().all(|tally| !tally.compiling().is_zero()));
        fixture.load(&cache, 1);
        assert_eq!(counts(), [(1, 1, 0), (1, 1, 1)], "not theirs");
    }

    #[test]
    fn code_that_cannot_be_kept_is_compiled_each_time_and_so_counted() {
        let fixture = Fixture::new();
        fs::write(fixture.folder.path().join("code"), "a file in its way").unwrap();
        let tally = Arc::new(CodeTally::default());
        let cache = fixture.cache(1 << 30).counted_in(&tally);
        for times in 1..3 {
            fixture.load(&cache, 1);
            assert_eq!((tally.compiled(), tally.found()), (times, 0));
        }
    }

    #[test]
    fn bytes_are_kept_under_their_own_digest_only() {
        let fixture = Fixture::new();
        let cache = fixture.cache(1 << 30);
        let (key, other) = (Digest::of(&wasm(1)), wasm(2));
        let compiler = Compiler::in_process();
        let prepared = cache.prepare(&fixture.engine, &compiler, &key, &other);
        assert!(matches!(prepared, Err(CacheError::WrongBytes { .. })));
        let loaded = cache.module(&fixture.engine, &compiler, &key, || Ok(other.clone()));
        assert!(matches!(loaded, Err(CacheError::WrongBytes { .. })));
        assert!(!cache.contains(&fixture.engine, &key));
    }
}
