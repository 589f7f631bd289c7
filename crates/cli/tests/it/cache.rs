//! The code cache and the store: damaged, shared, unwritable, full.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use expect_test::expect;
use wharf_testkit::{Sandbox, Wasi, guests};

use crate::sandbox;

/// All files below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| {
            let path = entry.path();
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn code(sandbox: &Sandbox) -> Vec<PathBuf> {
    files_below(&sandbox.cache().join("code"))
}

/// A sandbox with a command at `cmd.wasm`, whose native code is cached.
fn warm(wasi: Wasi) -> Sandbox {
    let sandbox = sandbox();
    sandbox.copy(guests::command(wasi), "cmd.wasm");
    runs(&sandbox);
    assert_eq!(code(&sandbox).len(), 1);
    sandbox
}

#[track_caller]
fn runs(sandbox: &Sandbox) {
    let output = sandbox.wharf(["run", "cmd.wasm", "args", "fine"]);
    let output = output.expect_success();
    assert_eq!(&*output.stdout, "args\nfine\n");
    assert_eq!(&*output.stderr, "");
}

#[test]
fn damaged_native_code_is_made_again() {
    for wasi in [Wasi::P1, Wasi::P2] {
        let sandbox = warm(wasi);
        let [image] = &code(&sandbox)[..] else {
            panic!("one image");
        };
        let whole = fs::read(image).unwrap();
        let last = whole.len() - 1;
        let mut damaged: Vec<Vec<u8>> = [0, 100, whole.len() / 2, last - 40, last]
            .map(|offset| {
                let mut bytes = whole.clone();
                bytes[offset] ^= 1;
                bytes
            })
            .into();
        for length in [0, 1, 39, 40, whole.len() / 2, last] {
            damaged.push(whole[..length].to_vec());
        }
        damaged.push([&whole[..], b"more"].concat());
        for bytes in damaged {
            // An image is mapped while it runs: damage comes as another file, as a disk's would
            // after a restart.
            fs::remove_file(image).unwrap();
            fs::write(image, &bytes).unwrap();
            runs(&sandbox);
            assert_eq!(code(&sandbox), std::slice::from_ref(image));
            assert_ne!(fs::read(image).unwrap(), bytes, "it was made again");
        }
    }
}

#[test]
fn many_processes_share_a_cold_cache() {
    let sandbox = warm(Wasi::P2);
    fs::remove_dir_all(sandbox.cache()).unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| runs(&sandbox));
        }
    });
    assert_eq!(code(&sandbox).len(), 1, "one image, nothing half-made");
}

#[test]
fn the_cache_is_for_its_owner_alone() {
    let sandbox = warm(Wasi::P1);
    let folder = code(&sandbox)[0].parent().unwrap().to_owned();
    let mode = fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}

#[test]
fn without_a_place_for_the_cache_programs_still_run() {
    let sandbox = sandbox();
    sandbox.copy(guests::command(Wasi::P1), "cmd.wasm");
    let in_the_way = sandbox.put("file", "");
    let run = sandbox
        .command(["run", "cmd.wasm", "args", "fine"])
        .env("WHARF_CACHE_DIR", in_the_way.join("below"));
    let ran = run.output().expect_success();
    assert_eq!(ran.stdout, "args\nfine\n");
    expect![[r#"
        warning: native code is not kept: cannot use the code cache [PATH]: Not a directory (os error 20)
        hint: set WHARF_CACHE_DIR to a folder that can be written
    "#]].assert_eq(&without_paths(&sandbox, &ran.stderr));
}

/// `text` with `[PATH]` for every path in the sandbox: some hold random names.
fn without_paths(sandbox: &Sandbox, text: &str) -> String {
    let text = text.replace(&*sandbox.root().to_string_lossy(), "[ROOT]");
    let mut pieces = text.split("[ROOT]");
    let first = pieces.next().unwrap().to_owned();
    pieces.fold(first, |start, piece| {
        let end = piece.find([':', '\n', ' ']).unwrap_or(piece.len());
        start + "[PATH]" + &piece[end..]
    })
}

/// Runs `script` in `sh` with a disk of 256 KiB mounted at `small`, seen by nobody else. The
/// script has the command as `$wharf`. `None` where this machine lets us mount nothing.
fn with_small_disk(sandbox: &Sandbox, script: &str) -> Option<wharf_testkit::Output> {
    let probe = sandbox.program("unshare", ["--map-root-user", "--mount", "true"]);
    if probe.try_output()?.code != 0 {
        return None;
    }
    fs::create_dir_all(sandbox.work().join("small")).unwrap();
    let script = format!("set -e; mount -t tmpfs -o size=256k none small; {script}");
    let output = sandbox
        .program(
            "unshare",
            ["--map-root-user", "--mount", "sh", "-c", &script],
        )
        .env("wharf", sandbox.binary())
        .output();
    Some(output)
}

#[test]
fn a_full_disk_for_the_cache_costs_time_only() {
    let sandbox = sandbox();
    sandbox.copy(guests::command(Wasi::P2), "cmd.wasm");
    let script = "export WHARF_CACHE_DIR=$PWD/small; \
                  \"$wharf\" run cmd.wasm args fine; find small -type f ! -name '*.lock' >&2";
    if let Some(ran) = with_small_disk(&sandbox, script) {
        let ran = ran.expect_success();
        assert_eq!(ran.stdout, "args\nfine\n");
        expect![[r#"
            warning: native code is not kept: cannot write native code to [PATH]: No space left on device (os error 28)
            hint: free some space, or set WHARF_CACHE_DIR to another disk
        "#]].assert_eq(&without_paths(&sandbox, &ran.stderr));
    }
}

#[test]
fn a_full_disk_for_the_store_loses_nothing() {
    let sandbox = sandbox();
    sandbox.put("main.wat", "(module (func (export \"f\")))");
    sandbox.copy(guests::command(Wasi::P2), "big.wasm");
    let manifest = |source: &str| {
        format!(
            "manifest = 1\nname = \"tried\"\nversion = \"0.1.0\"\n\
             [component.main]\nsource = \"{source}\"\n"
        )
    };
    sandbox.put("wharf.toml", manifest("main.wat"));
    sandbox.put("big.toml", manifest("big.wasm"));
    let script = "export WHARF_STORE_DIR=$PWD/small/store; \
                  \"$wharf\" build >&2; \
                  \"$wharf\" inspect tried:0.1.0 > before; \
                  dd if=/dev/zero of=small/filler bs=1k 2>dd.log || true; \
                  cp big.toml wharf.toml; \
                  echo --- >&2; \
                  \"$wharf\" build && exit 9; \
                  echo --- >&2; \
                  \"$wharf\" inspect tried:0.1.0 > after; \
                  cmp before after; \
                  rm small/filler; \
                  \"$wharf\" build >&2";
    if let Some(output) = with_small_disk(&sandbox, script) {
        let output = output.expect_success();
        let parts: Vec<_> = output.stderr.split("---\n").collect();
        expect![[r#"
            reading main from [PATH]
            packing the app
            error: the disk is full: writing [PATH]: No space left on device (os error 28)
            hint: free some space or keep the store on another disk; nothing that was stored is lost
        "#]]
        .assert_eq(&without_paths(&sandbox, parts[1]));
        assert!(parts[2].contains("tried 0.1.0 built in"), "{output:?}");
    }
}
