//! Requests against a tree on disk, as a client would see their answers.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use wharf_artifact::{Blob, Encoding, FileEntry};
use wharf_manifest::Digest;

use super::*;

const MODIFIED: &str = "Sun, 01 Nov 2015 12:00:00 GMT";
const LARGE_BYTES: usize = 300_000;
const PAGE_ACCEPT: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

struct Site {
    files: Files,
    folder: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn large() -> Vec<u8> {
    (0..LARGE_BYTES).map(|n| (n % 251) as u8).collect()
}

impl Site {
    fn new(mut options: FilesOptions) -> Self {
        let modified = httpdate::parse_http_date(MODIFIED).unwrap();
        options.modified = Some(modified + Duration::from_millis(700));
        let folder = tempfile::tempdir().unwrap();
        let mut tree = BTreeMap::new();
        let mut add =
            |path: &str, content_type: &str, bytes: &[u8], variants: &[(Encoding, &[u8])]| {
                let entry = FileEntry {
                    identity: blob(folder.path(), bytes),
                    content_type: content_type.into(),
                    variants: variants
                        .iter()
                        .map(|(encoding, bytes)| (*encoding, blob(folder.path(), bytes)))
                        .collect(),
                };
                tree.insert(path.to_owned(), entry);
            };
        add("index.html", "text/html", b"<h1>home</h1>", &[]);
        add("docs/index.html", "text/html", b"<h1>docs</h1>", &[]);
        add("hello.txt", "text/plain", b"hello, world", &[]);
        add("empty.txt", "text/plain", b"", &[]);
        add("gr\u{fc}\u{df}e/a b.txt", "text/plain", b"named", &[]);
        add("a:b/index.html", "text/html", b"odd", &[]);
        add("%2e%2e/secret", "text/plain", b"literal", &[]);
        add(
            "app-3f9ab2c1.js",
            "application/javascript",
            b"let a = 1;",
            &[(Encoding::Gzip, b"GZIPPED"), (Encoding::Brotli, b"BR")],
        );
        add("photo.bin", "application/octet-stream", &large(), &[]);
        let files = Files::new(tree, options, BlobCache::default());
        Self { files, folder }
    }

    async fn send(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let request = FileRequest {
            method: &method,
            path,
            query,
            headers: &headers,
        };
        let (parts, body) = self.files.respond(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
        }
    }

    async fn get(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("GET", target, fields).await
    }
}

fn blob(folder: &Path, bytes: &[u8]) -> Blob {
    let digest = Digest::of(bytes);
    let path = folder.join(digest.hex());
    std::fs::write(&path, bytes).unwrap();
    Blob {
        digest,
        size: bytes.len() as u64,
        path,
    }
}

fn plain() -> Site {
    Site::new(FilesOptions::default())
}

#[tokio::test]
async fn a_file_comes_with_all_its_headers() {
    let site = plain();
    let answer = site.get("/hello.txt", &[]).await;
    assert_eq!((answer.status, answer.text()), (200, "hello, world"));
    let etag = format!("\"{}\"", &Digest::of(b"hello, world").hex()[..32]);
    for (name, expected) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", "12"),
        ("etag", etag.as_str()),
        ("last-modified", MODIFIED),
        ("accept-ranges", "bytes"),
        ("cache-control", "public, max-age=0, must-revalidate"),
        ("x-content-type-options", "nosniff"),
        ("vary", ""),
        ("content-encoding", ""),
    ] {
        assert_eq!(answer.header(name), expected, "{name}");
    }
    assert_eq!(site.get("/photo.bin", &[]).await.body, large(), "streamed");
    assert_eq!(
        site.get("/hello.txt", &[]).await.text(),
        "hello, world",
        "from memory"
    );
    let empty = site.get("/empty.txt", &[]).await;
    assert_eq!((empty.status, empty.header("content-length")), (200, "0"));
}

