use std::fs;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use wharf_artifact::{Descriptor, Store, StoreError};
use wharf_manifest::Digest;

pub(crate) fn new_store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    (folder, store)
}

fn descriptor(digest: Digest, size: usize) -> Descriptor {
    serde_json::from_value(serde_json::json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest,
        "size": size,
    }))
    .unwrap()
}

/// A manifest with one layer, tagged; returns both digests.
fn tagged(store: &Store, name: &str, layer: &[u8]) -> (Digest, Digest) {
    let layer_digest = store.put_bytes(layer).unwrap();
    let config = store.put_bytes(b"{}").unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": descriptor(config, 2),
        "layers": [descriptor(layer_digest, layer.len())],
    });
    // The layer is no manifest, whatever its descriptor says, unless its type is another.
    let manifest = manifest
        .to_string()
        .replace("manifest.v1+json", "layer.v1.tar");
    let digest = store.put_bytes(manifest.as_bytes()).unwrap();
    store.tag(name, descriptor(digest, manifest.len())).unwrap();
    (digest, layer_digest)
}

fn age(store: &Store, digest: &Digest, age: Duration) {
    let file = fs::File::options()
        .append(true)
        .open(store.blob_path(digest))
        .unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn it_is_an_oci_image_layout() {
    let (_folder, store) = new_store();
    let digest = store.put_bytes(b"hello").unwrap();
    let hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(digest.to_string(), format!("sha256:{hex}"));
    assert_eq!(
        fs::read(store.root().join("blobs/sha256").join(hex)).unwrap(),
        b"hello"
    );
    let layout = fs::read_to_string(store.root().join("oci-layout")).unwrap();
    assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
    store.tag("app:1", descriptor(digest, 5)).unwrap();
    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(store.root().join("index.json")).unwrap()).unwrap();
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["manifests"][0]["digest"], digest.to_string());
    let name = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    assert_eq!(name, "app:1");
}

#[test]
fn blobs_come_back_checked() {
    let (folder, store) = new_store();
    let source = folder.path().join("source");
    fs::write(&source, vec![7; 200_000]).unwrap();
    let blob = store.put_file(&source).unwrap();
    assert_eq!(blob.size, 200_000);
    assert_eq!(
        store.read_blob(&blob.digest, 200_000).unwrap(),
        vec![7; 200_000]
    );
    assert_eq!(store.verify_blob(&blob.digest).unwrap(), 200_000);
    assert!(matches!(
        store.read_blob(&blob.digest, 199_999),
        Err(StoreError::TooLarge { .. })
    ));

    fs::write(&blob.path, vec![8; 200_000]).unwrap();
    let error = store.read_blob(&blob.digest, 200_000).unwrap_err();
    assert!(matches!(error, StoreError::CorruptBlob { .. }), "{error}");
    assert!(matches!(
        store.verify_blob(&blob.digest),
        Err(StoreError::CorruptBlob { .. })
    ));
    fs::write(&blob.path, b"short").unwrap();
    let error = store.find_blob(&blob.digest, 200_000).unwrap_err();
    assert!(
        matches!(error, StoreError::WrongSize { found: 5, .. }),
        "{error}"
    );
    // Writing it again repairs a blob of the wrong size.
    store.put_file(&source).unwrap();
    store.verify_blob(&blob.digest).unwrap();

    let missing = Digest::of(b"never stored");
    assert!(matches!(
        store.open_blob(&missing),
        Err(StoreError::MissingBlob { .. })
    ));
}

