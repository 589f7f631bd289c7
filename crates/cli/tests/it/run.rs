//! `wharf run`: a program as if it were native, with nothing granted that was not given.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use expect_test::expect;
use wharf_testkit::{Output, Sandbox, Wasi, guests};

use crate::sandbox;

const ALL: [Wasi; 3] = [Wasi::P1, Wasi::P2, Wasi::P3];
/// Those that have the guest `cmd-args`, with all its words.
const WITH_FILES: [Wasi; 2] = [Wasi::P1, Wasi::P2];

/// A sandbox with a command in it, at `cmd.wasm`.
fn with_command(wasi: Wasi) -> Sandbox {
    let sandbox = sandbox();
    sandbox.copy(guests::command(wasi), "cmd.wasm");
    sandbox
}

/// Runs the command with flags of wharf and words of its own.
fn run(sandbox: &Sandbox, flags: &[&str], words: &[&str]) -> Output {
    let mut arguments = vec!["run"];
    arguments.extend(flags);
    arguments.extend(["cmd.wasm", "--"]);
    arguments.extend(words);
    sandbox.wharf(arguments)
}

#[test]
fn arguments_reach_the_program_as_they_are() {
    for wasi in ALL {
        let sandbox = with_command(wasi);
        let said = run(&sandbox, &[], &["args", "--flag", "a b", "", "ü", "--"]);
        let said = said.expect_success();
        assert_eq!(said.stdout, "args\n--flag\na b\n\nü\n--\n", "{wasi:?}");
        assert_eq!(said.stderr, "", "{wasi:?}");
        // What follows the file is the program's, with or without `--`.
        let said = sandbox.wharf(["run", "cmd.wasm", "args", "--time", "1s"]);
        assert_eq!(said.expect_success().stdout, "args\n--time\n1s\n");
    }
}

#[test]
fn bytes_pass_through_untouched() {
    let bytes: Vec<u8> = (0..=255_u8).cycle().take(1_000_003).collect();
    for wasi in ALL {
        let sandbox = with_command(wasi);
        let cat = sandbox.command(["run", "cmd.wasm", "cat"]);
        let said = cat.stdin(bytes.clone()).output().expect_success();
        assert!(said.stdout_bytes == bytes, "{wasi:?}");
    }
}

#[test]
fn standard_error_is_kept_apart() {
    for wasi in ALL {
        let said = run(&with_command(wasi), &[], &["stderr", "careful"]).expect_success();
        assert_eq!((&*said.stdout, &*said.stderr), ("", "careful\n"));
    }
}

#[test]
fn a_reader_that_leaves_ends_the_program() {
    let sandbox = with_command(Wasi::P1);
    let script = "\"$0\" run cmd.wasm args first second | head -n 1";
    let said = sandbox
        .program("sh", ["-c", script])
        .arg(sandbox.binary())
        .output();
    assert_eq!(said.expect_success().stdout, "args\n");
}

#[test]
fn the_exit_code_is_the_programs() {
    run(&with_command(Wasi::P1), &[], &["exit", "7"]).expect_code(7);
    run(&with_command(Wasi::P3), &[], &["exit", "7"]).expect_code(7);
    // Stable WASI 0.2 tells a host only that a program failed, not with which code.
    run(&with_command(Wasi::P2), &[], &["exit", "7"]).expect_code(1);
    for wasi in ALL {
        run(&with_command(wasi), &[], &["exit", "0"]).expect_success();
        run(&with_command(wasi), &[], &["no-such-word"]).expect_code(1);
    }
}

#[test]
fn every_exit_code_reaches_the_shell() {
    let sandbox = with_command(Wasi::P1);
    for code in [
        "1", "2", "42", "100", "124", "125", "126", "127", "134", "137", "255",
    ] {
        let ended = run(&sandbox, &[], &["exit", code]);
        let ended = ended.expect_code(code.parse().unwrap());
        assert_eq!(ended.stderr, "", "wharf has nothing to say to {code}");
    }
}

