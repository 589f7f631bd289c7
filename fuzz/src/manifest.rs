//! What people write: the manifest and the words in it.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use wharf_manifest::{
    App, AppName, AppPath, ByteSize, ComponentName, Digest, FileGrant, HttpGrant, NetGrant,
    RoutePattern, format_duration, parse_app, parse_duration,
};

use crate::texts;

const APP: &str = r#"manifest = 1
name = "guestbook"
version = "0.1.0"
[component.api]
source = "api"
limits = { memory = "128MiB", time = "30s", cpu = "1s" }
[component.api.grants]
http = ["https://api.example.com", "https://*.example.org:8443"]
net = ["db.internal:5432"]
files = ["data:/data:rw"]
env = { MODE = "fast" }
[[trigger.http]]
route = "/api/..."
component = "api"
[[trigger.http]]
route = "/..."
files = "public"
"#;

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What is printed reads back as the same.
fn round_trip<T: FromStr + Display + PartialEq + Debug>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(value) = text.parse::<T>() {
        let printed = value.to_string();
        let again = printed.parse::<T>().expect("what is printed can be read");
        assert_eq!(again, value, "{text:?} {printed:?}");
    }
}

pub(crate) fn app(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match parse_app(text, "wharf.toml") {
        Ok(app) => same_in_canonical_form(&app),
        // Messages point into the text.
        Err(errors) => drop(errors.to_string()),
    }
}

pub(crate) fn app_seeds() -> Vec<Vec<u8>> {
    texts(&[
        APP,
        "manifest = 1\nname = \"a\"\nversion = \"1.0.0\"\n[trigger.command]\ncomponent = \"x\"\n",
        "manifest = 1\r\nname = 'a'\nversion = \"0\"\n[component.a]\nsource = \"ä\u{202e}\"\n",
    ])
}

pub(crate) fn canonical(bytes: &[u8]) {
    if let Some(app) = text(bytes).and_then(|text| App::from_canonical_json(text).ok()) {
        same_in_canonical_form(&app);
    }
}

fn same_in_canonical_form(app: &App) {
    let json = app.to_canonical_json();
    let again = App::from_canonical_json(&json).expect("the canonical form can be read");
    assert_eq!(&again, app);
    assert_eq!(again.to_canonical_json(), json);
}

pub(crate) fn canonical_seeds() -> Vec<Vec<u8>> {
    let app = parse_app(APP, "wharf.toml").expect("the example is right");
    vec![app.to_canonical_json().into_bytes()]
}

pub(crate) fn route(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    // A pattern, and a path to hold against it.
    let (pattern, path) = text.split_once('\n').unwrap_or((text, "/"));
    round_trip::<RoutePattern>(pattern);
    if let Ok(pattern) = pattern.parse::<RoutePattern>() {
        let _ = (pattern.matches(path), pattern.specificity(), pattern.base());
    }
}

pub(crate) fn route_seeds() -> Vec<Vec<u8>> {
    let mut seeds = texts(&["/api/...\n/api/x", "/...\n", "/a/b\n/a/b/", "/%2e/\n/%2E/"]);
    // Short as written, too long once escaped: it was taken, and could not be read back.
    seeds.push("/é".repeat(300).into_bytes());
    seeds
}

pub(crate) fn grant(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    round_trip::<HttpGrant>(text);
    round_trip::<NetGrant>(text);
    round_trip::<FileGrant>(text);
}

pub(crate) fn grant_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "https://api.example.com",
        "http://*.example.com:8080",
        "http://[::1]:80",
        "tcp:db.internal:5432",
        "udp:10.0.0.0/8:53",
        "[::ffff:1.2.3.4]:1",
        "data:/data:rw",
        "../x:/y",
    ])
}

pub(crate) fn quantity(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    round_trip::<ByteSize>(text);
    if let Ok(duration) = parse_duration(text) {
        let printed = format_duration(duration);
        assert_eq!(parse_duration(&printed).ok(), Some(duration), "{text:?}");
    }
}

pub(crate) fn quantity_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "128MiB",
        "1KiB",
        "18446744073709551615",
        "500ms",
        "30s",
        "10m",
        "1h",
    ])
}

pub(crate) fn name(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    round_trip::<AppName>(text);
    round_trip::<ComponentName>(text);
    round_trip::<Digest>(text);
    round_trip::<AppPath>(text);
}

pub(crate) fn name_seeds() -> Vec<Vec<u8>> {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    texts(&["guestbook", "a-b2", "public/css", "./x", &digest])
}