#[tokio::test]
async fn paths_find_files_folders_and_nothing_else() {
    let site = plain();
    for (target, status, body) in [
        ("/", 200, "<h1>home</h1>"),
        ("/index.html", 200, "<h1>home</h1>"),
        ("/docs/", 200, "<h1>docs</h1>"),
        ("/hello.txt?v=2", 200, "hello, world"),
        ("/h%65llo.txt", 200, "hello, world"),
        ("/gr%C3%BC%C3%9Fe/a%20b.txt", 200, "named"),
        ("/%252e%252e/secret", 200, "literal"),
        ("/hello.txt/", 404, "not found\n"),
        ("/missing", 404, "not found\n"),
        ("//hello.txt", 404, "not found\n"),
        ("/docs//", 404, "not found\n"),
        ("/HELLO.txt", 404, "not found\n"),
        ("/../hello.txt", 400, "this path cannot name a file\n"),
        (
            "/docs/%2e%2e/hello.txt",
            400,
            "this path cannot name a file\n",
        ),
        (
            "/docs/..%2fhello.txt",
            400,
            "this path cannot name a file\n",
        ),
        (
            "/docs%5c..%5chello.txt",
            400,
            "this path cannot name a file\n",
        ),
        ("/hello.txt%00.html", 400, "this path cannot name a file\n"),
        ("/%zz", 400, "this path cannot name a file\n"),
        ("", 400, "this path cannot name a file\n"),
    ] {
        let answer = site.get(target, &[]).await;
        assert_eq!((answer.status, answer.text()), (status, body), "{target}");
        assert_eq!(
            answer.header("x-content-type-options"),
            "nosniff",
            "{target}"
        );
    }
}

#[tokio::test]
async fn folders_without_their_slash_redirect() {
    let site = plain();
    for (target, location) in [
        ("/docs", "./docs/"),
        ("/docs?a=b&c", "./docs/?a=b&c"),
        ("/%64ocs", "./%64ocs/"),
        ("/a:b", "./a:b/"),
    ] {
        let answer = site.get(target, &[]).await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (308, location),
            "{target}"
        );
        assert_eq!(
            answer.header("cache-control"),
            "public, max-age=0, must-revalidate"
        );
    }
    assert_eq!(
        site.get("/gr%C3%BC%C3%9Fe", &[]).await.status,
        404,
        "a folder without an index"
    );
}

#[tokio::test]
async fn a_mount_is_taken_off_the_path() {
    let site = Site::new(FilesOptions {
        mount: "/site/v1".into(),
        ..FilesOptions::default()
    });
    for (target, status, text) in [
        ("/site/v1/", 200, "<h1>home</h1>"),
        ("/site/v1/docs/", 200, "<h1>docs</h1>"),
        ("/s%69te/v1/hello.txt", 200, "hello, world"),
        ("/site/v1", 308, ""),
        ("/site", 400, "this path cannot name a file\n"),
    ] {
        let answer = site.get(target, &[]).await;
        assert_eq!((answer.status, answer.text()), (status, text), "{target}");
    }
    assert_eq!(site.get("/site/v1", &[]).await.header("location"), "./v1/");
}

#[tokio::test]
async fn other_methods_are_told_what_is_allowed() {
    let site = plain();
    for (method, status) in [
        ("OPTIONS", 204),
        ("POST", 405),
        ("PUT", 405),
        ("DELETE", 405),
        ("PATCH", 405),
        ("TRACE", 405),
        ("CONNECT", 405),
        ("BREW", 405),
    ] {
        let answer = site.send(method, "/hello.txt", &[]).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (status, "GET, HEAD, OPTIONS"),
            "{method}"
        );
    }
}

