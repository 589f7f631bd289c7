//! What lies in files and comes from others: WebAssembly, and the store.

use std::cell::RefCell;

use wharf_artifact::{ComponentSource, Store, load_app, pack_app};
use wharf_fuzzkit::texts;
use wharf_manifest::{ComponentName, parse_app};

pub(crate) fn describe(bytes: &[u8]) {
    if let Ok(description) = wharf_artifact::describe(bytes) {
        // Nothing of it may drive a terminal.
        let shown = description.to_string();
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!shown.contains(control), "{shown:?}");
        let _ = serde_json::to_string(&description).expect("it is plain data");
    }
    let _ = wharf_artifact::validate(bytes);
}

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// A component that imports `a:b/c` with a function, and exports it.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0\x07\x0e\x01\x42\x02\x01\x40\0\x01\0\x04\0\x01f\x01\0\
    \x0a\x0a\x01\0\x05a:b/c\x05\0";

pub(crate) fn wasm_seeds() -> Vec<Vec<u8>> {
    let section = |id: u8, content: &[u8]| [&[id, content.len() as u8], content].concat();
    let module = [
        MODULE,
        &section(1, &[1, 0x60, 1, 0x7f, 1, 0x7f]),
        &section(2, b"\x01\x16wasi_snapshot_preview1\x07fd_read\0\0"),
        &section(3, &[1, 0]),
        &section(5, &[1, 1, 1, 2]),
        &section(7, b"\x01\x06_start\0\x01"),
        &section(10, &[1, 4, 0, 0x20, 0, 0x0b]),
        &section(0, b"\x09producers\x01\x08language\x01\x04Rust\x011"),
    ]
    .concat();
    let nested = [b"\0asm\x0d\0\x01\0".as_slice(), &section(1, &module[..60])].concat();
    vec![MODULE.to_vec(), module, COMPONENT.to_vec(), nested]
}

/// The list inside of a module's section, as it is; a reader of zlib is not ours.
pub(crate) fn dependencies(bytes: &[u8]) {
    let stored = stored_zlib(bytes);
    let mut length = Vec::new();
    let mut rest = stored.len() + 8;
    while rest > 0x7f {
        length.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    length.push(rest as u8);
    describe(&[MODULE, &[0], &length, b"\x07.dep-v0", &stored].concat());
}

pub(crate) fn dependency_seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"packages":[{"name":"a","version":"1.0.0","source":"crates.io","root":true,"dependencies":[1]},{"name":"b","version":"2","source":"local","kind":"build"}]}"#,
        r#"{"packages":[{"name":"\u001b[2J","version":""}]}"#,
    ])
}

/// The bytes as a zlib stream without compression.
fn stored_zlib(bytes: &[u8]) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(0xffff)];
    let length = bytes.len() as u16;
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(bytes);
    stream.extend((b << 16 | a).to_be_bytes());
    stream
}

/// One store for all inputs of a thread.
struct Place {
    folder: tempfile::TempDir,
    store: Store,
    /// The manifest of a small app that is in it.
    manifest: Vec<u8>,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let store = Store::open(folder.path().join("store")).expect("an empty folder");
        let text = "manifest = 1\nname = \"a\"\nversion = \"1.0.0\"\n[component.c]\nsource = \"c.wasm\"\n\
            [[trigger.http]]\nroute = \"/...\"\ncomponent = \"c\"\n";
        let app = parse_app(text, "wharf.toml").expect("the example is right");
        let name: ComponentName = "c".parse().expect("a name");
        let code = ComponentSource::Bytes(COMPONENT.to_vec());
        let packed = pack_app(&store, &app, &[(name, code)].into(), &[], "a:1.0.0")
            .expect("the example can be packed");
        let manifest = store
            .read_blob(&packed.digest, 1 << 20)
            .expect("it was just written");
        Place {
            folder,
            store,
            manifest,
        }
    }
}

thread_local! {
    static PLACE: RefCell<Place> = RefCell::new(Place::new());
}

/// The file that names what is in a store.
pub(crate) fn index(bytes: &[u8]) {
    PLACE.with_borrow(|place| {
        let path = place.folder.path().join("store/index.json");
        let whole = std::fs::read(&path).expect("every store has one");
        std::fs::write(&path, bytes).expect("there is room for temporary files");
        let _ = place.store.tags();
        let _ = place.store.resolve("a:1.0.0");
        let _ = load_app(&place.store, "a:1.0.0");
        std::fs::write(&path, whole).expect("there is room for temporary files");
    });
}

pub(crate) fn index_seeds() -> Vec<Vec<u8>> {
    PLACE.with_borrow(|place| {
        let path = place.folder.path().join("store/index.json");
        vec![std::fs::read(path).expect("every store has one")]
    })
}

/// An app's manifest in a store, in which its config and its layers are.
pub(crate) fn load(bytes: &[u8]) {
    PLACE.with_borrow(|place| {
        if let Ok(digest) = place.store.put_bytes(bytes) {
            let _ = load_app(&place.store, &digest.to_string());
            let _ = std::fs::remove_file(place.store.blob_path(&digest));
        }
    });
}

pub(crate) fn load_seeds() -> Vec<Vec<u8>> {
    PLACE.with_borrow(|place| vec![place.manifest.clone()])
}
