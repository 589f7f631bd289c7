//! From a request to a whole answer.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, LAST_MODIFIED, LOCATION, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use wharf_artifact::{Blob, FileEntry, FileTree};

use super::body::{FileBody, Piece};
use super::cache::{BlobCache, Opened};
use super::conditional::{self, Validators, Verdict};
use super::range::Wanted;
use super::{cache_control, describe, encoding, path, path::Target, range};

/// The methods that files answer.
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
/// What a folder is answered with.
const INDEX: &str = "index.html";
/// What an unknown path is answered with, if the tree has it.
const NOT_FOUND_PAGE: &str = "404.html";

/// How an app's files are served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesOptions {
    /// The prefix of the route without its final slash: empty for `/...`, `/docs` for
    /// `/docs/...`. As many segments are taken off each path. Default: empty.
    pub mount: String,
    /// The file, by its path in the tree, that a browser gets with 200 when it navigates to an
    /// unknown path whose last segment has no dot. Default: none.
    pub fallback: Option<String>,
    /// `Cache-Control` of every file that is found. Default: a year and `immutable` for names
    /// that carry a hash of their content, else `public, max-age=0, must-revalidate`.
    pub cache_control: Option<HeaderValue>,
    /// `Last-Modified` of every file: when this version of the app began to be served. Artifacts
    /// hold no time, and a time that only grows stays right after a rollback too, where a file's
    /// own would go back. Default: none, and no `Last-Modified`.
    pub modified: Option<SystemTime>,
}

/// The parts of a request that files look at.
#[derive(Debug, Clone, Copy)]
pub struct FileRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The whole path as it came, still percent-encoded, the mount included.
    pub path: &'a str,
    /// What follows the `?`; kept when redirecting.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// Why a file could not be sent: a fault of the host, a 500 for the client.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The blob of a file cannot be read.
    #[error("cannot read the blob of `{file}` at {}: {source}", .blob.display())]
    Blob {
        /// The file's path in the tree.
        file: String,
        /// Where its bytes should lie.
        blob: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Serves a [`FileTree`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    tree: Arc<FileTree>,
    options: Arc<FilesOptions>,
    mount_depth: usize,
    cache: BlobCache,
}

/// A file that was found, and how to answer with it.
struct Found<'a> {
    path: &'a str,
    entry: &'a FileEntry,
    status: StatusCode,
    /// Whether the answer depends on `Accept`, as the fallback and what stands in its place do.
    varies_by_accept: bool,
}

impl Files {
    /// Serves `tree`; small files are kept in `cache`.
    #[must_use]
    pub fn new(tree: impl Into<Arc<FileTree>>, options: FilesOptions, cache: BlobCache) -> Self {
        let mount_depth = options.mount.trim_end_matches('/').matches('/').count();
        Self {
            tree: tree.into(),
            options: Arc::new(options),
            mount_depth,
            cache,
        }
    }

    /// Answers a request, any method and path.
    ///
    /// The answer has its `Content-Length`, also for HEAD. Dropping the future cancels it.
    ///
    /// # Errors
    /// The file's blob is missing, unreadable or of another length than the tree says. A fault
    /// that shows later, while the body is read, is an error of the body.
    pub async fn respond(
        &self,
        request: FileRequest<'_>,
    ) -> Result<Response<FileBody>, FilesError> {
        if request.method == Method::OPTIONS {
            let mut response = empty(StatusCode::NO_CONTENT);
            response.headers_mut().insert(ALLOW, ALLOWED);
            return Ok(response);
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            response.headers_mut().insert(ALLOW, ALLOWED);
            return Ok(response);
        }
        let mut response = match path::parse(request.path, self.mount_depth) {
            Ok(target) => self.respond_to(&target, request).await?,
            Err(path::BadPath) => text(StatusCode::BAD_REQUEST, "this path cannot name a file\n"),
        };
        if request.method == Method::HEAD {
            *response.body_mut() = FileBody::empty();
        }
        Ok(response)
    }

