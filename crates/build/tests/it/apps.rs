//! Rust sources, built by cargo.

use std::time::Instant;

use wharf_artifact::{HttpVersion, Kind};
use wharf_build::{BuildError, Optimization, Step};

use crate::world::World;

const COMMAND: &str = "[trigger.command]\ncomponent = \"main\"\n";
const ROUTE: &str = "[[trigger.http]]\nroute = \"/...\"\ncomponent = \"main\"\n";

fn crate_with(world: &World, rest: &str) {
    world.put(
        "Cargo.toml",
        &format!("[package]\nname = \"tried\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{rest}"),
    );
}

#[test]
fn a_binary_becomes_a_command_and_is_not_built_twice() {
    let world = World::new();
    crate_with(&world, "");
    world.put("src/main.rs", "fn main() { println!(\"hello\"); }");
    world.manifest(".", COMMAND);
    let report = world.build();
    let description = world.described(&report);
    assert_eq!(description.kind, Kind::Component);
    assert!(description.command);
    assert!(report.components[0].size < 150_000, "{report}");

    let start = Instant::now();
    let again = world.build();
    assert!(again.up_to_date, "nothing changed: {again}");
    assert!(
        start.elapsed().as_millis() < 1000,
        "no compiler was started"
    );
    assert_eq!(again.artifact, report.artifact);
    assert!(again.watch.iter().any(|path| path.ends_with("src/main.rs")));
    let steps = world.events.steps.lock().unwrap().len();
    drop(world.build());
    assert_eq!(
        world.events.steps.lock().unwrap().len(),
        steps,
        "no step ran"
    );

    // A comment changes the source but not the module: nothing is optimised
    // or encoded again.
    world.put("src/main.rs", "fn main() { println!(\"hello\"); } // done");
    let commented = world.build();
    assert!(!commented.up_to_date && commented.components[0].reused);
    assert_eq!(commented.artifact, report.artifact);
    world.put("src/main.rs", "fn main() { println!(\"good day\"); }");
    assert_ne!(world.build().artifact, report.artifact);
}

#[test]
fn compile_errors_come_as_text_and_in_colour() {
    let mut world = World::new();
    world.options.color = true;
    crate_with(&world, "");
    world.put("src/main.rs", "fn main() { let x: u32 = \"no\"; }");
    world.manifest(".", COMMAND);
    let error = world.fail();
    let output = error.output().unwrap();
    assert!(
        output.contains("error[E0308]: mismatched types"),
        "{output}"
    );
    assert!(output.contains("src/main.rs:1:") && !output.contains('\u{1b}'));
    let lines = world.events.lines.lock().unwrap().join("\n");
    assert!(lines.contains("\u{1b}["), "the terminal gets colours");
}

