use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;

use tempfile::TempDir;
use wharf_artifact::{
    AppArtifact, ArtifactError, Blob, ComponentSource, Encoding, FilesDir, PackedApp, Store,
    StoreError, load_app, pack_app,
};
use wharf_manifest::{App, AppPath, ComponentName, Digest, parse_app};

use crate::store::new_store;

const MANIFEST: &str = r#"
    manifest = 1
    name = "guestbook"
    version = "0.1.0"

    [component.api]
    source = "api.wasm"

    [[trigger.http]]
    route = "/api/..."
    component = "api"
    [[trigger.http]]
    route = "/..."
    files = "public"
"#;

struct Bench {
    folder: TempDir,
    store: Store,
    app: App,
}

impl Bench {
    fn new() -> Self {
        let (folder, store) = new_store();
        fs::create_dir(folder.path().join("public")).unwrap();
        Self {
            folder,
            store,
            app: parse_app(MANIFEST, "wharf.toml").unwrap(),
        }
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.folder.path().join("public").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn pack(&self) -> Result<PackedApp, ArtifactError> {
        self.pack_to(&self.store)
    }

    fn pack_to(&self, store: &Store) -> Result<PackedApp, ArtifactError> {
        let files = [FilesDir {
            dir: AppPath::new("public").unwrap(),
            root: self.folder.path().join("public"),
        }];
        pack_app(store, &self.app, &api(), &files, "guestbook")
    }

    fn load(&self) -> AppArtifact {
        load_app(&self.store, "guestbook").unwrap()
    }
}

fn api() -> BTreeMap<ComponentName, ComponentSource> {
    let bytes = wat::parse_str("(component)").unwrap();
    BTreeMap::from([("api".parse().unwrap(), ComponentSource::Bytes(bytes))])
}

fn long_text() -> String {
    "a line that repeats itself\n".repeat(200)
}

fn content(blob: &Blob) -> Vec<u8> {
    let bytes = fs::read(&blob.path).unwrap();
    assert_eq!(
        (Digest::of(&bytes), bytes.len() as u64),
        (blob.digest, blob.size)
    );
    bytes
}

#[test]
fn an_app_comes_back_as_it_went_in() {
    let bench = Bench::new();
    bench
        .file("index.html", "<h1>hi</h1>")
        .file("css/site.css", long_text());
    let packed = bench.pack().unwrap();
    assert_eq!((packed.files, packed.warnings.len()), (2, 0));

    let loaded = bench.load();
    assert_eq!(
        loaded,
        load_app(&bench.store, &packed.digest.to_string()).unwrap()
    );
    assert_eq!(loaded.app, bench.app);
    assert_eq!(loaded.digest, packed.digest);
    assert_eq!(
        content(&loaded.components["api"]),
        wat::parse_str("(component)").unwrap()
    );
    let tree = &loaded.files[&AppPath::new("public").unwrap()];
    assert_eq!(
        tree.keys().collect::<Vec<_>>(),
        ["css/site.css", "index.html"]
    );
    assert_eq!(tree["index.html"].content_type, "text/html; charset=utf-8");
    assert_eq!(content(&tree["index.html"].identity), b"<h1>hi</h1>");
    assert!(
        tree["index.html"].variants.is_empty(),
        "too small to shrink"
    );

    let css = &tree["css/site.css"];
    assert_eq!(css.content_type, "text/css; charset=utf-8");
    let [(Encoding::Brotli, br), (Encoding::Gzip, gz)] = &css.variants[..] else {
        panic!("{:?}", css.variants)
    };
    let mut text = String::new();
    brotli::Decompressor::new(&content(br)[..], 4096)
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, long_text());
    text.clear();
    flate2::read::GzDecoder::new(&content(gz)[..])
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, long_text());
}

#[test]
fn the_same_inputs_give_the_same_digest() {
    let bench = Bench::new();
    for number in 0..40 {
        bench.file(&format!("{number}.txt"), long_text() + &number.to_string());
    }
    let first = bench.pack().unwrap();
    assert_eq!(bench.pack().unwrap(), first);
    let (_other_folder, other) = new_store();
    assert_eq!(bench.pack_to(&other).unwrap().digest, first.digest);
    bench.file("0.txt", "other");
    assert_ne!(bench.pack().unwrap().digest, first.digest);
}

/// The remembered form is used: a marked one shows up in the artifact.
#[test]
fn what_did_not_change_is_not_compressed_again() {
    let bench = Bench::new();
    bench.file("a.txt", long_text());
    bench.pack().unwrap();
    let mark = bench.store.put_bytes(b"marked").unwrap();
    let memory = bench.store.root().join(".wharf/compressed");
    for entry in fs::read_dir(memory).unwrap() {
        fs::write(entry.unwrap().path(), format!("{mark} 6")).unwrap();
    }
    bench.pack().unwrap();
    let tree = bench.load().files.into_values().next().unwrap();
    assert_eq!(tree["a.txt"].variants[0].1.digest, mark);

    // A memory of a blob that is gone is no memory.
    fs::remove_file(bench.store.blob_path(&mark)).unwrap();
    bench.pack().unwrap();
    let tree = bench.load().files.into_values().next().unwrap();
    assert_ne!(tree["a.txt"].variants[0].1.digest, mark);
}

