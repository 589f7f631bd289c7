//! An app's static files: validators, ranges, codings, folders, fallbacks; and nothing else.

use std::io::Read;

use http::Request;

use crate::up_client::{Answer, Raw, full, get, header_of, send, status_of};
use crate::up_kitchen::{P3_PURE, Up, sandbox};

const MANIFEST: &str = r#"manifest = 1
name = "site"
version = "0.1.0"

[component.api]
source = "kitchen.wasm"

[[trigger.http]]
route = "/..."
files = "public"
fallback = "index.html"

[[trigger.http]]
route = "/plain/..."
files = "plain"
cache = "public, max-age=60"

[[trigger.http]]
route = "/hello"
component = "api"
"#;

/// Long enough to be worth a coding.
fn style() -> String {
    (0..300)
        .map(|number| format!(".rule-{number} {{ color: green }}\n"))
        .collect()
}

fn site() -> Up {
    let sandbox = sandbox();
    sandbox.copy(P3_PURE.file(), "kitchen.wasm");
    sandbox.put("wharf.toml", MANIFEST);
    sandbox.put("public/index.html", "<h1>home</h1>");
    sandbox.put("public/style.css", style());
    sandbox.put("public/docs/index.html", "<h1>docs</h1>");
    sandbox.put("public/app-3f9ab2c1.js", "run()");
    sandbox.put("public/a b%.txt", "odd name");
    sandbox.put("plain/digits.txt", "0123456789");
    sandbox.put("plain/404.html", "<h1>nothing here</h1>");
    sandbox.put("secret.txt", "a secret");
    Up::start_here(sandbox, &[])
}

