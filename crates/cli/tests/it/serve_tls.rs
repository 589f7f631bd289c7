//! `wharf serve` over TLS: which certificate, which protocol, and new certificates while it runs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wharf_testkit::Sandbox;

use crate::serve_node::{Serving, metric, site};
use crate::up_client::{Client, Raw, Wire, status_of, within};

/// How long new certificates may take to be seen, on a busy machine.
const SEEN_LIMIT: Duration = Duration::from_secs(60);

/// A certificate that vouches for itself.
struct Certificate {
    pem: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Certificate {
    fn of(names: &[&str]) -> Certificate {
        // Long enough for any machine that runs this.
        Certificate::until(
            SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000),
            names,
        )
    }

    fn until(end: SystemTime, names: &[&str]) -> Certificate {
        let names = names.iter().map(|name| (*name).to_owned());
        let mut made = rcgen::CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
        made.not_after = end.into();
        let key = rcgen::KeyPair::generate().unwrap();
        let made = made.self_signed(&key).unwrap();
        Certificate {
            pem: made.pem(),
            key: key.serialize_pem(),
            der: made.der().clone(),
        }
    }

    /// Writes `NAME.pem` and `NAME.key`.
    fn put(&self, sandbox: &Sandbox, name: &str) {
        sandbox.put(format!("certs/{name}.pem"), &self.pem);
        sandbox.put(format!("certs/{name}.key"), &self.key);
    }
}

/// A node whose apps are `one` and `two`, with two certificates, and its HTTPS address.
fn node(one: &Certificate, two: &Certificate) -> (Serving, SocketAddr) {
    let sandbox = crate::sandbox();
    one.put(&sandbox, "one");
    two.put(&sandbox, "two");
    site(&sandbox, "one");
    site(&sandbox, "two");
    let serving = Serving::start(
        sandbox,
        r#"
node = 1
listen = ["127.0.0.1:0"]
admin = "127.0.0.1:0"
[tls]
listen = ["127.0.0.1:0"]
certificate = [
  { chain = "certs/one.pem", key = "certs/one.key" },
  { chain = "certs/two.pem", key = "certs/two.key" },
]
[app.one]
source = "one"
hosts = ["one.example"]
[app.two]
source = "two"
hosts = ["*.two.example"]
"#,
    );
    let https = serving.addr_after("listening on https://");
    (serving, https)
}