#[test]
fn forms_that_lie_beside_are_taken_if_they_are_true() {
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let bench = Bench::new();
    let true_form = gzip(&long_text());
    bench
        .file("good.js", long_text())
        .file("good.js.gz", &true_form);
    bench
        .file("bad.js", long_text())
        .file("bad.js.gz", gzip("another text"));
    bench.file("bad.js.br", "no brotli");
    let packed = bench.pack().unwrap();
    assert_eq!(packed.warnings.len(), 1, "{:?}", packed.warnings);
    assert!(packed.warnings[0].contains("bad.js.br does not hold the same as"));

    let tree = bench.load().files.into_values().next().unwrap();
    assert_eq!(content(&tree["good.js"].variants[1].1), true_form);
    let mut text = String::new();
    let bad = content(&tree["bad.js"].variants[1].1);
    flate2::read::GzDecoder::new(&bad[..])
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, long_text());
    assert!(
        tree.contains_key("good.js.gz"),
        "a download of its own, too"
    );
}

#[test]
fn hidden_files_stay_out() {
    let bench = Bench::new();
    bench
        .file(".env", "SECRET=1")
        .file(".git/config", "x")
        .file("a/.DS_Store", "x");
    bench
        .file(".well-known/security.txt", "Contact: a@b")
        .file("a/b.txt", "x");
    bench.pack().unwrap();
    let tree = bench.load().files.into_values().next().unwrap();
    assert_eq!(
        tree.keys().collect::<Vec<_>>(),
        [".well-known/security.txt", "a/b.txt"]
    );
}

#[cfg(unix)]
#[test]
fn links_stay_inside() {
    use std::os::unix::fs::symlink;
    let bench = Bench::new();
    bench.file("real/a.txt", "a");
    let public = bench.folder.path().join("public");
    symlink("real/a.txt", public.join("link.txt")).unwrap();
    symlink("real", public.join("again")).unwrap();
    bench.pack().unwrap();
    let tree = bench.load().files.into_values().next().unwrap();
    assert_eq!(
        tree.keys().collect::<Vec<_>>(),
        ["again/a.txt", "link.txt", "real/a.txt"]
    );

    let refused = |target: &Path, name: &str, expected: &str| {
        let link = public.join(name);
        symlink(target, &link).unwrap();
        let error = bench.pack().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        fs::remove_file(link).unwrap();
    };
    refused(
        Path::new("/etc/passwd"),
        "out",
        "it links to a place outside the folder",
    );
    refused(
        Path::new("../../.."),
        "up",
        "it links to a place outside the folder",
    );
    refused(
        Path::new("."),
        "circle",
        "it links to a folder that it lies in",
    );
    refused(Path::new("nowhere"), "broken", "No such file");
}