    async fn respond_to(
        &self,
        target: &Target,
        request: FileRequest<'_>,
    ) -> Result<Response<FileBody>, FilesError> {
        let wanted = match target {
            Target::Mount => return Ok(self.redirect_to_folder("", request)),
            Target::Folder(folder) => index_of(folder),
            Target::File(path) => path.clone(),
        };
        if let Some(entry) = self.tree.get(&wanted) {
            let found = Found {
                path: &wanted,
                entry,
                status: StatusCode::OK,
                varies_by_accept: false,
            };
            return self.send(found, request).await;
        }
        if let Target::File(path) = target
            && self.tree.get(&index_of(path)).is_some()
        {
            return Ok(self.redirect_to_folder(path, request));
        }
        let is_page_path = !request
            .path
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .contains('.');
        let fallback = self.options.fallback.as_deref().filter(|_| is_page_path);
        let varies_by_accept = fallback.is_some();
        if let Some(fallback) = fallback.map(|path| path.trim_start_matches('/'))
            && encoding::accepts_html(request.headers)
            && let Some(entry) = self.tree.get(fallback)
        {
            let found = Found {
                path: fallback,
                entry,
                status: StatusCode::OK,
                varies_by_accept,
            };
            return self.send(found, request).await;
        }
        let mut response = match self.tree.get(NOT_FOUND_PAGE) {
            Some(entry) => {
                let status = StatusCode::NOT_FOUND;
                let found = Found {
                    path: NOT_FOUND_PAGE,
                    entry,
                    status,
                    varies_by_accept,
                };
                self.send(found, request).await?
            }
            None => text(StatusCode::NOT_FOUND, "not found\n"),
        };
        if varies_by_accept && !response.headers().contains_key(VARY) {
            response
                .headers_mut()
                .insert(VARY, HeaderValue::from_static("accept"));
        }
        Ok(response)
    }

    /// Answers with a file: its preconditions, its ranges, its bytes.
    async fn send(
        &self,
        found: Found<'_>,
        request: FileRequest<'_>,
    ) -> Result<Response<FileBody>, FilesError> {
        let (coding, blob) = encoding::choose(found.entry, request.headers);
        let is_page = found.status == StatusCode::OK;
        let mut headers = HeaderMap::new();
        let vary = match (found.entry.variants.is_empty(), found.varies_by_accept) {
            (true, false) => None,
            (true, true) => Some("accept"),
            (false, false) => Some("accept-encoding"),
            (false, true) => Some("accept-encoding, accept"),
        };
        if let Some(vary) = vary {
            headers.insert(VARY, HeaderValue::from_static(vary));
        }
        let cache_control = if is_page {
            cache_control::for_file(found.path, self.options.cache_control.as_ref())
        } else {
            cache_control::default_value()
        };
        headers.insert(CACHE_CONTROL, cache_control);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let content_type = describe::content_type(&found.entry.content_type);
        let mut wanted = Wanted::Whole;
        if is_page {
            let etag = describe::etag(blob);
            let now = SystemTime::now();
            let modified = self
                .options
                .modified
                .map(|time| whole_seconds(time.min(now)));
            let modified_is_unique = found.entry.variants.is_empty();
            let validators = Validators {
                etag: &etag,
                modified,
                modified_is_unique,
            };
            headers.insert(ETAG, etag.clone());
            match conditional::evaluate(request.headers, &validators) {
                Verdict::NotModified => return Ok(answer(StatusCode::NOT_MODIFIED, headers)),
                Verdict::Failed => {
                    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
                    return Ok(answer(StatusCode::PRECONDITION_FAILED, headers));
                }
                Verdict::Send => {}
            }
            if let Some(modified) = modified {
                let date = httpdate::fmt_http_date(modified);
                headers.insert(
                    LAST_MODIFIED,
                    HeaderValue::try_from(date).expect("a date is ASCII"),
                );
            }
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            if request.method == Method::GET
                && let Some(field) = request
                    .headers
                    .get(RANGE)
                    .and_then(|field| field.to_str().ok())
                && conditional::range_holds(request.headers, &validators, now)
            {
                wanted = range::parse(field, blob.size);
            }
        }
        if let (Wanted::Parts(parts), Some(_)) = (&wanted, coding)
            && parts.len() > 1
        {
            // The parts would be of the coded bytes, which clients of several ranges get wrong.
            wanted = Wanted::Whole;
        }
        if wanted == Wanted::Unsatisfiable {
            headers.insert(CONTENT_RANGE, header(format!("bytes */{}", blob.size)));
            headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
            return Ok(answer(StatusCode::RANGE_NOT_SATISFIABLE, headers));
        }
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
        }
        let (status, content_type, pieces) = match wanted {
            Wanted::Parts(parts) => match parts.as_slice() {
                [part] => {
                    headers.insert(CONTENT_RANGE, header(content_range(part, blob.size)));
                    (
                        StatusCode::PARTIAL_CONTENT,
                        content_type,
                        vec![Piece::Disk(part.clone())],
                    )
                }
                parts => {
                    let (multipart, pieces) = multipart(parts, blob, &content_type);
                    (StatusCode::PARTIAL_CONTENT, multipart, pieces)
                }
            },
            Wanted::Whole | Wanted::Unsatisfiable => {
                (found.status, content_type, vec![Piece::Disk(0..blob.size)])
            }
        };
        headers.insert(CONTENT_TYPE, content_type);
        let length = pieces.iter().map(Piece::len).sum::<u64>();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        let body = if request.method == Method::HEAD {
            FileBody::empty()
        } else {
            self.open(found.path, blob, pieces).await?
        };
        let mut response = answer(status, headers);
        *response.body_mut() = body;
        Ok(response)
    }

    async fn open(
        &self,
        file: &str,
        blob: &Blob,
        pieces: Vec<Piece>,
    ) -> Result<FileBody, FilesError> {
        let fail = |source| FilesError::Blob {
            file: file.to_owned(),
            blob: blob.path.clone(),
            source,
        };
        match self.cache.open(blob).await.map_err(fail)? {
            Opened::Cached(bytes) => {
                Ok(FileBody::from_memory(pieces.into_iter().map(
                    |piece| match piece {
                        Piece::Memory(bytes) => bytes,
                        Piece::Disk(range) => {
                            let index =
                                |at| usize::try_from(at).expect("within bytes that are in memory");
                            bytes.slice(index(range.start)..index(range.end))
                        }
                    },
                )))
            }
            Opened::OnDisk(file) => Ok(FileBody::from_disk(pieces, file, self.cache.clone())),
        }
    }

    /// Sends the client to the folder's path with its slash, against which relative links resolve.
    fn redirect_to_folder(&self, folder: &str, request: FileRequest<'_>) -> Response<FileBody> {
        let location = HeaderValue::try_from(path::with_slash(request.path, request.query));
        match location {
            Ok(location) if self.tree.get(&index_of(folder)).is_some() => {
                let mut response = empty(StatusCode::PERMANENT_REDIRECT);
                let headers = response.headers_mut();
                headers.insert(LOCATION, location);
                // Browsers keep a 308 for good unless told otherwise.
                headers.insert(CACHE_CONTROL, cache_control::default_value());
                headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
                response
            }
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }
}