#[test]
fn a_handler_is_built_for_both_versions_of_wasi() {
    let mut world = World::new();
    crate_with(
        &world,
        "[dependencies]\nwharf-sdk = \"0.1\"\n[features]\nold = [\"wharf-sdk/p2\"]\n",
    );
    world.put(
        "src/lib.rs",
        "#[wharf_sdk::http]\nasync fn handle() -> &'static str { \"hello\" }",
    );
    let mut sizes = Vec::new();
    for (options, version) in [
        ("pure = true\n", HttpVersion::P3),
        ("pure = true\nfeatures = [\"old\"]\n", HttpVersion::P2),
        ("", HttpVersion::P3),
    ] {
        world.manifest(".", &format!("{options}{ROUTE}"));
        let report = world.build();
        let description = world.described(&report);
        assert_eq!(description.http, Some(version), "{options}");
        sizes.push(report.components[0].size);
        // The SDK comes from inside wharf: the network is not needed for it.
        world.options.offline = true;
    }
    assert!(sizes[0] < 150_000 && sizes[1] < 100_000, "{sizes:?}");
    let error = {
        world.manifest(".", "");
        world.put("wharf.toml", &format!("manifest = 1\nname = \"a\"\nversion = \"0.1.0\"\n[component.main]\nsource = \".\"\n{COMMAND}"));
        world.fail()
    };
    assert!(
        error.to_string().contains("to export wasi:cli/run"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("[[trigger.http]]"));
}

#[test]
fn a_pure_component_that_uses_a_system_is_told_where() {
    let world = World::new();
    crate_with(&world, "[dependencies]\nwharf-sdk = \"0.1\"\n");
    world.manifest(".", &format!("pure = true\n{ROUTE}"));
    world.put(
        "src/lib.rs",
        "use std::time::Instant;
        #[wharf_sdk::http]
        async fn handle() -> String {
            let start = Instant::now();
            let home = std::env::var(\"HOME\");
            let file = std::fs::read_to_string(home.unwrap_or_default());
            let later = Some(start).filter(|_| false).unwrap_or_else(Instant::now);
            println!(\"{later:?}\");
            std::thread::spawn(|| ());
            format!(\"{file:?} {:?}\", std::net::TcpStream::connect(\"a:80\").is_ok())
        }",
    );
    let error = world.fail();
    let BuildError::NotPure { used, .. } = &error else {
        panic!("{error}");
    };
    let mut places = used.iter().map(|used| used.place.as_deref().unwrap());
    for line in 4..=10 {
        assert_eq!(
            places.next(),
            Some(&*format!("src/lib.rs:{line}")),
            "{error}"
        );
    }
    assert_eq!(places.next(), None, "{error}");
    assert!(
        error
            .to_string()
            .contains("`std::time::Instant::now` (src/lib.rs:4)"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("remove `pure = true`"));
}

#[test]
fn a_component_lists_the_crates_that_it_was_built_from() {
    let world = World::new();
    for name in ["linked", "idle", "hosted", "tester"] {
        let manifest =
            format!("[package]\nname = \"{name}\"\nversion = \"1.2.3\"\nedition = \"2024\"\n");
        world.put(&format!("{name}/Cargo.toml"), &manifest);
        world.put(&format!("{name}/src/lib.rs"), "");
    }
    let features = "[features]\nmore = [\"dep:idle\"]\n";
    let dependencies = "[dependencies]\nlinked = { path = \"linked\" }\n\
         idle = { path = \"idle\", optional = true }\n\
         [build-dependencies]\nhosted = { path = \"hosted\" }\n\
         [dev-dependencies]\ntester = { path = \"tester\" }\n\
         [target.'cfg(windows)'.dependencies]\nwharf-sdk = \"0.1\"\n";
    crate_with(&world, &format!("{features}{dependencies}"));
    world.put("src/main.rs", "fn main() {}");
    world.put("build.rs", "fn main() {}");
    let listed = |options: &str| {
        world.manifest(".", &format!("{options}{COMMAND}"));
        let report = world.build();
        assert!(report.components[0].dependencies_size > 0);
        let dependencies = world.described(&report).dependencies.into_iter();
        let words = dependencies.map(|found| {
            let kind = if found.build_only {
                " for the build"
            } else {
                ""
            };
            format!("{} {} {}{kind}", found.name, found.version, found.source)
        });
        (report.artifact, words.collect::<Vec<_>>())
    };
    let (first, plain) = listed("");
    assert_eq!(
        plain,
        ["hosted 1.2.3 local for the build", "linked 1.2.3 local"]
    );
    let (_, more) = listed("features = [\"more\"]\n");
    assert_eq!(more.len(), 3, "{more:?}");
    assert!(more.contains(&"idle 1.2.3 local".to_string()));
    // What was compiled before counts as what is compiled now.
    assert_eq!(listed(""), (first, plain));
}

#[test]
fn a_pure_build_compiles_its_tools_once_and_warns_once() {
    let world = World::new();
    world.put(
        "macros/Cargo.toml",
        "[package]\nname = \"once-macros\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [lib]\nproc-macro = true\n",
    );
    world.put(
        "macros/src/lib.rs",
        "use proc_macro::TokenStream;
        #[proc_macro]
        pub fn nothing(_: TokenStream) -> TokenStream { let unused_here = 1; TokenStream::new() }",
    );
    crate_with(
        &world,
        "[dependencies]\nwharf-sdk = \"0.1\"\nonce-macros = { path = \"macros\" }\n",
    );
    world.put(
        "src/lib.rs",
        "once_macros::nothing!();
        fn idle() {}
        #[wharf_sdk::http]
        async fn handle() -> &'static str { \"hello\" }",
    );
    world.manifest(".", &format!("pure = true\n{ROUTE}"));
    world.build();
    let lines = world.events.lines.lock().unwrap();
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    for part in [
        "Compiling once-macros",
        "unused variable: `unused_here`",
        "function `idle` is never used",
        "(lib) generated 1 warning",
    ] {
        let expected = if part.contains("generated") { 2 } else { 1 };
        assert_eq!(count(part), expected, "{part}: {lines:#?}");
    }
    // The app itself is compiled once to be packed, once to be looked into.
    assert_eq!(count("Compiling tried"), 2, "{lines:#?}");
}

#[test]
fn a_cancelled_build_ends_and_leaves_no_record() {
    let mut world = World::new();
    crate_with(&world, "");
    world.put("src/main.rs", "fn main() {}");
    world.put(
        "build.rs",
        "fn main() { std::thread::sleep(std::time::Duration::from_secs(60)); }",
    );
    world.manifest(".", COMMAND);
    world.events.cancel_on_compile = Some(world.options.cancel.clone());
    assert!(matches!(world.fail(), BuildError::Cancelled));
    assert!(!world.app().join(".wharf/build.json").exists());
}

#[test]
fn a_change_in_a_path_dependency_or_a_watched_folder_is_seen() {
    let world = World::new();
    world.put("app/Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[dependencies]\nwords = { path = \"../words\" }\n");
    world.put(
        "app/src/main.rs",
        "fn main() { println!(\"{}\", words::WORD); }",
    );
    world.put(
        "words/Cargo.toml",
        "[package]\nname = \"words\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    world.put("words/src/lib.rs", "pub const WORD: &str = \"one\";");
    world.put("texts/a.txt", "1");
    world.manifest("app", &format!("watch = [\"texts\"]\n{COMMAND}"));
    let first = world.build();
    assert!(world.build().up_to_date);
    world.put("words/src/lib.rs", "pub const WORD: &str = \"other\";");
    assert_ne!(world.build().artifact, first.artifact);
    assert!(world.build().up_to_date);
    world.put("texts/b.txt", "2");
    assert!(!world.build().up_to_date);
}

#[test]
fn a_configuration_that_is_new_beside_the_crate_is_seen() {
    let world = World::new();
    crate_with(&world, "");
    world.put("src/main.rs", "fn main() {}");
    world.manifest(".", COMMAND);
    drop(world.build());
    assert!(world.build().up_to_date);
    world.put(".cargo/config.toml", "[env]\nTRIED = \"1\"\n");
    assert!(!world.build().up_to_date);
}

#[test]
fn mistakes_in_the_crate_are_named() {
    let world = World::new();
    crate_with(&world, "");
    world.manifest(".", COMMAND);
    let error = world.fail();
    assert!(matches!(error, BuildError::CrateUnreadable { .. }));
    assert!(
        error.to_string().contains("no targets specified"),
        "{error}"
    );
    world.put("src/bin/one.rs", "fn main() {}");
    world.put("src/bin/two.rs", "fn main() {}");
    let error = world.fail();
    assert_eq!(
        error.to_string(),
        "component `main` could be any of `one`, `two`"
    );
    assert!(error.hint().unwrap().contains("default-run"));
    world.put("Cargo.toml", "[package\n");
    assert!(matches!(world.fail(), BuildError::CrateUnreadable { .. }));
}

#[test]
fn without_wasm_opt_the_report_says_how_to_get_it() {
    let world = World::new();
    crate_with(&world, "[lib]\ncrate-type = [\"cdylib\"]\n");
    world.put("src/lib.rs", "");
    world.manifest(".", "pure = true\n");
    // An empty library has no component type, and the encoder says so.
    match world.try_build() {
        Ok(report) => match &report.components[0].optimization {
            Optimization::NotFound => assert!(report.to_string().contains("note: for smaller")),
            Optimization::Done { before, after } => assert!(after <= before),
            other => panic!("{other:?}"),
        },
        Err(error) => assert!(matches!(error, BuildError::Encode { .. }), "{error}"),
    }
    let steps = world.events.steps.lock().unwrap();
    assert!(
        steps
            .iter()
            .any(|step| matches!(step, Step::Compile { .. }))
    );
}
