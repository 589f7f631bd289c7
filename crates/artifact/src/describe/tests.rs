#![allow(clippy::unwrap_used)]

use super::*;

const P1_COMMAND: &str = r#"
    (module
      (import "wasi_snapshot_preview1" "environ_get" (func (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "path_open"
        (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "sock_open" (func (param i32) (result i32)))
      (import "env" "log" (func (param f64)))
      (memory (export "memory") 1 16)
      (data (i32.const 0) "hello")
      (func (export "_start"))
      (@custom "note" "12345"))"#;

const P2_HTTP: &str = r#"
    (component
      (import "wasi:http/outgoing-handler@0.2.6" (instance $out (export "handle" (func))))
      (import "wasi:http/types@0.2.6" (instance (export "http-error-code" (func))))
      (import "wasi:cli/environment@0.2.6" (instance $env (export "get-environment" (func))))
      (import "wasi:cli/exit@0.2.6" (instance $exit (export "exit" (func))))
      (import "wasi:filesystem/preopens@0.2.6"
        (instance $preopens (export "get-directories" (func))))
      (import "acme:pricing/quote@1.0.0" (instance (export "quote" (func (result u32)))))
      (alias export $env "get-environment" (func $get-environment))
      (alias export $exit "exit" (func $exit-func))
      (alias export $out "handle" (func $send))
      (alias export $preopens "get-directories" (func $dirs))
      (core func $lowered (canon lower (func $send)))
      (core module $m (import "" "send" (func)) (func (export "handle") (call 0)))
      (core instance $host (export "send" (func $lowered)))
      (core instance $i (instantiate $m (with "" (instance $host))))
      (func $handle (canon lift (core func $i "handle")))
      (instance $handler (export "handle" (func $handle)))
      (export "wasi:http/incoming-handler@0.2.6" (instance $handler)))"#;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn described(text: &str) -> Description {
    describe(&wasm(text)).unwrap()
}

#[test]
fn a_wasi_01_command_is_told() {
    let found = described(P1_COMMAND);
    assert_eq!(
        (found.kind, found.role, found.command),
        (Kind::Module, Role::Command, true)
    );
    assert_eq!(found.wasi.iter().collect::<Vec<_>>(), ["0.1"]);
    assert_eq!(found.http, None);
    assert!(!found.imports_p2 && !found.imports_only_async_p3);
    assert_eq!(found.standing(AuthorityKind::Files), Standing::Asked);
    assert_eq!(
        found.standing(AuthorityKind::Environment),
        Standing::Runtime
    );
    assert_eq!(found.standing(AuthorityKind::Clock), Standing::No);
    // A function that WASI 0.1 does not have is as foreign as another module's.
    assert_eq!(
        found.other_imports,
        ["env log", "wasi_snapshot_preview1 sock_open"]
    );
    assert_eq!(found.imports[4].ty, "func(f64)");
    assert_eq!(found.exports[0].ty, "memory 1..=16");
}

#[test]
fn a_wasi_02_handler_is_told() {
    let found = described(P2_HTTP);
    assert_eq!(
        (found.kind, found.role),
        (Kind::Component, Role::HttpHandler)
    );
    assert_eq!((found.http, found.command), (Some(HttpVersion::P2), false));
    assert!(found.imports_p2);
    assert_eq!(found.core_modules, 1);
    assert_eq!(found.other_imports, ["acme:pricing/quote@1.0.0"]);
    assert_eq!(
        found.authority_summary(),
        "outgoing HTTP; no files; no sockets; `acme:pricing/quote@1.0.0`"
    );
    assert_eq!(found.standing(AuthorityKind::Files), Standing::Runtime);
    assert_eq!(
        found.standing(AuthorityKind::Environment),
        Standing::Runtime
    );
    let wit = found.wit.unwrap();
    assert!(
        wit.contains("import wasi:http/outgoing-handler@0.2.6;"),
        "{wit}"
    );
    assert!(wit.contains("quote: func() -> u32;"), "{wit}");
}

#[test]
fn types_alone_are_no_authority() {
    let found = described(
        r#"(component
             (import "wasi:filesystem/types@0.2.6" (instance (export "d" (type (sub resource)))
               (export "[method]d.open-at" (func (param "self" (borrow 0))))))
             (import "wasi:sockets/tcp-create-socket@0.2.6"
               (instance (export "create-tcp-socket" (func)))))"#,
    );
    assert_eq!(
        found.authority_summary(),
        "no outgoing HTTP; no files; no sockets"
    );
    assert_eq!((found.role, found.imports_p2), (Role::Library, true));
}

/// Without a language runtime inside, reading the environment is the program's own wish.
#[test]
fn without_a_runtime_every_call_is_asked() {
    let found = described(
        r#"(component
             (import "wasi:cli/environment@0.2.0"
               (instance $env (export "get-environment" (func))))
             (alias export $env "get-environment" (func)))"#,
    );
    assert_eq!(found.standing(AuthorityKind::Environment), Standing::Asked);
}