#[test]
fn nothing_is_in_the_environment_but_what_is_given() {
    for wasi in ALL {
        let sandbox = with_command(wasi);
        assert_eq!(run(&sandbox, &[], &["env"]).expect_success().stdout, "");
        let said = sandbox
            .command(["run", "--env", "A=1", "-e", "B", "--env", "C=x=y"])
            .arg("cmd.wasm")
            .arg("env")
            .env("B", "from the shell");
        let said = said.output().expect_success();
        assert_eq!(said.stdout, "A=1\nB=from the shell\nC=x=y\n", "{wasi:?}");
    }
    let missing = run(&with_command(Wasi::P1), &["--env", "NOT_THERE"], &["env"]);
    expect![[r#"
        error: `--env NOT_THERE`: this shell has no such variable
        hint: give it a value: `--env NOT_THERE=…`
    "#]]
    .assert_eq(&missing.expect_code(125).stderr);
}

#[test]
fn files_are_denied_and_the_flag_is_named() {
    for wasi in WITH_FILES {
        let sandbox = with_command(wasi);
        sandbox.put("note.txt", "mine");
        let denied = run(&sandbox, &[], &["read", "note.txt"]).expect_code(1);
        assert_eq!(denied.stdout, "", "{wasi:?}");
        assert!(denied.stderr.starts_with("error: "), "{denied:?}");
        let (_, ours) = denied.stderr.split_once('\n').unwrap();
        expect![[r#"
            warning: denied: files: it looked for a folder, and none is granted
            hint: grant it with `--dir .`
        "#]]
        .assert_eq(ours);
    }
}

#[test]
fn a_granted_folder_is_read_and_written() {
    for wasi in WITH_FILES {
        let sandbox = with_command(wasi);
        sandbox.put("data/note.txt", "mine");
        let grant = ["--dir", "data"];
        let read = run(&sandbox, &grant, &["read", "data/note.txt"]).expect_success();
        assert_eq!((&*read.stdout, &*read.stderr), ("mine", ""), "{wasi:?}");
        run(&sandbox, &grant, &["write", "data/new.txt", "hers"]).expect_success();
        let new = sandbox.work().join("data/new.txt");
        assert_eq!(fs::read_to_string(&new).unwrap(), "hers");
        let list = run(&sandbox, &grant, &["list", "data"]).expect_success();
        assert_eq!(list.stdout, "new.txt\nnote.txt\n");
        run(&sandbox, &grant, &["remove", "data/new.txt"]).expect_success();
        assert!(!new.exists());
    }
}

/// nextpnr reads a database of 93 MB so, and died of an exception.
#[test]
fn a_large_file_is_read_and_written_in_one_call() {
    const LENGTH: u64 = 70 << 20;
    let sandbox = sandbox();
    sandbox.put("copy.wat", COPY_AT_ONCE);
    let large = sandbox.put("large", "");
    let mut file = fs::OpenOptions::new().write(true).open(large).unwrap();
    file.seek(SeekFrom::Start(LENGTH - 3)).unwrap();
    file.write_all(b"end").unwrap();
    let said = sandbox.wharf(["run", "copy.wat", "--dir", "."]);
    said.expect_success();
    let copy = fs::read(sandbox.work().join("copy")).unwrap();
    assert_eq!(copy.len() as u64, LENGTH);
    assert!(copy.ends_with(b"\0end"));
}

/// Copies 70 MiB from `large` to `copy` with one read and one write; its exit code is the first
/// call's errno that is not 0, or 99 after a short count.
const COPY_AT_ONCE: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1200)
  ;; One buffer: where it begins, 64 KiB, and its length.
  (data (i32.const 0) "\00\00\01\00" "\00\00\60\04")
  (data (i32.const 16) "large" "copy")
  (func $check (param $errno i32)
    (if (local.get $errno) (then (call $exit (local.get $errno)))))
  (func $check_count
    (if (i32.ne (i32.load (i32.const 12)) (i32.const 0x4600000)) (then (call $exit (i32.const 99)))))
  (func (export "_start")
    (call $check (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))
    (call $check (call $read (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 12)))
    (call $check_count)
    (call $check (call $open (i32.const 3) (i32.const 0) (i32.const 21) (i32.const 4) (i32.const 1)
      (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 8)))
    (call $check (call $write (i32.load (i32.const 8)) (i32.const 0) (i32.const 1) (i32.const 12)))
    (call $check_count)))
"#;

#[test]
fn a_folder_has_the_name_that_it_is_given() {
    for wasi in WITH_FILES {
        let sandbox = with_command(wasi);
        sandbox.put("data/note.txt", "mine");
        let read = run(&sandbox, &["--dir", "data::/"], &["read", "/note.txt"]);
        assert_eq!(read.expect_success().stdout, "mine");
        let read = run(
            &sandbox,
            &["--dir", "data::/in:ro"],
            &["read", "/in/note.txt"],
        );
        assert_eq!(read.expect_success().stdout, "mine");
        run(
            &sandbox,
            &["--dir", "data::/in"],
            &["read", "data/note.txt"],
        )
        .expect_code(1);
    }
}

#[test]
fn a_read_only_folder_is_not_changed() {
    for wasi in WITH_FILES {
        let sandbox = with_command(wasi);
        let note = sandbox.put("data/note.txt", "mine");
        let grant = ["--dir", "data:ro"];
        let read = run(&sandbox, &grant, &["read", "data/note.txt"]).expect_success();
        assert_eq!(read.stdout, "mine");
        for words in [
            &["write", "data/note.txt", "hers"][..],
            &["write", "data/new.txt", "hers"],
            &["remove", "data/note.txt"],
        ] {
            let refused = run(&sandbox, &grant, words).expect_code(1);
            let (_, ours) = refused.stderr.split_once('\n').unwrap();
            expect![[r#"
                warning: denied: writing to `data`, which is granted read-only
                hint: grant it with `--dir data`
            "#]]
            .assert_eq(ours);
        }
        assert_eq!(fs::read_to_string(note).unwrap(), "mine");
        assert_eq!(
            fs::read_dir(sandbox.work().join("data")).unwrap().count(),
            1
        );
    }
}

#[test]
fn the_folder_that_refused_a_write_is_named() {
    for wasi in WITH_FILES {
        let sandbox = with_command(wasi);
        sandbox.put("one/deep/note.txt", "mine");
        sandbox.put("two/note.txt", "mine");
        let grants = ["--dir", "one::/a:ro", "--dir", "two::/b:ro", "--dir", "."];
        let warning = |path: &str| {
            let refused = run(&sandbox, &grants, &["write", path, "x"]).expect_code(1);
            refused
                .stderr
                .lines()
                .skip(1)
                .collect::<Vec<_>>()
                .join("\n")
        };
        expect![[r#"
            warning: denied: writing to `/b`, which is granted read-only
            hint: grant it with `--dir two::/b`"#]]
        .assert_eq(&warning("/b/new.txt"));
        expect![[r#"
            warning: denied: writing to `/a`, which is granted read-only
            hint: grant it with `--dir one::/a`"#]]
        .assert_eq(&warning("/a/deep/note.txt"));
        // Another refusal of the same kind has another reason.
        assert_eq!(warning("/c/new.txt"), "");
        run(&sandbox, &grants, &["write", "new.txt", "x"]).expect_success();
    }
}

#[test]
fn no_path_leads_out_of_a_granted_folder() {
    for wasi in WITH_FILES {
        let sandbox = with_command(wasi);
        let secret = sandbox.put("secret.txt", "hidden");
        sandbox.put("data/note.txt", "mine");
        let link = |name: &str, to: &Path| {
            std::os::unix::fs::symlink(to, sandbox.work().join("data").join(name)).unwrap();
        };
        link("relative", Path::new("../secret.txt"));
        link("absolute", &secret);
        link("up", Path::new(".."));
        for path in [
            "data/../secret.txt",
            "data/../data/../secret.txt",
            "data/relative",
            "data/absolute",
            "data/up/secret.txt",
            "secret.txt",
            secret.to_str().unwrap(),
        ] {
            let read = run(&sandbox, &["--dir", "data"], &["read", path]).expect_code(1);
            assert_eq!(read.stdout, "", "{wasi:?} {path}");
            run(&sandbox, &["--dir", "data"], &["write", path, "spoilt"]).expect_code(1);
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "hidden");
    }
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let sandbox = with_command(Wasi::P1);
    let missing = run(&sandbox, &["--dir", "nowhere"], &["args"]).expect_code(125);
    expect![[r#"
        error: cannot open the granted folder [ROOT]/work/nowhere: No such file or directory (os error 2)
        hint: make the folder, or correct the grant
    "#]]
    .assert_eq(&sandbox.redact(&missing.stderr));
    let none = run(&sandbox, &["--dir", "::/data"], &["args"]).expect_code(125);
    expect![[r#"
        error: `--dir ::/data` names no folder
        hint: write it as `--dir HOST`, `--dir HOST::GUEST` or `--dir HOST::GUEST:ro`
    "#]]
    .assert_eq(&none.stderr);
}

#[test]
fn sockets_reach_what_was_granted_only() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            stream.write_all(text.to_uppercase().as_bytes()).unwrap();
        }
    });
    let sandbox = with_command(Wasi::P2);
    let connect = ["connect", &address, "hello"];

    let denied = run(&sandbox, &[], &connect).expect_code(1);
    expect![[r#"
        error: Permission denied (os error 2)
        warning: denied: connecting to tcp://127.0.0.1:[PORT]
        hint: grant it with `--net tcp://127.0.0.1:[PORT]`
    "#]]
    .assert_eq(&sandbox.redact(&denied.stderr));
    run(&sandbox, &["--net", "127.0.0.1:1"], &connect)
        .expect_code(1)
        .expect_stderr(&format!("hint: grant it with `--net tcp://{address}`\n"));
    for grant in [&*address, &format!("tcp://{address}"), "127.0.0.1:*", "*"] {
        let answered = run(&sandbox, &["--net", grant], &connect).expect_success();
        assert_eq!(
            (&*answered.stdout, &*answered.stderr),
            ("HELLO", ""),
            "{grant}"
        );
    }
}

#[test]
fn a_loop_ends_with_its_time() {
    for wasi in WITH_FILES {
        let ended = run(&with_command(wasi), &["--time", "300ms"], &["loop"]).expect_code(124);
        expect![[r#"
            error: time limit of 300ms met
            hint: give it more with `--time`
        "#]]
        .assert_eq(&ended.stderr);
    }
    for wasi in [Wasi::P2, Wasi::P3] {
        run(
            &with_command(wasi),
            &["--time", "300ms"],
            &["sleep", "600000"],
        )
        .expect_code(124);
    }
}

/// What a call names outside the program's memory is refused; nothing is set aside for it.
#[test]
fn more_subscriptions_than_memory_holds_are_refused() {
    let sandbox = sandbox();
    let module = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff"
            (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (call $exit
                (call $poll (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0)))))"#;
    sandbox.put("poll.wat", module);
    const FAULT: i32 = 21;
    sandbox.wharf(["run", "poll.wat"]).expect_code(FAULT);
}

/// As a shell does on Ctrl-C; 130 is how it sees a program that the signal ended.
#[test]
fn an_interrupt_ends_it_at_once() {
    let interrupt = ["timeout", "--preserve-status", "--signal=INT"];
    let interrupt = || interrupt.into_iter().chain(["--kill-after=30", "1"]);
    for wasi in ALL {
        let sandbox = with_command(wasi);
        let word: &[&str] = if wasi == Wasi::P1 {
            &["loop"]
        } else {
            &["sleep", "600000"]
        };
        // So that it is compiled by then.
        run(&sandbox, &["--time", "10ms"], word).expect_code(124);
        let arguments = ["run", "cmd.wasm", "--"].iter().chain(word);
        let ended = sandbox.command(arguments).through(interrupt()).output();
        assert_eq!(ended.expect_code(130).stderr, "", "{wasi:?}");
    }
}

#[test]
fn a_start_function_that_never_ends_is_ended() {
    let sandbox = sandbox();
    sandbox.put(
        "cmd.wasm.wat",
        "(module (func $never (loop (br 0))) (start $never) (func (export \"_start\")))",
    );
    sandbox
        .wharf(["run", "--time", "300ms", "cmd.wasm.wat"])
        .expect_code(124)
        .expect_stderr("time limit of 300ms met");
}

#[test]
fn memory_has_its_limit() {
    for wasi in WITH_FILES {
        let ended = run(&with_command(wasi), &["--memory", "64MiB"], &["oom"]).expect_code(137);
        let ours = ended.stderr.split("error: ").last().unwrap();
        expect![[r#"
            memory limit of 64MiB met
            hint: raise it with `limits.memory` in wharf.toml (`--memory` for `wharf run`)
        "#]]
        .assert_eq(ours);
    }
}

#[test]
fn a_panic_is_told_with_its_backtrace() {
    for wasi in WITH_FILES {
        let ended = run(&with_command(wasi), &[], &["panic"]).expect_code(134);
        for part in ["on purpose", "wasm backtrace:", "error: the guest aborted"] {
            assert!(ended.stderr.contains(part), "{part}: {ended:?}");
        }
    }
}

#[test]
fn an_app_with_a_command_runs_with_its_own_grants() {
    let sandbox = with_command(Wasi::P2);
    sandbox.put("data/note.txt", "mine");
    sandbox.put(
        "wharf.toml",
        "manifest = 1\nname = \"teller\"\nversion = \"0.1.0\"\n\
         [component.main]\nsource = \"cmd.wasm\"\n\
         [component.main.grants]\nfiles = [\"data:/in\"]\n\
         [trigger.command]\ncomponent = \"main\"\n",
    );
    let read = sandbox.wharf(["run", ".", "--", "read", "/in/note.txt"]);
    assert_eq!(read.expect_success().stdout, "mine");
    let refused = sandbox.wharf(["run", ".", "--", "write", "/in/note.txt", "hers"]);
    let refused = refused.expect_code(1);
    let (_, ours) = refused.stderr.split_once('\n').unwrap();
    expect![[r#"
        warning: denied: writing to `/in`, which is granted read-only
        hint: grant it with `--dir data::/in`
    "#]]
    .assert_eq(ours);
    // A flag takes the place of what the manifest says.
    let flags = ["run", "--dir", "data::/in", ".", "--", "write"];
    let written = flags.into_iter().chain(["/in/note.txt", "hers"]);
    sandbox.wharf(written).expect_success();
}
