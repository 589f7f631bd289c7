//! What people write: the manifest and the words in it.

use std::fmt::{Debug, Display};
use std::net::IpAddr;
use std::str::FromStr;

use wharf_fuzzkit::texts;
use wharf_manifest::{
    AddressRange, App, AppName, AppPath, ByteSize, ComponentName, Digest, FileGrant, HostName,
    HttpGrant, NODE_APP_COUNT_MAX, NetGrant, PrivateAddress, RoutePattern, format_duration,
    parse_app, parse_duration, parse_node,
};

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

const NODE: &str = r#"node = 1
listen = ["127.0.0.1:3000", "[::1]:3000"]
admin = "127.0.0.1:3900"
[tls]
listen = ["0.0.0.0:443"]
[[tls.certificate]]
chain = "certs/a.pem"
key = "/etc/keys/a.key"
[proxies]
trusted = ["10.0.0.0/8", "::1"]
[egress]
private = ["10.0.0.5", "10.1.0.0/16", "DB.internal"]
[limits]
memory = "2GiB"
connections = 5000
connections_per_client = 100
[ceilings]
memory = "64MiB"
cpu = "500ms"
[app.guestbook]
source = "guestbook:0.1.0"
hosts = ["Guestbook.example.", "*.guestbook.example"]
memory = "512MiB"
[app.other]
source = "../other"
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

pub(crate) fn node(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    match parse_node(text, "node.toml") {
        Ok(node) => {
            assert!(!node.listen.is_empty() || node.tls.is_some());
            assert!(node.tls.is_none_or(|tls| !tls.certificates.is_empty()));
            assert!(node.apps.len() <= NODE_APP_COUNT_MAX);
            let without = node.apps.values().filter(|app| app.hosts.is_empty());
            assert!(without.count() <= 1);
            let mut hosts: Vec<_> = node.apps.values().flat_map(|app| &app.hosts).collect();
            let count = hosts.len();
            hosts.sort();
            hosts.dedup();
            assert_eq!(hosts.len(), count, "two apps under one name: {text}");
        }
        Err(errors) => {
            assert!(!errors.to_string().is_empty());
        }
    }
}

pub(crate) fn node_seeds() -> Vec<Vec<u8>> {
    parse_node(NODE, "node.toml").expect("the example is right");
    texts(&[
        NODE,
        "node = 1\n",
        "node = 1\nadmin = \"none\"\n[app.a]\nsource = \"a\"\n",
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
        // A dot behind an address made a name of it, which was printed as an address.
        "http://127.0.0.1.",
        "http://*.127.0.0.1.",
        "127.0.0.1.:80",
        "*.127.0.0.1.:80",
    ])
}

/// A range, and an address to hold against it.
pub(crate) fn range(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let (range, address) = text.split_once('\n').unwrap_or((text, "10.0.0.1"));
    round_trip::<AddressRange>(range);
    let (Ok(known), Ok(address)) = (range.parse::<AddressRange>(), address.parse::<IpAddr>())
    else {
        return;
    };
    let address = address.to_canonical();
    let printed = known.to_string();
    let (first, prefix) = match printed.split_once('/') {
        Some((first, prefix)) => (first, prefix.parse().expect("a prefix is a number")),
        None => (&*printed, u32::MAX),
    };
    let first: IpAddr = first.parse().expect("a range begins with an address");
    assert_eq!(known.contains(address), begin_alike(first, address, prefix));
    assert!(known.contains(first));
    assert!(AddressRange::of(address).contains(address));
}

/// Whether two addresses have their first bits in common, one after the other.
fn begin_alike(one: IpAddr, other: IpAddr, bits: u32) -> bool {
    let bits_of = |address: IpAddr| match address {
        IpAddr::V4(address) => format!("{:032b}", address.to_bits()),
        IpAddr::V6(address) => format!("{:0128b}", address.to_bits()),
    };
    let (one, other) = (bits_of(one), bits_of(other));
    let count = usize::try_from(bits).unwrap_or(usize::MAX).min(one.len());
    one.len() == other.len() && one[..count] == other[..count]
}

pub(crate) fn range_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "10.0.0.0/8\n10.255.0.1",
        "10.0.0.5",
        "fd00::/8\nfdff::1",
        "::/0\n::ffff:10.0.0.1",
        "0.0.0.0/0\n192.0.2.1",
        "::ffff:10.0.0.5\n10.0.0.5",
    ])
}

pub(crate) fn host(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    round_trip::<HostName>(text);
    if let Ok(name) = text.parse::<HostName>() {
        let written = name.as_str();
        assert!(written.is_ascii() && !written.bytes().any(|byte| byte.is_ascii_uppercase()));
        assert!(
            !written.ends_with('.') && !written.contains(['/', '@', ' ']),
            "{written}"
        );
        // The name in a URL is this one: neither a port nor a path is read out of it.
        let of_url = format!("http://{written}").parse::<HttpGrant>();
        assert!(of_url.is_ok(), "{written}: {of_url:?}");
    }
}

pub(crate) fn host_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "Example.COM.",
        "*.example.com",
        "127.0.0.1",
        "[::1]",
        "a:80",
        "localhost",
        // It was taken: names below an address.
        "*.127.0.0.1",
    ])
}

/// A private address, and an address or name to hold against it.
pub(crate) fn private(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let (private, other) = text.split_once('\n').unwrap_or((text, "10.0.0.1"));
    round_trip::<PrivateAddress>(private);
    let Ok(known) = private.parse::<PrivateAddress>() else {
        return;
    };
    // It is a range or a name, never something of both.
    match known.name() {
        Some(name) => {
            assert!(name.parse::<IpAddr>().is_err() && private.parse::<AddressRange>().is_err());
            assert!(known.covers_name(name) && known.covers_name(&format!("{name}.")));
            assert_eq!(
                known.covers_name(other),
                other
                    .strip_suffix('.')
                    .unwrap_or(other)
                    .to_ascii_lowercase()
                    == name,
            );
        }
        None => {
            let range: AddressRange = private.parse().expect("what is no name is a range");
            assert!(!known.covers_name(other));
            if let Ok(address) = other.parse() {
                assert_eq!(known.covers_address(address), range.contains(address));
                assert!(!known.is_very_address(address) || known.covers_address(address));
            }
        }
    }
}

pub(crate) fn private_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "10.0.0.5\n10.0.0.5",
        "10.1.0.0/16\n10.1.2.3",
        "fd00::/8\nfdff::1",
        "DB.internal.\ndb.INTERNAL",
        "[::1]",
        // It was taken for a name, and printed as an address.
        "10.0.0.5.\n10.0.0.5",
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