#[test]
fn limits_are_told() {
    let bench = Bench::new();
    let path = bench.folder.path().join("public/huge.bin");
    let file = fs::File::create(&path).unwrap();
    file.set_len(wharf_artifact::FILE_BYTES_MAX + 1).unwrap();
    let error = bench.pack().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("exceed the limit of 256 MiB a file"),
        "{error}"
    );
    fs::remove_file(path).unwrap();

    for number in 0..=wharf_artifact::FILE_COUNT_MAX {
        fs::File::create(bench.folder.path().join(format!("public/{number}"))).unwrap();
    }
    let error = bench.pack().unwrap_err();
    assert!(error.to_string().contains("more than 20000"), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn parts_must_fit_the_app() {
    let bench = Bench::new();
    let check = |components: &BTreeMap<_, _>, files: &[FilesDir], expected: &str| {
        let error = pack_app(&bench.store, &bench.app, components, files, "x").unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let public = FilesDir {
        dir: AppPath::new("public").unwrap(),
        root: bench.folder.path().join("public"),
    };
    check(
        &BTreeMap::new(),
        &[],
        "the code of component `api` is missing",
    );
    check(&api(), &[], "the files of `public` are missing");
    check(&api(), &[public.clone(), public.clone()], "given twice");
    let mut more = api();
    more.insert("other".parse().unwrap(), ComponentSource::Bytes(Vec::new()));
    check(
        &more,
        std::slice::from_ref(&public),
        "it has no component `other`",
    );
    let mut absent = api();
    absent.insert(
        "api".parse().unwrap(),
        ComponentSource::File("no/such/file".into()),
    );
    check(&absent, &[public], "reading no/such/file");
    assert!(bench.store.tags().unwrap().is_empty());
}

/// Changes the manifest of a packed app as `change` says, and loads what comes out.
fn loaded_after(bench: &Bench, change: impl FnOnce(&mut serde_json::Value)) -> ArtifactError {
    let packed = bench.pack().unwrap();
    let bytes = bench.store.read_blob(&packed.digest, 1 << 20).unwrap();
    let mut manifest = serde_json::from_slice(&bytes).unwrap();
    change(&mut manifest);
    let digest = bench
        .store
        .put_bytes(manifest.to_string().as_bytes())
        .unwrap();
    load_app(&bench.store, &digest.to_string()).unwrap_err()
}

#[test]
fn bad_artifacts_are_refused() {
    let bench = Bench::new();
    bench.file("a.txt", "a");
    let check = |expected: &str, change: fn(&mut serde_json::Value)| {
        let error = loaded_after(&bench, change);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some(), "{error}");
    };
    check("an artifact of the type `x/y`", |m| {
        m["artifactType"] = "x/y".into()
    });
    check("a config of the unknown type `x/y`", |m| {
        m["config"]["mediaType"] = "x/y".into()
    });
    check("a layer of the unknown type `x/y`", |m| {
        m["layers"][0]["mediaType"] = "x/y".into()
    });
    check("its manifest cannot be read", |m| m["layers"] = 1.into());
    check("its manifest cannot be read", |m| {
        m["layers"][0]["digest"] = "md5:1".into()
    });
    bench.store.put_bytes(b"eleven byte").unwrap();
    check("is damaged: it has 11 bytes, not 12", |m| {
        assert_eq!(m["layers"][0]["size"], 8);
        m["layers"][0]["size"] = 12.into();
        m["layers"][0]["digest"] = Digest::of(b"eleven byte").to_string().into();
    });
    check("is not in the store", |m| {
        m["layers"][0]["digest"] = Digest::of(b"never stored").to_string().into();
    });
    check("lacks the annotation `dev.wharf.component`", |m| {
        m["layers"][0]["annotations"] = serde_json::json!({});
    });
    check("no name for a component", |m| {
        m["layers"][0]["annotations"]["dev.wharf.component"] = "No Name".into();
    });
    check("component `api` is missing", |m| {
        drop(m["layers"].as_array_mut().unwrap().remove(0))
    });
    check("is no path inside an app", |m| {
        m["layers"][1]["annotations"]["dev.wharf.path"] = "../../etc/passwd".into();
    });
    check("is no path inside an app", |m| {
        m["layers"][1]["annotations"]["dev.wharf.path"] = "a//b".into();
    });
    check("no valid content type", |m| {
        m["layers"][1]["annotations"]["dev.wharf.type"] = "text/html\r\nx: y".into();
    });
    check("has a compressed form only", |m| {
        m["layers"][1]["annotations"]["dev.wharf.encoding"] = "br".into();
    });
    check("it holds file `a.txt` twice", |m| {
        let layer = m["layers"][1].clone();
        m["layers"].as_array_mut().unwrap().push(layer);
    });
}

#[test]
fn damaged_blobs_are_told() {
    let bench = Bench::new();
    let packed = bench.pack().unwrap();
    let loaded = bench.load();
    fs::write(&loaded.components["api"].path, "torn").unwrap();
    let error = load_app(&bench.store, "guestbook").unwrap_err();
    assert!(
        matches!(error, ArtifactError::Store(StoreError::WrongSize { .. })),
        "{error}"
    );

    fs::write(bench.store.blob_path(&packed.digest), "{}").unwrap();
    let error = load_app(&bench.store, "guestbook").unwrap_err();
    assert!(
        matches!(error, ArtifactError::Store(StoreError::CorruptBlob { .. })),
        "{error}"
    );

    let too_large = bench.store.put_bytes(&vec![b' '; (16 << 20) + 1]).unwrap();
    let error = load_app(&bench.store, &too_large.to_string()).unwrap_err();
    assert!(
        matches!(error, ArtifactError::Store(StoreError::TooLarge { .. })),
        "{error}"
    );
    let error = load_app(&bench.store, "nobody").unwrap_err();
    assert!(
        error.to_string().contains("holds nothing named `nobody`"),
        "{error}"
    );
}

#[test]
fn an_empty_folder_of_files_is_served_empty() {
    let bench = Bench::new();
    bench.pack().unwrap();
    assert!(bench.load().files[&AppPath::new("public").unwrap()].is_empty());
}

#[test]
fn what_an_app_needs_survives_collection() {
    let bench = Bench::new();
    bench.file("a.txt", long_text());
    bench.pack().unwrap();
    bench.store.put_bytes(b"loose").unwrap();
    let report = bench.store.gc(std::time::Duration::ZERO).unwrap();
    assert_eq!(report.removed, 1);
    let tree = bench.load().files.into_values().next().unwrap();
    assert_eq!(tree["a.txt"].variants.len(), 2);
}