#[tokio::test]
async fn head_says_what_get_would() {
    let site = plain();
    for (target, fields) in [
        ("/hello.txt", vec![]),
        ("/photo.bin", vec![]),
        ("/missing", vec![]),
        ("/docs", vec![]),
        ("/%zz", vec![]),
        ("/app-3f9ab2c1.js", vec![("accept-encoding", "br")]),
        ("/hello.txt", vec![("if-modified-since", MODIFIED)]),
    ] {
        let (get, head) = (
            site.get(target, &fields).await,
            site.send("HEAD", target, &fields).await,
        );
        assert_eq!(
            (head.status, &head.headers),
            (get.status, &get.headers),
            "{target}"
        );
        assert!(head.body.is_empty());
    }
    let ranged = site
        .send("HEAD", "/hello.txt", &[("range", "bytes=0-1")])
        .await;
    assert_eq!(
        (ranged.status, ranged.header("content-length")),
        (200, "12"),
        "Range is for GET only"
    );
}

#[tokio::test]
async fn variants_have_tags_of_their_own() {
    let site = plain();
    let mut tags = Vec::new();
    for (accept, coding, body) in [
        ("identity", "", "let a = 1;"),
        ("gzip", "gzip", "GZIPPED"),
        ("gzip, br", "br", "BR"),
        ("zstd", "", "let a = 1;"),
    ] {
        let answer = site
            .get("/app-3f9ab2c1.js", &[("accept-encoding", accept)])
            .await;
        assert_eq!(
            (answer.header("content-encoding"), answer.text()),
            (coding, body),
            "{accept}"
        );
        assert_eq!(
            answer.header("content-type"),
            "application/javascript; charset=utf-8"
        );
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert_eq!(
            answer.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        tags.push(answer.header("etag").to_owned());
    }
    assert_eq!(tags[0], tags[3]);
    tags.truncate(3);
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3);
    let gzip = &Digest::of(b"GZIPPED").hex()[..32];
    for (accept, status) in [("gzip", 304), ("br", 200), ("identity", 200)] {
        let fields = [
            ("accept-encoding", accept),
            ("if-none-match", &format!("\"{gzip}\"")),
        ];
        let answer = site.get("/app-3f9ab2c1.js", &fields).await;
        assert_eq!(
            (answer.status, answer.header("vary")),
            (status, "accept-encoding"),
            "{accept}"
        );
    }
}

#[tokio::test]
async fn conditions_are_answered() {
    let site = plain();
    let etag = site.get("/hello.txt", &[]).await.header("etag").to_owned();
    let not_modified = site.get("/hello.txt", &[("if-none-match", &etag)]).await;
    assert_eq!((not_modified.status, not_modified.body.len()), (304, 0));
    assert_eq!(not_modified.header("etag"), etag);
    assert_eq!(
        not_modified.header("cache-control"),
        "public, max-age=0, must-revalidate"
    );
    assert_eq!(not_modified.header("content-length"), "");
    for (fields, status) in [
        (vec![("if-modified-since", MODIFIED)], 304),
        (vec![("if-match", "\"other\"")], 412),
        (vec![("if-match", etag.as_str())], 200),
        (
            vec![("if-unmodified-since", "Sun, 01 Nov 2015 11:59:59 GMT")],
            412,
        ),
        (vec![("if-match", "\"other\""), ("range", "bytes=0-1")], 412),
        (
            vec![("if-none-match", etag.as_str()), ("range", "bytes=0-1")],
            304,
        ),
    ] {
        assert_eq!(
            site.get("/hello.txt", &fields).await.status,
            status,
            "{fields:?}"
        );
    }
    assert_eq!(site.get("/missing", &[("if-match", "*")]).await.status, 404);
}