fn index_of(folder: &str) -> String {
    if folder.is_empty() {
        INDEX.to_owned()
    } else {
        format!("{folder}/{INDEX}")
    }
}

fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

/// The `Content-Type` and the pieces of a `multipart/byteranges` answer.
fn multipart(
    parts: &[Range<u64>],
    blob: &Blob,
    content_type: &HeaderValue,
) -> (HeaderValue, Vec<Piece>) {
    // No file can hold its own digest, so the boundary does not occur in it.
    let hex = blob.digest.hex();
    let boundary = format!("wharf-{}", &hex[..32]);
    let content_type = content_type.to_str().unwrap_or("application/octet-stream");
    let mut pieces = Vec::with_capacity(parts.len() * 2 + 1);
    for (n, part) in parts.iter().enumerate() {
        let lead = if n == 0 { "" } else { "\r\n" };
        let range = content_range(part, blob.size);
        let head = format!(
            "{lead}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {range}\r\n\r\n"
        );
        pieces.push(Piece::Memory(Bytes::from(head)));
        pieces.push(Piece::Disk(part.clone()));
    }
    pieces.push(Piece::Memory(Bytes::from(format!(
        "\r\n--{boundary}--\r\n"
    ))));
    (
        header(format!("multipart/byteranges; boundary={boundary}")),
        pieces,
    )
}

/// HTTP dates have no fractions, so validators must not either.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since_epoch = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since_epoch.as_secs())
}

fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("digits and fixed words are visible ASCII")
}

fn answer(status: StatusCode, headers: HeaderMap) -> Response<FileBody> {
    let mut response = empty(status);
    *response.headers_mut() = headers;
    response
}

fn empty(status: StatusCode) -> Response<FileBody> {
    let mut response = Response::new(FileBody::empty());
    *response.status_mut() = status;
    response
}

fn text(status: StatusCode, line: &'static str) -> Response<FileBody> {
    let mut response = empty(status);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, cache_control::default_value());
    headers.insert(CONTENT_LENGTH, HeaderValue::from(line.len()));
    *response.body_mut() = FileBody::full(line);
    response
}