#[test]
fn an_abandoned_writer_leaves_nothing() {
    let (_folder, store) = new_store();
    let mut writer = store.writer().unwrap();
    writer.write(b"half").unwrap();
    drop(writer);
    assert_eq!(
        fs::read_dir(store.root().join(".wharf/tmp"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        fs::read_dir(store.root().join("blobs/sha256"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn a_name_stands_for_one_manifest() {
    let (_folder, store) = new_store();
    let (first, _) = tagged(&store, "app:1", b"one");
    let (second, _) = tagged(&store, "app:1", b"two");
    tagged(&store, "other", b"three");
    assert_eq!(store.resolve("app:1").unwrap().digest, second);
    assert_eq!(store.resolve(&first.to_string()).unwrap().digest, first);
    let names: Vec<String> = store
        .tags()
        .unwrap()
        .into_iter()
        .map(|t| t.reference)
        .collect();
    assert_eq!(names, ["app:1", "other"]);
    assert!(store.untag("app:1").unwrap());
    assert!(!store.untag("app:1").unwrap());
    let error = store.resolve("app:1").unwrap_err();
    assert!(
        matches!(error, StoreError::UnknownReference { .. }),
        "{error}"
    );
}

#[test]
fn names_follow_the_grammar() {
    let (_folder, store) = new_store();
    let check = |name: &str, good: bool| {
        let tagged = store.tag(name, descriptor(Digest::of(b""), 0));
        assert_eq!(tagged.is_ok(), good, "{name}");
    };
    check("guestbook", true);
    check("ghcr.io/acme/guestbook:1.2.3+linux", true);
    check("a--b", true);
    check("", false);
    check("-a", false);
    check("a/", false);
    check("a/../b", false);
    check("a b", false);
    check("grüße", false);
    check(&Digest::of(b"").to_string(), false);
    check(&"a".repeat(255), true);
    check(&"a".repeat(256), false);
}

#[test]
fn a_damaged_index_is_told_and_kept() {
    let (_folder, store) = new_store();
    tagged(&store, "app", b"one");
    let path = store.root().join("index.json");
    for damage in [
        "{\"schemaVersion\":2,\"manif",
        "",
        "[]",
        r#"{"schemaVersion":9,"manifests":[]}"#,
    ] {
        fs::write(&path, damage).unwrap();
        let error = store
            .tag("other", descriptor(Digest::of(b""), 0))
            .unwrap_err();
        assert!(matches!(error, StoreError::CorruptIndex { .. }), "{error}");
        assert!(error.hint().unwrap().contains("blobs are untouched"));
        assert!(matches!(
            store.gc(Duration::ZERO),
            Err(StoreError::CorruptIndex { .. })
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), damage);
        let again = Store::open(store.root()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), damage);
        assert!(matches!(again.tags(), Err(StoreError::CorruptIndex { .. })));
    }
    assert!(
        fs::read_dir(store.root().join("blobs/sha256"))
            .unwrap()
            .count()
            > 2
    );
}

#[test]
fn other_tools_entries_stay() {
    let (_folder, store) = new_store();
    let digest = Digest::of(b"x");
    let text = format!(
        r#"{{"schemaVersion":2,"annotations":{{"made":"elsewhere"}},"manifests":[
            {{"mediaType":"application/octet-stream","digest":"{digest}","size":1}}]}}"#
    );
    fs::write(store.root().join("index.json"), text).unwrap();
    tagged(&store, "app", b"one");
    let text = fs::read_to_string(store.root().join("index.json")).unwrap();
    assert!(
        text.contains("elsewhere") && text.contains(&digest.to_string()),
        "{text}"
    );
}

#[test]
fn another_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: &str, expected: &str| {
        fs::write(folder.path().join("oci-layout"), text).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(
        r#"{"imageLayoutVersion":"2.0.0"}"#,
        "its layout version is `2.0.0`",
    );
    check("x", "names no layout version");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(Store::open(&file).is_err());
}

#[test]
fn collection_removes_what_nothing_needs() {
    let (_folder, store) = new_store();
    let hour = Duration::from_secs(3600);
    let (live_manifest, live_layer) = tagged(&store, "live", b"live layer");
    let (dead_manifest, dead_layer) = tagged(&store, "dead", b"dead layer");
    let young = store.put_bytes(b"of a writer at work").unwrap();
    store.untag("dead").unwrap();
    for digest in [&live_manifest, &live_layer, &dead_manifest, &dead_layer] {
        age(&store, digest, 2 * hour);
    }
    let unfinished = store.root().join(".wharf/tmp/1-1");
    let file = fs::File::create(&unfinished).unwrap();
    file.set_modified(SystemTime::now() - 2 * hour).unwrap();

    let report = store.gc(hour).unwrap();
    assert_eq!((report.removed, report.more), (3, false));
    assert!(store.has_blob(&live_manifest) && store.has_blob(&live_layer));
    assert!(!store.has_blob(&dead_manifest) && !store.has_blob(&dead_layer));
    assert!(store.has_blob(&young) && !unfinished.exists());
}

/// A writer that meets an old blob counts on it: its age must not end it before the tag.
#[test]
fn a_blob_that_is_wanted_again_is_young_again() {
    let (_folder, store) = new_store();
    let hour = Duration::from_secs(3600);
    let digest = store.put_bytes(b"old").unwrap();
    age(&store, &digest, 2 * hour);
    store.put_bytes(b"old").unwrap();
    assert_eq!(store.gc(hour).unwrap().removed, 0);
    assert!(store.has_blob(&digest));
}

#[test]
fn collection_stops_at_a_damaged_manifest() {
    let (_folder, store) = new_store();
    let (manifest, _) = tagged(&store, "app", b"layer");
    let loose = store.put_bytes(b"loose").unwrap();
    fs::write(store.blob_path(&manifest), "{}").unwrap();
    assert!(matches!(
        store.gc(Duration::ZERO),
        Err(StoreError::CorruptBlob { .. })
    ));
    assert!(store.has_blob(&loose));
}