#[test]
fn a_composition_is_judged_at_its_outer_edge() {
    let inner = r#"
        (component $inner
          (import "wasi:sockets/udp-create-socket@0.2.0"
            (instance $udp (export "create-udp-socket" (func))))
          (alias export $udp "create-udp-socket" (func)))"#;
    let answered_inside = described(&format!(
        r#"(component {inner}
             (component $virtual
               (core module $m (func (export "f")))
               (core instance $i (instantiate $m))
               (func $f (canon lift (core func $i "f")))
               (instance $udp (export "create-udp-socket" (func $f)))
               (export "udp" (instance $udp)))
             (instance $v (instantiate $virtual))
             (alias export $v "udp" (instance $udp))
             (instance (instantiate $inner
               (with "wasi:sockets/udp-create-socket@0.2.0" (instance $udp)))))"#
    ));
    assert_eq!(
        answered_inside.standing(AuthorityKind::Sockets),
        Standing::No
    );

    let passed_on = described(&format!(
        r#"(component
             (import "wasi:sockets/udp-create-socket@0.2.6"
               (instance $udp (export "create-udp-socket" (func))))
             {inner}
             (instance (instantiate $inner
               (with "wasi:sockets/udp-create-socket@0.2.0" (instance $udp)))))"#
    ));
    assert_eq!(passed_on.standing(AuthorityKind::Sockets), Standing::Asked);

    let renamed = described(
        r#"(component
             (import "wasi:sockets/udp-create-socket@0.2.6"
               (instance $udp (export "create-udp-socket" (func))))
             (component $inner (import "dep" (instance $d (export "create-udp-socket" (func))))
               (alias export $d "create-udp-socket" (func)))
             (instance (instantiate $inner (with "dep" (instance $udp)))))"#,
    );
    assert_eq!(renamed.standing(AuthorityKind::Sockets), Standing::Asked);
}

#[test]
fn imports_that_no_host_answers_are_named() {
    let found = described(
        r#"(component
             (import "wasi:http/handler@0.3.0" (instance (export "handle" (func))))
             (import "wasi:keyvalue/store@0.2.0-draft" (instance (export "open" (func))))
             (import "wasi:threads/spawn@0.1.0" (instance (export "spawn" (func))))
             (import "log" (func (param "text" string))))"#,
    );
    assert_eq!(
        found.other_imports,
        ["log", "wasi:http/handler@0.3.0", "wasi:threads/spawn@0.1.0"]
    );
}

