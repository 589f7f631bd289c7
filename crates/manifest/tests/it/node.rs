//! `node.toml`: good, wrong and hostile.

use expect_test::{Expect, expect};
use wharf_manifest::{Allowance, AppName, ByteSize, NodeConfig, parse_node};

fn good(text: &str) -> NodeConfig {
    parse_node(text, "node.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

#[track_caller]
fn bad(text: &str, expected: Expect) {
    let errors = parse_node(text, "node.toml").unwrap_err();
    expected.assert_eq(&format!("{errors}\n"));
}

#[test]
fn a_version_is_enough() {
    let node = good("node = 1");
    assert_eq!(node.listen, ["127.0.0.1:3000".parse().unwrap()]);
    assert_eq!(node.admin, Some("127.0.0.1:3900".parse().unwrap()));
    assert_eq!(node.tls, None);
    assert!(node.apps.is_empty());
    assert_eq!(node.limits.connections, 10_000);
    assert_eq!(node.limits.connections_per_client, 1_000);
}

#[test]
fn all_keys() {
    let node = good(
        r#"
node = 1
listen = ["0.0.0.0:80", "[::]:80"]
admin = "none"

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
source = "apps/guestbook"
hosts = ["Guestbook.example.", "*.guestbook.example"]
memory = "512MiB"
egress = { private = ["10.0.0.7"] }

[app.guestbook.allow]
http = ["https://*.example.com"]
net = []

[app.rest]
source = "rest.wasm"
"#,
    );
    assert_eq!(node.listen.len(), 2);
    assert_eq!(node.admin, None);
    let tls = node.tls.unwrap();
    assert_eq!(tls.certificates[0].key, "/etc/keys/a.key");
    let proxy = node.trusted_proxies[0];
    assert!(proxy.contains("10.9.8.7".parse().unwrap()));
    let private: Vec<_> = node
        .private_addresses
        .iter()
        .map(|one| one.to_string())
        .collect();
    assert_eq!(private, ["10.0.0.5", "10.1.0.0/16", "db.internal"]);
    assert_eq!(node.limits.memory, Some(ByteSize(2 << 30)));
    assert_eq!(node.ceilings.memory, Some(ByteSize::mib(64)));
    assert_eq!(node.ceilings.handles, None);
    let guestbook = &node.apps[&AppName::new("guestbook").unwrap()];
    let hosts: Vec<_> = guestbook.hosts.iter().map(|host| host.as_str()).collect();
    assert_eq!(hosts, ["guestbook.example", "*.guestbook.example"]);
    let private = guestbook.private_addresses.as_ref().unwrap();
    assert_eq!(private, &["10.0.0.7".parse().unwrap()]);
    let http = guestbook.allow.http.as_ref().unwrap();
    assert_eq!(http, &["https://*.example.com".parse().unwrap()]);
    assert_eq!(guestbook.allow.net, Some(Vec::new()));
    let rest = &node.apps[&AppName::new("rest").unwrap()];
    assert!(rest.hosts.is_empty());
    assert_eq!(rest.private_addresses, None);
    assert_eq!(rest.allow, Allowance::default());
}

#[test]
fn with_tls_nothing_listens_without_by_itself() {
    let tls = "node = 1\n[tls]\nlisten = [\"0.0.0.0:443\"]\ncertificate = [{ chain = \"a\", key = \"b\" }]\n";
    assert!(good(tls).listen.is_empty());
}

#[test]
fn mistakes_are_told_all_at_once_with_their_places() {
    bad(
        r#"node = 1
listen = ["80", "localhost:80"]
admin = true
listen_tls = "0.0.0.0:443"

[proxies]
trusted = ["10.0.0.1/8"]

[ceilings]
memory = "0"
time = "soon"
concurrency = 0

[app.Guestbook]
source = "a"

[app.b]
hosts = ["a.example:80"]
"#,
        expect![[r#"
            `80` is no address with a port
             --> node.toml:2:11
              |
            2 | listen = ["80", "localhost:80"]
              |           ^^^^
            hint: write `127.0.0.1:80`, or `0.0.0.0:80` for all who reach this machine

            error: `localhost:80` is no address with a port
             --> node.toml:2:17
              |
            2 | listen = ["80", "localhost:80"]
              |                 ^^^^^^^^^^^^^^
            hint: write `127.0.0.1:3000`, `0.0.0.0:80` or `[::]:80`

            error: expected an address such as `"127.0.0.1:3900"`, or `"none"`, found a boolean
             --> node.toml:3:9
              |
            3 | admin = true
              |         ^^^^

            error: unknown key `listen_tls` in the node file
             --> node.toml:4:1
              |
            4 | listen_tls = "0.0.0.0:443"
              | ^^^^^^^^^^
            hint: the keys are node, listen, admin, tls, proxies, egress, limits, ceilings, app

            error: `10.0.0.1/8` has bits beyond its prefix
             --> node.toml:7:12
              |
            7 | trusted = ["10.0.0.1/8"]
              |            ^^^^^^^^^^^^
            hint: write `10.0.0.0/8`

            error: a limit cannot be zero
              --> node.toml:10:10
               |
            10 | memory = "0"
               |          ^^^

            error: `soon` is not a duration
              --> node.toml:11:8
               |
            11 | time = "soon"
               |        ^^^^^^
            hint: write a whole number and a unit, such as `500ms`, `30s` or `2m`

            error: a limit cannot be zero
              --> node.toml:12:15
               |
            12 | concurrency = 0
               |               ^

            error: `Guestbook` is not a valid app name
              --> node.toml:14:6
               |
            14 | [app.Guestbook]
               |      ^^^^^^^^^
            hint: names are words of a-z and 0-9 joined by `-`; try `guestbook`

            error: missing key `source` in the app
              --> node.toml:17:1
               |
            17 | [app.b]
               | ^^^^^^^
            hint: add `source = "FOLDER"`

            error: the host `a.example:80` has a port
              --> node.toml:18:10
               |
            18 | hosts = ["a.example:80"]
               |          ^^^^^^^^^^^^^^
            hint: write `a.example`
        "#]],
    );
}

#[test]
fn a_host_belongs_to_one_app() {
    bad(
        r#"node = 1
[app.a]
source = "a"
hosts = ["a.example", "b.example", "a.example"]
[app.b]
source = "b"
hosts = ["B.example"]
[app.c]
source = "c"
[app.d]
source = "d"
hosts = []
"#,
        expect![[r#"
            the host `a.example` belongs to `a` already
             --> node.toml:4:36
              |
            4 | hosts = ["a.example", "b.example", "a.example"]
              |                                    ^^^^^^^^^^^

            error: the host `b.example` belongs to `a` already
             --> node.toml:7:10
              |
            7 | hosts = ["B.example"]
              |          ^^^^^^^^^^^

            error: `c` and `d` both answer for all other host names
              --> node.toml:10:6
               |
            10 | [app.d]
               |      ^
            hint: give one of them `hosts = ["NAME"]`
        "#]],
    );
}

#[test]
fn a_node_listens_somewhere() {
    bad(
        "node = 1\nlisten = []\n",
        expect![[r#"
        the node listens nowhere
         --> node.toml:2:10
          |
        2 | listen = []
          |          ^^
        hint: give an address, or add `[tls]`
    "#]],
    );
    bad(
        "node = 1\n[tls]\nlisten = []\ncertificate = []\n",
        expect![[r#"
            `tls` needs at least one address
             --> node.toml:3:10
              |
            3 | listen = []
              |          ^^

            error: `tls` needs at least one certificate
             --> node.toml:4:15
              |
            4 | certificate = []
              |               ^^
        "#]],
    );
    bad(
        "node = 2\n",
        expect![[r#"
        node file version 2 is newer than this wharf knows (1)
         --> node.toml:1:8
          |
        1 | node = 2
          |        ^
        hint: update wharf
    "#]],
    );
    bad(
        "manifest = 1\nname = \"a\"\n",
        expect![[r#"
            unknown key `manifest` in the node file
             --> node.toml:1:1
              |
            1 | manifest = 1
              | ^^^^^^^^
            hint: the keys are node, listen, admin, tls, proxies, egress, limits, ceilings, app

            error: missing key `node` in the node file
             --> node.toml:1:1
              |
            1 | manifest = 1
              | ^
            hint: add `node = 1`

            error: unknown key `name` in the node file
             --> node.toml:2:1
              |
            2 | name = "a"
              | ^^^^
            hint: the keys are node, listen, admin, tls, proxies, egress, limits, ceilings, app
        "#]],
    );
}

#[test]
fn a_file_that_names_far_too_many_apps_is_refused() {
    let mut text = "node = 1\n".to_owned();
    for index in 0..10_001 {
        text.push_str(&format!(
            "[app.a{index}]\nsource = \"a\"\nhosts = [\"h{index}\"]\n"
        ));
    }
    let errors = parse_node(&text, "node.toml").unwrap_err();
    assert!(errors.to_string().contains("at most 10000"), "{errors}");
}

#[test]
fn private_addresses_are_hosts_alone() {
    bad(
        "node = 1\n[egress]\nprivate = [\"*\", \"tcp://10.0.0.5\", \"10.1.0.9/16\", \"127.1\"]\n",
        expect![[r#"
            `*` is not a private address
             --> node.toml:3:12
              |
            3 | private = ["*", "tcp://10.0.0.5", "10.1.0.9/16", "127.1"]
              |            ^^^
            hint: name networks, as `10.0.0.0/8`, or hosts, one by one

            error: `tcp://10.0.0.5` is not a private address
             --> node.toml:3:17
              |
            3 | private = ["*", "tcp://10.0.0.5", "10.1.0.9/16", "127.1"]
              |                 ^^^^^^^^^^^^^^^^
            hint: write the host alone, without a scheme and a port

            error: `10.1.0.9/16` has bits beyond its prefix
             --> node.toml:3:35
              |
            3 | private = ["*", "tcp://10.0.0.5", "10.1.0.9/16", "127.1"]
              |                                   ^^^^^^^^^^^^^
            hint: write `10.1.0.0/16`

            error: `127.1` is not a host name
             --> node.toml:3:50
              |
            3 | private = ["*", "tcp://10.0.0.5", "10.1.0.9/16", "127.1"]
              |                                                  ^^^^^^^
            hint: write an address as four numbers: `127.0.0.1`
        "#]],
    );
}

#[test]
fn what_is_allowed_is_written_as_it_is_asked_for() {
    bad(
        "node = 1\n[app.a]\nsource = \"a\"\negress = [\"10.0.0.5\"]\n\
         [app.a.allow]\nhttp = [\"example.com\", \"https://a/b\"]\nnet = \"a:1\"\nfile = []\n",
        expect![[r#"
            expected a table, found an array
             --> node.toml:4:10
              |
            4 | egress = ["10.0.0.5"]
              |          ^^^^^^^^^^^^

            error: the HTTP grant `example.com` has no scheme
             --> node.toml:6:9
              |
            6 | http = ["example.com", "https://a/b"]
              |         ^^^^^^^^^^^^^
            hint: write `https://example.com`

            error: the HTTP grant `https://a/b` has a path
             --> node.toml:6:24
              |
            6 | http = ["example.com", "https://a/b"]
              |                        ^^^^^^^^^^^^^
            hint: a grant is for a whole server: write `https://a`

            error: expected an array, found a string
             --> node.toml:7:7
              |
            7 | net = "a:1"
              |       ^^^^^
            hint: write it in brackets: ["a:1"]

            error: unknown key `file` in `allow`
             --> node.toml:8:1
              |
            8 | file = []
              | ^^^^
            hint: the keys are http, net
        "#]],
    );
}