#[tokio::test]
async fn ranges_are_answered() {
    let site = plain();
    for (range, status, content_range, body) in [
        ("bytes=0-4", 206, "bytes 0-4/12", "hello"),
        ("bytes=7-", 206, "bytes 7-11/12", "world"),
        ("bytes=-5", 206, "bytes 7-11/12", "world"),
        (
            "bytes=7-18446744073709551615",
            206,
            "bytes 7-11/12",
            "world",
        ),
        ("bytes=0-4,99-", 206, "bytes 0-4/12", "hello"),
        ("bytes=12-", 416, "bytes */12", ""),
        ("bytes=-0", 416, "bytes */12", ""),
        ("bytes=4-2", 200, "", "hello, world"),
        ("lines=0-1", 200, "", "hello, world"),
    ] {
        let answer = site.get("/hello.txt", &[("range", range)]).await;
        assert_eq!(
            (answer.status, answer.header("content-range"), answer.text()),
            (status, content_range, body),
            "{range}"
        );
        assert_eq!(
            answer.header("content-length"),
            body.len().to_string(),
            "{range}"
        );
    }
    let middle = site
        .get("/photo.bin", &[("range", "bytes=1000-250999")])
        .await;
    assert_eq!(middle.body, large()[1000..251_000]);
    let empty = site.get("/empty.txt", &[("range", "bytes=0-")]).await;
    assert_eq!(
        (empty.status, empty.header("content-range")),
        (416, "bytes */0")
    );
    let coded = site
        .get(
            "/app-3f9ab2c1.js",
            &[("accept-encoding", "gzip"), ("range", "bytes=0-3")],
        )
        .await;
    assert_eq!(
        (coded.status, coded.text(), coded.header("content-range")),
        (206, "GZIP", "bytes 0-3/7")
    );
}

#[tokio::test]
async fn several_ranges_come_as_multipart() {
    let site = plain();
    let boundary = format!("wharf-{}", &Digest::of(b"hello, world").hex()[..32]);
    let answer = site.get("/hello.txt", &[("range", "bytes=0-4, -5")]).await;
    assert_eq!(answer.status, 206);
    assert_eq!(
        answer.header("content-type"),
        format!("multipart/byteranges; boundary={boundary}")
    );
    assert_eq!(answer.header("content-range"), "");
    assert_eq!(
        answer.text(),
        format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes 0-4/12\r\n\r\n\
             hello\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Range: bytes 7-11/12\r\n\r\nworld\r\n--{boundary}--\r\n"
        )
    );
    assert_eq!(
        answer.header("content-length"),
        answer.body.len().to_string()
    );
    let large_parts = site
        .get("/photo.bin", &[("range", "bytes=0-9,200000-200009")])
        .await;
    let at = |needle: &[u8]| {
        large_parts
            .body
            .windows(needle.len())
            .any(|window| window == needle)
    };
    assert!(at(&large()[..10]) && at(&large()[200_000..200_010]));
    assert_eq!(
        large_parts.header("content-length"),
        large_parts.body.len().to_string()
    );
    let fields = [("accept-encoding", "gzip"), ("range", "bytes=0-0,2-2")];
    assert_eq!(
        site.get("/app-3f9ab2c1.js", &fields).await.status,
        200,
        "of a coded file: the whole"
    );
}

#[tokio::test]
async fn if_range_decides_between_part_and_whole() {
    let site = plain();
    let etag = site.get("/hello.txt", &[]).await.header("etag").to_owned();
    let weak = format!("W/{etag}");
    for (condition, status) in [
        (etag.as_str(), 206),
        (MODIFIED, 206),
        (weak.as_str(), 200),
        ("\"old\"", 200),
        ("Sun, 01 Nov 2015 11:00:00 GMT", 200),
        ("not a validator", 200),
    ] {
        let answer = site
            .get(
                "/hello.txt",
                &[("range", "bytes=0-4"), ("if-range", condition)],
            )
            .await;
        assert_eq!(answer.status, status, "{condition}");
    }
    // The date is shared by the coded variants, so it does not tell which one the client has.
    let fields = [("range", "bytes=0-4"), ("if-range", MODIFIED)];
    assert_eq!(site.get("/app-3f9ab2c1.js", &fields).await.status, 200);
}

