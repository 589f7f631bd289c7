//! Several processes at one store, and a process that may not write.

use std::process::{Command, Stdio};

use wharf_artifact::{Store, StoreError};

use crate::store::new_store;

const PROCESSES: usize = 4;
const TAGS: usize = 12;

/// The part of a child: named by the environment, and nothing in an ordinary run.
#[test]
fn as_a_child() {
    let Ok(root) = std::env::var("STORE_OF_CHILD") else {
        return;
    };
    let number: usize = std::env::var("NUMBER_OF_CHILD").unwrap().parse().unwrap();
    let store = Store::open(root).unwrap();
    if number == usize::MAX {
        return on_a_full_disk(&store);
    }
    for tag in 0..TAGS {
        // Half of the blobs are the same in all processes.
        let text = if tag % 2 == 0 {
            format!("{tag}")
        } else {
            format!("{number} {tag}")
        };
        let config = store.put_bytes(text.as_bytes()).unwrap();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "config": {"mediaType": "text/plain", "digest": config, "size": text.len()},
            "layers": [],
        })
        .to_string();
        let digest = store.put_bytes(manifest.as_bytes()).unwrap();
        let descriptor = serde_json::from_value(serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest,
            "size": manifest.len(),
        }));
        store
            .tag(&format!("tag-{number}-{tag}"), descriptor.unwrap())
            .unwrap();
        store.gc(std::time::Duration::from_secs(600)).unwrap();
    }
}

fn on_a_full_disk(store: &Store) {
    let error = store.put_bytes(&vec![1; 1 << 20]).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(
        error.to_string().starts_with("the disk is full: writing "),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("free some space"));
    store.put_bytes(b"a small one still fits").unwrap();
}

fn child(program: &str, store: &Store, number: usize) -> Command {
    let mut command = Command::new(program);
    command
        .env("STORE_OF_CHILD", store.root())
        .env("NUMBER_OF_CHILD", number.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

const ARGUMENTS: [&str; 3] = ["--exact", "processes::as_a_child", "--nocapture"];

#[test]
fn many_processes_share_a_store() {
    let (_folder, store) = new_store();
    let program = std::env::current_exe().unwrap();
    let children: Vec<_> = (0..PROCESSES)
        .map(|number| {
            child(program.to_str().unwrap(), &store, number)
                .args(ARGUMENTS)
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    let tags = store.tags().unwrap();
    assert_eq!(tags.len(), PROCESSES * TAGS);
    for tag in tags {
        store.verify_blob(&tag.descriptor.digest).unwrap();
    }
}

/// A limit on the size of files stands for the full disk: every user may set it, and the write
/// fails as it would there.
#[cfg(unix)]
#[test]
fn a_full_disk_is_named() {
    let (_folder, store) = new_store();
    let program = std::env::current_exe().unwrap();
    let output = child("sh", &store, usize::MAX)
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(program)
        .args(ARGUMENTS)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{errors}"
    );
    // The failed write left nothing behind.
    let unfinished = std::fs::read_dir(store.root().join(".wharf/tmp"))
        .unwrap()
        .count();
    assert_eq!(unfinished, 0);
}