/// GET with these header fields.
async fn get_with(up: &Up, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    send(up.addr, request.body(full("")).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_with_what_caches_need() {
    let up = site();
    let page = get(up.addr, "/").await;
    assert_eq!((page.status, page.text()), (200, "<h1>home</h1>"));
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("content-length"), "13");
    assert_eq!(page.header("accept-ranges"), "bytes");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(
        page.header("cache-control"),
        "public, max-age=0, must-revalidate"
    );
    assert!(page.header("last-modified").ends_with(" GMT"));
    let etag = page.header("etag");
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let hashed = get(up.addr, "/app-3f9ab2c1.js").await;
    assert_eq!(
        hashed.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    let told = get(up.addr, "/plain/digits.txt").await;
    assert_eq!(told.header("cache-control"), "public, max-age=60");
    let odd = get(up.addr, "/a%20b%25.txt").await;
    assert_eq!(odd.text(), "odd name");
    // Another route of the same app.
    assert_eq!(get(up.addr, "/hello").await.text(), "hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_has_is_not_sent_again() {
    let up = site();
    let first = get(up.addr, "/plain/digits.txt").await;
    let (etag, date) = (first.header("etag"), first.header("last-modified"));
    for (fields, status) in [
        (vec![("if-none-match", etag)], 304),
        (vec![("if-none-match", "*")], 304),
        (vec![("if-none-match", "\"other\"")], 200),
        (vec![("if-modified-since", date)], 304),
        (
            vec![("if-modified-since", "Mon, 01 Jan 2001 00:00:00 GMT")],
            200,
        ),
        (
            vec![("if-none-match", "\"other\""), ("if-modified-since", date)],
            200,
        ),
        (vec![("if-match", etag)], 200),
        (vec![("if-match", "\"other\"")], 412),
        (
            vec![("if-unmodified-since", "Mon, 01 Jan 2001 00:00:00 GMT")],
            412,
        ),
    ] {
        let answer = get_with(&up, "/plain/digits.txt", &fields).await;
        assert_eq!(answer.status, status, "{fields:?}");
        let expected = if status == 200 { "0123456789" } else { "" };
        assert_eq!(answer.text(), expected, "{fields:?}");
        if status == 304 {
            assert_eq!(answer.header("etag"), etag, "{fields:?}");
            assert_eq!(answer.header("cache-control"), "public, max-age=60");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_file() {
    let up = site();
    let etag = get(up.addr, "/plain/digits.txt")
        .await
        .header("etag")
        .to_owned();
    for (fields, status, content_range, text) in [
        (vec![("range", "bytes=2-4")], 206, "bytes 2-4/10", "234"),
        (vec![("range", "bytes=7-")], 206, "bytes 7-9/10", "789"),
        (vec![("range", "bytes=-2")], 206, "bytes 8-9/10", "89"),
        (vec![("range", "bytes=5-99")], 206, "bytes 5-9/10", "56789"),
        (vec![("range", "bytes=10-")], 416, "bytes */10", ""),
        (vec![("range", "lines=1-2")], 200, "", "0123456789"),
        (vec![("range", "bytes=4-2")], 200, "", "0123456789"),
        (
            vec![("range", "bytes=0-0"), ("if-range", &etag)],
            206,
            "bytes 0-0/10",
            "0",
        ),
        (
            vec![("range", "bytes=0-0"), ("if-range", "\"other\"")],
            200,
            "",
            "0123456789",
        ),
    ] {
        let answer = get_with(&up, "/plain/digits.txt", &fields).await;
        assert_eq!((answer.status, answer.text()), (status, text), "{fields:?}");
        assert_eq!(answer.header("content-range"), content_range, "{fields:?}");
    }
    let parts = get_with(&up, "/plain/digits.txt", &[("range", "bytes=0-1,8-9")]).await;
    assert_eq!(parts.status, 206);
    let kind = parts.header("content-type");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    assert_eq!(parts.text().matches(&format!("--{boundary}")).count(), 3);
    assert!(parts.text().contains("bytes 8-9/10"), "{}", parts.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_is_chosen_by_the_client() {
    let up = site();
    let plain = get(up.addr, "/style.css").await;
    assert_eq!(plain.text(), style());
    assert_eq!(plain.header("vary"), "accept-encoding");
    let mut etags = vec![plain.header("etag").to_owned()];
    for (accepted, coding) in [("gzip", "gzip"), ("br", "br"), ("gzip, br", "br")] {
        let coded = get_with(&up, "/style.css", &[("accept-encoding", accepted)]).await;
        assert_eq!(coded.status, 200);
        assert_eq!(coded.header("content-encoding"), coding, "{accepted}");
        assert_eq!(coded.header("vary"), "accept-encoding");
        assert_eq!(coded.header("content-type"), "text/css; charset=utf-8");
        assert!(coded.body.len() < plain.body.len() / 2, "{accepted}");
        let mut text = String::new();
        let read = if coding == "gzip" {
            flate2::read::GzDecoder::new(&coded.body[..]).read_to_string(&mut text)
        } else {
            brotli::Decompressor::new(&coded.body[..], 4096).read_to_string(&mut text)
        };
        read.unwrap();
        assert_eq!(text, style(), "{accepted}");
        let etag = coded.header("etag").to_owned();
        let again = [("accept-encoding", accepted), ("if-none-match", &etag)];
        assert_eq!(get_with(&up, "/style.css", &again).await.status, 304);
        etags.push(etag);
    }
    etags.sort();
    etags.dedup();
    assert_eq!(
        etags.len(),
        3,
        "each coding has a tag of its own: {etags:?}"
    );
    for refused in ["identity", "gzip;q=0, br;q=0", "deflate"] {
        let answer = get_with(&up, "/style.css", &[("accept-encoding", refused)]).await;
        assert_eq!(answer.header("content-encoding"), "", "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_what_is_not_there() {
    let up = site();
    let docs = get(up.addr, "/docs/").await;
    assert_eq!((docs.status, docs.text()), (200, "<h1>docs</h1>"));
    let redirect = get(up.addr, "/docs?a=b").await;
    assert_eq!(redirect.status, 308);
    assert_eq!(redirect.header("location"), "./docs/?a=b");
    let page = [("accept", "text/html")];
    for (path, fields, status, text) in [
        ("/some/view", &page[..], 200, "<h1>home</h1>"),
        ("/some/view", &[], 404, "not found\n"),
        ("/some/picture.png", &page, 404, "not found\n"),
        ("/plain/nothing", &page, 404, "<h1>nothing here</h1>"),
        ("/plain", &[], 404, "not found\n"),
    ] {
        let answer = get_with(&up, path, fields).await;
        assert_eq!(
            (answer.status, answer.text()),
            (status, text),
            "{path} {fields:?}"
        );
    }
    let request = Request::post("/style.css").body(full("x")).unwrap();
    let refused = send(up.addr, request).await;
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
    let head = send(up.addr, Request::head("/").body(full("")).unwrap()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), "13");
}

/// To the byte: no client library tidies these up.
#[tokio::test(flavor = "multi_thread")]
async fn no_path_leaves_the_folder() {
    let up = site();
    let mut raw = Raw::connect(up.addr).await;
    for path in [
        "/../secret.txt",
        "/docs/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/%2E./secret.txt",
        "/..%2fsecret.txt",
        "/..%2Fsecret.txt",
        "/docs/..%5c..%5csecret.txt",
        "/..\\secret.txt",
        "/plain/../../secret.txt",
        "/plain/%2e%2e/%2e%2e/secret.txt",
        "/plain/..%2f..%2fsecret.txt",
        "/%252e%252e/secret.txt",
        "//secret.txt",
        "/./secret.txt",
        "/secret.txt",
        "/wharf.toml",
        "/public/index.html",
        "/style.css%00.html",
        "/%c0%ae%c0%ae/secret.txt",
        "/%",
        "/%zz",
        "/etc/passwd",
        "//etc/passwd",
    ] {
        raw.write(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let (head, body) = raw.answer().await;
        assert!(matches!(status_of(&head), 400 | 404), "{path}: {head}");
        assert!(
            !body.contains("secret\n") && !body.contains("a secret"),
            "{path}: {body}"
        );
        assert_eq!(header_of(&head, "location"), None, "{path}");
    }
    assert_eq!(get(up.addr, "/").await.status, 200);
}