#[test]
fn async_only_is_told() {
    let check = |import: &str, expected: bool| {
        let found = described(&format!(r#"(component {import})"#));
        assert_eq!(found.imports_only_async_p3, expected, "{import}");
    };
    check("", true);
    check(
        r#"(import "wasi:clocks/monotonic-clock@0.3.0" (instance (export "now" (func))))"#,
        true,
    );
    check(
        r#"(import "wasi:clocks/monotonic-clock@0.2.6" (instance (export "now" (func))))"#,
        false,
    );
    check(
        r#"(import "wasi:keyvalue/store@0.3.0" (instance (export "open" (func))))"#,
        false,
    );
    check(
        r#"(import "wharf:keyvalue/store@0.1.0" (instance (export "open" (func))))"#,
        false,
    );
    check(
        r#"(import "wharf:keyvalue/store@0.1.0" (instance (export "open" (func async))))"#,
        true,
    );
    assert!(!described(P1_COMMAND).imports_only_async_p3);
}

#[test]
fn wasi_03_and_its_drafts_are_told() {
    let handler = |version: &str| {
        described(&format!(
            r#"(component
                 (core module $m (func (export "f")))
                 (core instance $i (instantiate $m))
                 (func $f (canon lift (core func $i "f")))
                 (instance $h (export "handle" (func $f)))
                 (export "wasi:http/handler@{version}" (instance $h))
                 (export "wasi:cli/run@{version}" (instance $h)))"#
        ))
    };
    let found = handler("0.3.0");
    assert_eq!((found.http, found.command), (Some(HttpVersion::P3), true));
    let draft = handler("0.3.0-rc-2025-09-16");
    assert_eq!((draft.http, draft.command), (None, false));
    assert!(
        draft.notes[0].contains("draft of WASI 0.3 (0.3.0-rc-2025-09-16)"),
        "{:?}",
        draft.notes
    );
}

#[test]
fn features_are_told() {
    let check = |module: &str, expected: Features| {
        assert_eq!(described(module).features, expected, "{module}");
    };
    let none = Features::default();
    check("(module (memory 1))", none);
    check(
        "(module (memory i64 1))",
        Features {
            memory64: true,
            ..none
        },
    );
    check(
        "(module (memory 1 2 shared))",
        Features {
            threads: true,
            ..none
        },
    );
    check(
        "(module (type (struct (field i32))))",
        Features { gc: true, ..none },
    );
    check(
        "(module (tag))",
        Features {
            exceptions: true,
            ..none
        },
    );
    check(
        "(component (core module (memory i64 1)))",
        Features {
            memory64: true,
            ..none
        },
    );
}

#[test]
fn sizes_add_up() {
    for text in [P1_COMMAND, P2_HTTP] {
        let size = described(text).size;
        assert_eq!(size.sum() + size.other, size.total);
        assert_eq!(size.total, wasm(text).len() as u64);
        assert!(size.code > 0);
    }
    // A name of four bytes, its length, five bytes.
    assert_eq!(described(P1_COMMAND).size.custom["note"], 10);
}

#[test]
fn dependencies_and_producers_are_read() {
    use std::io::Write as _;
    let json = br#"{"packages":[
        {"name":"app","version":"0.1.0","source":"local","root":true,"dependencies":[1]},
        {"name":"serde","version":"1.0.1","source":"crates.io"},
        {"name":"cc","version":"1.2.3","source":"crates.io","kind":"build"}]}"#;
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(json).unwrap();
    let escaped: String = zlib
        .finish()
        .unwrap()
        .iter()
        .map(|b| format!("\\{b:02x}"))
        .collect();
    let found = described(&format!(
        r#"(module (@custom ".dep-v0" "{escaped}")
             (@producers (language "Rust" "") (processed-by "rustc" "1.95.0")))"#
    ));
    let names: Vec<&str> = found.dependencies.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["cc", "serde"]);
    assert!(found.dependencies[0].build_only);
    assert!(found.producers["language"].contains("Rust"));
    assert!(found.producers["processed-by"].contains("rustc 1.95.0"));

    let broken = described(r#"(module (@custom ".dep-v0" "no zlib") (@custom "producers" "\ff"))"#);
    assert!(broken.dependencies.is_empty() && broken.producers.is_empty());
}

#[test]
fn an_interpreter_is_named() {
    let found = described(
        r#"(component
             (@producers (processed-by "componentize-py" "0.25.1"))
             (import "wasi:sockets/tcp-create-socket@0.2.0"
               (instance $tcp (export "create-tcp-socket" (func))))
             (alias export $tcp "create-tcp-socket" (func)))"#,
    );
    assert_eq!(found.standing(AuthorityKind::Sockets), Standing::Runtime);
    assert!(found.notes[0].contains("CPython"));
}

