//! Every template builds with no edit.

use wharf_artifact::{HttpVersion, Role};
use wharf_build::{NewOptions, Template, new_app};

use crate::world::World;

fn made(template: Template) -> (World, wharf_build::BuildReport) {
    let world = World::new();
    let options = NewOptions {
        template,
        name: "brand-new".into(),
        folder: world.app().to_path_buf(),
        cache_dir: world.options.cache_dir.clone(),
    };
    new_app(&options).unwrap();
    let report = world.build();
    (world, report)
}

#[test]
fn http_rust() {
    let (world, report) = made(Template::HttpRust);
    let description = world.described(&report);
    assert_eq!(description.http, Some(HttpVersion::P3));
    assert!(report.components[0].size < 150_000, "{report}");
}

#[test]
fn cargo_finds_the_sdk_after_the_first_build_of_a_fresh_checkout() {
    let (world, _) = made(Template::HttpRust);
    let cargo = || {
        let output = std::process::Command::new("cargo")
            .args(["metadata", "--format-version=1", "--offline"])
            .current_dir(world.app())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(())
        } else {
            Err(errors)
        }
    };
    cargo().unwrap();
    std::fs::remove_dir_all(world.app().join(".wharf")).unwrap();
    let error = cargo().unwrap_err();
    assert!(error.contains("made-by-wharf-build"), "{error}");
    world.build();
    cargo().unwrap();
    assert!(world.build().up_to_date);
    // The link alone is missing, as after an update of wharf or of the cache.
    let link = world.app().join(".wharf/made-by-wharf-build/wharf-sdk");
    std::fs::remove_file(link).unwrap();
    assert!(!world.build().up_to_date);
    cargo().unwrap();
}

#[test]
fn cli_rust() {
    let (world, report) = made(Template::CliRust);
    assert!(world.described(&report).command);
}

#[test]
fn library_rust() {
    let (world, report) = made(Template::LibraryRust);
    let description = world.described(&report);
    assert_eq!(description.role, Role::Library);
    assert!(description.imports.is_empty(), "{:?}", description.imports);
    assert!(description.wit.unwrap().contains("record statistics"));
}

#[test]
fn app() {
    let (world, report) = made(Template::App);
    assert_eq!(world.described(&report).role, Role::HttpHandler);
    assert_eq!(report.files[0].count, 4);
}
