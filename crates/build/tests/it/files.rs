//! Ready `.wasm` and `.wat` sources, without a compiler.

use wharf_build::{BuildError, FileOptions, Silent, build_file};

use crate::world::World;

const COMMAND: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
    (memory (export "memory") 1)
    (func (export "_start")))"#;

#[test]
fn a_wasi_0_1_command_stays_a_module() {
    let world = World::new();
    world.put("main.wat", COMMAND);
    world.manifest("main.wat", "[trigger.command]\ncomponent = \"main\"\n");
    let report = world.build();
    let component = &report.components[0];
    assert!(component.kind.contains("core module"), "{}", component.kind);
    let copy = std::fs::read(component.file.as_ref().unwrap()).unwrap();
    assert_eq!(copy, wat::parse_str(COMMAND).unwrap());
    assert!(world.build().up_to_date);
}

#[test]
fn a_ready_component_is_packed_without_a_trace_in_the_app_s_folder() {
    let mut world = World::new();
    let component = wat::parse_str("(component)").unwrap();
    std::fs::write(world.app().join("main.wasm"), component).unwrap();
    world.manifest("main.wasm", "");
    world.options.leave_folder = true;
    let first = world.build();
    assert!(!world.app().join(".wharf").exists());
    assert_eq!(world.build().artifact, first.artifact);
    // One that cannot be written to is none either.
    world.options.leave_folder = false;
    world.put(".wharf", "in the way");
    assert_eq!(world.build().artifact, first.artifact);
    std::fs::remove_file(world.app().join(".wharf")).unwrap();
    assert_eq!(world.build().artifact, first.artifact);
    assert!(world.build().up_to_date);
    // Nor is one whose lock cannot be had, as with a folder that is there and another's.
    std::fs::remove_dir_all(world.app().join(".wharf")).unwrap();
    world.put(".wharf/.gitignore", "*\n");
    world.put(".wharf/build.lock/in-the-way", "");
    assert_eq!(world.build().artifact, first.artifact);
    assert!(!world.app().join(".wharf/build.json").exists());
    // What is made of a source needs a place.
    std::fs::remove_dir_all(world.app().join(".wharf")).unwrap();
    world.put(".wharf", "in the way");
    world.put("main.wat", COMMAND);
    world.manifest("main.wat", "[trigger.command]\ncomponent = \"main\"\n");
    let error = world.fail();
    assert!(matches!(error, BuildError::StateFolder { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("/app/.wharf, where what is built is kept")
    );
    assert!(error.hint().unwrap().contains("NAME:VERSION"));
}

#[test]
fn a_missing_export_names_the_trigger_and_what_to_do() {
    let world = World::new();
    world.put("main.wat", COMMAND);
    let route = "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"main\"\n";
    world.manifest("main.wat", route);
    let error = world.fail();
    assert!(matches!(error, BuildError::ExportMissing { .. }));
    let text = error.to_string();
    assert!(
        text.starts_with("the route `/...` needs component `main` to export wasi:http/handler")
    );
    assert!(error.hint().unwrap().contains("[trigger.command]"));

    world.put("main.wat", "(module (func (export \"add\")))");
    world.manifest("main.wat", "[trigger.command]\ncomponent = \"main\"\n");
    let error = world.fail();
    assert!(error.to_string().contains("exports `add`"), "{error}");
}

#[test]
fn bad_input_is_named() {
    let world = World::new();
    let check = |name: &str, bytes: &[u8], expected: &str| {
        std::fs::write(world.app().join(name), bytes).unwrap();
        world.manifest(name, "");
        let error = world.fail();
        assert!(error.to_string().contains(expected), "{error}");
        // A mistake in text is shown at its place.
        assert_eq!(error.hint().is_some(), !name.ends_with(".wat"), "{error}");
    };
    let whole = wat::parse_str(COMMAND).unwrap();
    check(
        "cut.wasm",
        &whole[..whole.len() - 3],
        "cut.wasm: truncated at byte",
    );
    check("elf.wasm", b"\x7fELF....", "native Linux program");
    check("typo.wat", b"(module (fun))", "typo.wat");
    check("latin.wat", b"(module (; \xff ;))", "not valid WebAssembly");
    check("main.py", b"", "cannot tell how to build");
    let huge = std::fs::File::create(world.app().join("huge.wasm")).unwrap();
    huge.set_len((256 << 20) + 1).unwrap();
    world.manifest("huge.wasm", "");
    assert!(matches!(world.fail(), BuildError::TooLarge { .. }));
    world.manifest("absent.wasm", "");
    assert!(matches!(world.fail(), BuildError::SourceMissing { .. }));
    world.put("web/package.json", "{}");
    world.manifest("web", "");
    assert!(world.fail().to_string().contains("written in JavaScript"));
    std::fs::remove_file(world.app().join("wharf.toml")).unwrap();
    assert!(matches!(world.fail(), BuildError::ManifestMissing { .. }));
}

#[test]
fn static_files_are_packed_and_a_change_is_seen() {
    let world = World::new();
    world.put("wharf.toml", "manifest = 1\nname = \"site\"\nversion = \"0.1.0\"\n\n[[trigger.http]]\nroute = \"/...\"\nfiles = \"public\"\n");
    let error = world.fail();
    assert!(matches!(error, BuildError::FilesMissing { .. }), "{error}");
    world.put("public/index.html", "<p>one");
    world.put("public/a/b.css", "p {}");
    let first = world.build();
    assert_eq!((first.files[0].count, first.files[0].size), (2, 10));
    world.put("public/index.html", "<p>two!");
    let second = world.build();
    assert!(!second.up_to_date);
    assert_ne!(first.artifact, second.artifact);
}

#[test]
fn what_left_the_store_is_packed_again() {
    let world = World::new();
    world.put("main.wat", COMMAND);
    world.manifest("main.wat", "");
    let report = world.build();
    let component = &report.components[0];
    std::fs::remove_file(world.options.store.blob_path(&component.digest)).unwrap();
    let again = world.build();
    assert!(!again.up_to_date && again.components[0].reused);
    assert_eq!(again.artifact, report.artifact);
    std::fs::write(component.file.as_ref().unwrap(), "damaged").unwrap();
    std::fs::remove_file(world.options.store.blob_path(&component.digest)).unwrap();
    let mended = world.build();
    assert_eq!(mended.artifact, report.artifact);
    assert!(!mended.components[0].reused);
}

#[test]
fn a_single_file_becomes_an_app() {
    let world = World::new();
    let file = world.put("My Tool_2.wat", COMMAND);
    let options = FileOptions {
        file,
        store: world.options.store.clone(),
        cancel: wharf_build::Cancel::new(),
    };
    let report = build_file(&options, &Silent).unwrap();
    assert_eq!(report.app, "my-tool-2");
    let digest = report.artifact.to_string();
    let app = wharf_artifact::load_app(&world.options.store, &digest)
        .unwrap()
        .app;
    assert!(app.triggers.command.is_some() && app.triggers.http.is_empty());
    assert!(!world.app().join(".wharf").exists());
}

#[test]
fn a_module_with_a_component_type_is_encoded() {
    // What a C compiler leaves: WASI 0.1 imports and a component's type.
    let mut module = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "roll") (result i32) i32.const 4))"#,
    )
    .unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve
        .push_str(
            "dice.wit",
            "package a:dice; world dice { export roll: func() -> u32; }",
        )
        .unwrap();
    let world_id = resolve.select_world(&[package], Some("dice")).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world_id, encoding).unwrap();
    let world = World::new();
    std::fs::write(world.app().join("main.wasm"), module).unwrap();
    world.manifest("main.wasm", "");
    let description = world.described(&world.build());
    assert_eq!(description.kind, wharf_artifact::Kind::Component);
    assert_eq!(description.exports[0].name, "roll");
    assert!(
        description
            .imports
            .iter()
            .any(|import| import.name.starts_with("wasi:random/"))
    );
}