#[test]
fn people_and_programs_can_read_it() {
    let text = described(P1_COMMAND).to_string();
    assert!(
        text.starts_with("kind      core module, command\nwasi      0.1\n"),
        "{text}"
    );
    assert!(
        text.contains("\nasks for  no outgoing HTTP; files; sockets; `env log`"),
        "{text}"
    );
    assert!(text.contains("\nimports 5\n"), "{text}");
    let json = serde_json::to_value(described(P2_HTTP)).unwrap();
    assert_eq!(json["http"], "p2");
    assert_eq!(json["authority"][0]["kind"], "outgoing-http");
    assert_eq!(json["authority"][0]["standing"], "asked");
}

/// Names come from the binary; a terminal must not obey them.
#[test]
fn control_characters_are_not_printed() {
    let text =
        described(r#"(module (import "\1b[2J" "x" (func)) (@custom "\1b]0;" ""))"#).to_string();
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn what_is_not_wasm_is_named() {
    let check = |bytes: &[u8], expected: &str| {
        let error = describe(bytes).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().is_some());
    };
    check(b"", "the file is empty");
    check(b"\0as", "truncated at byte 0x3");
    check(b"\x7fELF\x02", "native Linux program");
    check(b"(module)", "text, not yet converted");
    check(b"PK\x03\x04", "zip");
    check(b"\xff\xff", "begins with byte 0xff");
    check(b"\0asm\x09\0\0\0", "malformed at byte 0x4");
    check(
        &vec![0; WASM_BYTES_MAX as usize + 1],
        "exceed the limit of 256 MiB",
    );
}

#[test]
fn every_truncation_is_an_error() {
    for text in [P1_COMMAND, P2_HTTP] {
        let bytes = wasm(text);
        for length in 0..bytes.len() {
            // Where a section ends, the rest is a shorter but whole module.
            if let Err(error) = describe(&bytes[..length]) {
                assert!(
                    !matches!(error, DescribeError::Decoder { .. }),
                    "{length}: {error}"
                );
            }
        }
        let error = describe(&bytes[..bytes.len() - 3]).unwrap_err();
        assert!(matches!(error, DescribeError::Truncated { .. }), "{error}");
    }
}

#[test]
fn no_flipped_byte_makes_it_panic() {
    for text in [P1_COMMAND, P2_HTTP] {
        let bytes = wasm(text);
        for index in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[index] ^= flip;
                let _ = validate(&bytes);
                if let Err(error @ DescribeError::Decoder { .. }) = describe(&bytes) {
                    panic!("byte {index} ^ {flip:#x}: {error}");
                }
            }
        }
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let nested = |depth: usize| {
        wasm(&format!(
            "{}{}",
            "(component ".repeat(depth),
            ")".repeat(depth)
        ))
    };
    describe(&nested(NESTING_MAX)).unwrap();
    let error = describe(&nested(NESTING_MAX + 1)).unwrap_err();
    assert!(matches!(error, DescribeError::TooDeep { .. }), "{error}");

    // A type of options in options, far deeper than any limit: each refers to the one before.
    let mut options = String::from("(type (option u8))");
    for index in 0..3_000 {
        options.push_str(&format!("(type (option {index}))"));
    }
    match describe(&wasm(&format!("(component {options})"))) {
        Ok(_) | Err(DescribeError::Malformed { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn bodies_are_checked_by_validate_only() {
    // A body that leaves nothing where an i32 must be.
    let mut bytes = wasm("(module (func (result i32) i32.const 1))");
    let at = bytes
        .windows(3)
        .position(|window| window == [0x41, 1, 0x0b])
        .unwrap();
    bytes[at..at + 2].copy_from_slice(&[0x01, 0x01]);
    describe(&bytes).unwrap();
    let error = validate(&bytes).unwrap_err();
    assert!(
        error.to_string().starts_with("malformed at byte 0x"),
        "{error}"
    );
    validate(&wasm(P2_HTTP)).unwrap();
}