/// Connects as a client of `name` that trusts `certificate` and offers `protocols`; gives what
/// protocol was chosen, too.
async fn connect(
    addr: SocketAddr,
    name: &str,
    certificate: &Certificate,
    protocols: &[&str],
) -> Result<(Client, Option<String>), std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let stream = TcpStream::connect(addr).await?;
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(server, stream);
    let stream = within("a handshake", connecting).await?;
    let chosen = stream.get_ref().1.alpn_protocol();
    let chosen = chosen.map(|name| String::from_utf8_lossy(name).into_owned());
    let wire = match chosen.as_deref() {
        Some("h2") => Wire::H2,
        _ => Wire::H1,
    };
    let client = Client::over(stream, name.to_owned(), "https", wire).await;
    Ok((client, chosen))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_certificate_and_the_app_of_the_name_it_asks_for() {
    let one = Certificate::of(&["one.example"]);
    let two = Certificate::of(&["*.two.example"]);
    let (_serving, addr) = node(&one, &two);
    for (name, certificate, says) in [("one.example", &one, "one"), ("a.two.example", &two, "two")]
    {
        let (mut client, chosen) = connect(addr, name, certificate, &["h2", "http/1.1"])
            .await
            .unwrap();
        assert_eq!(chosen.as_deref(), Some("h2"), "{name}");
        assert_eq!(client.get("/").await.text(), says);
        let (mut client, chosen) = connect(addr, name, certificate, &["http/1.1"])
            .await
            .unwrap();
        assert_eq!(chosen.as_deref(), Some("http/1.1"), "{name}");
        assert_eq!(client.get("/").await.text(), says);
        let (mut client, chosen) = connect(addr, name, certificate, &[]).await.unwrap();
        assert_eq!(chosen, None);
        assert_eq!(client.get("/").await.text(), says);
    }
    // A name of neither gets the first, which is no good for it.
    assert!(connect(addr, "b.example", &one, &[]).await.is_err());
    // A wildcard stands for one label only.
    assert!(connect(addr, "a.b.two.example", &two, &[]).await.is_err());
    // Nobody speaks a protocol that was not offered.
    assert!(
        connect(addr, "one.example", &one, &["spdy/3"])
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_stays_while_certificates_are_replaced() {
    let old = Certificate::of(&["one.example"]);
    let two = Certificate::of(&["*.two.example"]);
    let (serving, addr) = node(&old, &two);
    let (mut client, _) = connect(addr, "one.example", &old, &["h2"]).await.unwrap();
    assert_eq!(client.get("/").await.text(), "one");

    let new = Certificate::of(&["one.example"]);
    let mark = serving.server.mark();
    // The new certificate with the old key, as a renewal looks halfway.
    serving.sandbox.put("certs/one.pem", &new.pem);
    let line = serving.server.wait_for_line_after(
        mark,
        |line| line.contains("certificates are no good"),
        SEEN_LIMIT,
    );
    assert!(line.contains("one.pem") && line.contains("hint"), "{line}");
    assert!(connect(addr, "one.example", &old, &[]).await.is_ok());

    let mark = serving.server.mark();
    serving.sandbox.put("certs/one.key", &new.key);
    let again = |line: &str| line.contains("certificates were read again");
    serving.server.wait_for_line_after(mark, again, SEEN_LIMIT);
    let (mut fresh, _) = connect(addr, "one.example", &new, &["h2"]).await.unwrap();
    assert_eq!(fresh.get("/").await.text(), "one");
    assert!(connect(addr, "one.example", &old, &[]).await.is_err());
    assert_eq!(
        client.get("/").await.text(),
        "one",
        "the connection from before"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_certificate_is_counted_and_told() {
    let over = Certificate::until(
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000),
        &["one.example", "other.example"],
    );
    let soon = SystemTime::now() + Duration::from_secs(3 * 24 * 3600);
    let soon = Certificate::until(soon, &["*.two.example"]);
    let (serving, _) = node(&over, &soon);
    for (level, said) in [
        ("error", "one.pem is over since 2020-09-13T12:26:40"),
        ("warn", "two.pem ends soon, at "),
    ] {
        let told = |line: &str| line.contains(said) && line.contains(level);
        let line = serving.server.wait_for_line(told, SEEN_LIMIT);
        assert!(line.contains("\"hint\":\"renew it"), "{line}");
    }
    let admin = serving.admin();
    let end = async |name: &str| {
        let line = format!("wharf_certificate_not_after_seconds{{name=\"{name}\"}}");
        metric(admin, &line).await
    };
    assert_eq!(end("one.example").await, Some(1.6e9));
    assert_eq!(end("other.example").await, Some(1.6e9));
    assert!(end("*.two.example").await.unwrap() > 1.7e9);

    let output = serving.sandbox.wharf(["serve", "--check"]);
    assert_eq!(output.code, 0, "{output:?}");
    for said in [
        "warning: the certificate",
        "one.pem is over",
        "two.pem ends",
    ] {
        assert!(output.stderr.contains(said), "{}", output.stderr);
    }

    let mark = serving.server.mark();
    Certificate::of(&["one.example"]).put(&serving.sandbox, "one");
    let again = |line: &str| line.contains("certificates were read again");
    serving.server.wait_for_line_after(mark, again, SEEN_LIMIT);
    assert_eq!(end("one.example").await, Some(4e9));
    assert_eq!(end("other.example").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_to_the_tls_port_is_told_so() {
    let one = Certificate::of(&["one.example"]);
    let (_serving, addr) = node(&one, &one);
    for bytes in [
        "GET / HTTP/1.1\r\nHost: one.example\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut raw = Raw::send(addr, bytes).await;
        let (head, body) = raw.answer().await;
        assert_eq!(status_of(&head), 400, "{head}");
        assert_eq!(body, "this port speaks HTTPS: ask https://\n");
        assert_eq!(raw.read_to_end().await, "");
    }
    // What is neither ends the connection, and nothing else.
    let mut raw = Raw::send(addr, [0x16, 3, 1, 0, 2, 9, 9]).await;
    raw.read_to_end().await;
    assert!(connect(addr, "one.example", &one, &[]).await.is_ok());
}

#[test]
fn certificates_that_are_no_good_are_told_before_anything_is_opened() {
    let sandbox = crate::sandbox();
    site(&sandbox, "one");
    let good = Certificate::of(&["one.example"]);
    good.put(&sandbox, "good");
    let other = Certificate::of(&["two.example"]);
    sandbox.put("certs/other.key", &other.key);
    sandbox.put("certs/empty.pem", "");
    sandbox.put(
        "certs/text.pem",
        "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n",
    );
    for (chain, key, wrong) in [
        ("none.pem", "good.key", "cannot read"),
        ("good.pem", "none.key", "cannot read"),
        ("empty.pem", "good.key", "empty.pem holds no certificate"),
        ("text.pem", "good.key", "text.pem holds a bad certificate"),
        ("good.pem", "good.pem", "good.pem holds no private key"),
        ("good.pem", "other.key", "cannot be used together"),
    ] {
        sandbox.put(
            "node.toml",
            format!(
                "node = 1\n[tls]\nlisten = [\"127.0.0.1:0\"]\n\
                 certificate = [{{ chain = \"certs/{chain}\", key = \"certs/{key}\" }}]\n\
                 [app.one]\nsource = \"one\"\n"
            ),
        );
        for arguments in [&["serve"][..], &["serve", "--check"]] {
            let output = sandbox.wharf(arguments);
            assert_eq!(output.code, 1, "{output:?}");
            assert!(
                output.stderr.contains(wrong),
                "{chain} {key}: {}",
                output.stderr
            );
            assert!(output.stderr.contains("hint: "), "{}", output.stderr);
            assert!(!output.stderr.contains("listening"), "{}", output.stderr);
        }
    }
}