#[tokio::test]
async fn browsers_that_navigate_get_the_fallback() {
    let options = FilesOptions {
        fallback: Some("index.html".into()),
        ..FilesOptions::default()
    };
    let site = Site::new(options);
    for (method, target, accept, status, text) in [
        ("GET", "/users/7", PAGE_ACCEPT, 200, "<h1>home</h1>"),
        ("HEAD", "/users/7", PAGE_ACCEPT, 200, ""),
        ("GET", "/users/7/", PAGE_ACCEPT, 200, "<h1>home</h1>"),
        ("GET", "/v1.2/users", PAGE_ACCEPT, 200, "<h1>home</h1>"),
        ("GET", "/users/7", ("accept", "*/*"), 404, "not found\n"),
        (
            "GET",
            "/users/7",
            ("accept", "application/json"),
            404,
            "not found\n",
        ),
        ("GET", "/missing.js", PAGE_ACCEPT, 404, "not found\n"),
        (
            "GET",
            "/%2e%2e/x",
            PAGE_ACCEPT,
            400,
            "this path cannot name a file\n",
        ),
        ("POST", "/users/7", PAGE_ACCEPT, 405, "method not allowed\n"),
        ("GET", "/docs/", PAGE_ACCEPT, 200, "<h1>docs</h1>"),
    ] {
        let answer = site.send(method, target, &[accept]).await;
        assert_eq!(
            (answer.status, answer.text()),
            (status, text),
            "{method} {target} {accept:?}"
        );
    }
    assert_eq!(
        site.get("/users/7", &[PAGE_ACCEPT]).await.header("vary"),
        "accept"
    );
    assert_eq!(site.get("/users/7", &[]).await.header("vary"), "accept");
    assert_eq!(site.get("/index.html", &[]).await.header("vary"), "");
}

#[tokio::test]
async fn an_app_has_its_own_page_for_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let entry = FileEntry {
        identity: blob(folder.path(), b"<h1>lost</h1>"),
        content_type: "text/html".into(),
        variants: vec![(Encoding::Gzip, blob(folder.path(), b"LOST"))],
    };
    let options = FilesOptions {
        cache_control: Some(HeaderValue::from_static("max-age=60")),
        ..Default::default()
    };
    let tree = BTreeMap::from([("404.html".to_owned(), entry)]);
    let site = Site {
        files: Files::new(tree, options, BlobCache::default()),
        folder,
    };
    let fields = [("range", "bytes=0-1"), ("if-modified-since", MODIFIED)];
    let answer = site.get("/missing", &fields).await;
    assert_eq!((answer.status, answer.text()), (404, "<h1>lost</h1>"));
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(
        answer.header("cache-control"),
        "public, max-age=0, must-revalidate"
    );
    assert_eq!(
        (answer.header("etag"), answer.header("accept-ranges")),
        ("", "")
    );
    assert_eq!(
        site.get("/missing", &[("accept-encoding", "gzip")])
            .await
            .text(),
        "LOST"
    );
    let direct = site.get("/404.html", &[]).await;
    assert_eq!(
        (direct.status, direct.header("cache-control")),
        (200, "max-age=60")
    );
}

#[tokio::test]
async fn a_blob_that_is_gone_or_cut_short_is_an_error() {
    let site = plain();
    let headers = HeaderMap::new();
    let path = |bytes: &[u8]| site.folder.path().join(Digest::of(bytes).hex());
    std::fs::remove_file(path(b"hello, world")).unwrap();
    std::fs::write(path(&large()), b"short").unwrap();
    for target in ["/hello.txt", "/photo.bin"] {
        let request = FileRequest {
            method: &Method::GET,
            path: target,
            query: None,
            headers: &headers,
        };
        let FilesError::Blob { file, .. } = site.files.respond(request).await.unwrap_err();
        assert_eq!(file, target[1..]);
    }
    assert_eq!(
        site.get("/", &[]).await.status,
        StatusCode::OK,
        "the others are served on"
    );
}
