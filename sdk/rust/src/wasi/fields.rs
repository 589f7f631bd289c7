//! Heads of requests and responses: between the types of the crate `http` and
//! WASI's, which are the same in both versions.

use std::cell::Cell;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{HeaderMap, Method, StatusCode, Uri, request};

use super::abi::{Area, take_list};
use super::version::raw;
use crate::instance::instance_local;
use crate::{Body, Error, Request, Result};

/// Fields that belong to one connection; hosts refuse them from guests.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Reads WASI fields and drops them.
pub(crate) fn read_fields(handle: u32) -> HeaderMap {
    expect_headers();
    let mut area = Area::<1>::new();
    // SAFETY: the handle is owned here; the area has room for a list.
    unsafe { raw::fields_entries(handle, area.as_mut_ptr()) };
    let count = area.word(4) as usize;
    let mut map = HeaderMap::with_capacity(count);
    // SAFETY: the host wrote a list of `count` entries of four words each,
    // aligned to four, which is at least what `[u32; 4]` needs.
    let entries = unsafe {
        if count == 0 {
            Vec::new()
        } else {
            Vec::from_raw_parts(area.word(0) as usize as *mut [u32; 4], count, count)
        }
    };
    for [name, name_length, value, value_length] in entries {
        // SAFETY: the words of an entry are two lists of bytes, taken once.
        let (name, value) =
            unsafe { (take_list(name, name_length), take_list(value, value_length)) };
        // The host has checked them; what the crate `http` still refuses is
        // dropped, like what does not fit.
        if let Ok(name) = HeaderName::from_bytes(&name)
            && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value))
        {
            let _ = map.try_append(name, value);
        }
    }
    // SAFETY: the handle is owned and not used again.
    unsafe { raw::fields_drop(handle) };
    map
}

/// Makes the WASI fields of a message, adding what its body says of itself.
pub(crate) fn make_headers(map: &HeaderMap, body: &Body) -> Result<u32> {
    // Nothing is left to the host, which knows when to announce it.
    let length = body.length().filter(|length| *length != 0);
    make_fields(map, length, body.content_type)
}

/// Makes WASI fields of trailers.
pub(crate) fn make_trailers(map: &HeaderMap) -> Result<u32> {
    make_fields(map, None, None)
}

fn make_fields(
    map: &HeaderMap,
    length: Option<u64>,
    content_type: Option<&'static str>,
) -> Result<u32> {
    let mut entries = Entries::default();
    let mut digits = [0; 20];
    if !map.is_empty() {
        let Some(encode) = ENCODE.get() else {
            return Err(Error::new("headers from nowhere"));
        };
        encode(map, &mut entries);
    }
    if let Some(length) = length
        && !entries.has_length
    {
        entries.push("content-length", decimal(length, &mut digits));
    }
    if let Some(content_type) = content_type
        && !entries.has_type
    {
        entries.push("content-type", content_type.as_bytes());
    }
    // SAFETY: the entries point at texts that live until after the call.
    unsafe { fields_of(&entries.list) }
}

/// Names and values as WASI takes them, by address and length.
#[derive(Default)]
struct Entries {
    list: Vec<[u32; 4]>,
    has_length: bool,
    has_type: bool,
}

impl Entries {
    fn push(&mut self, name: &str, value: &[u8]) {
        self.list.push([
            name.as_ptr() as usize as u32,
            name.len() as u32,
            value.as_ptr() as usize as u32,
            value.len() as u32,
        ]);
    }
}

type Encode = fn(&HeaderMap, &mut Entries);

instance_local! {
    /// [`encode`], once there may be headers. Behind a pointer, so that a
    /// guest that makes none does not link it: the names of the crate `http`
    /// alone are 3 KB.
    static ENCODE: Cell<Option<Encode>> = Cell::new(None);
}

/// To be called wherever headers or trailers come from.
#[inline(always)]
pub(crate) fn expect_headers() {
    ENCODE.set(Some(encode));
}

fn encode(map: &HeaderMap, entries: &mut Entries) {
    for (name, value) in map {
        entries.has_length |= *name == CONTENT_LENGTH;
        entries.has_type |= *name == CONTENT_TYPE;
        if !HOP_BY_HOP.contains(&name.as_str()) {
            entries.push(name.as_str(), value.as_bytes());
        }
    }
}

/// What a handler made.
#[allow(unreachable_pub)]
pub struct Answer {
    response: crate::Response,
    encode: Option<Encode>,
}

/// Takes what a handler returned. Inlined into the handler, where the compiler
/// may see that no header is ever set; the pointer then leads there from
/// nowhere.
#[inline(always)]
#[allow(unreachable_pub)]
pub fn answer(response: impl crate::IntoResponse) -> Answer {
    let response = response.into_response();
    let encode: Option<Encode> = match response.headers().is_empty() {
        true => None,
        false => Some(encode),
    };
    Answer { response, encode }
}

impl Answer {
    pub(crate) fn into_response(self) -> crate::Response {
        if self.encode.is_some() {
            ENCODE.set(self.encode);
        }
        self.response
    }
}

/// WASI fields with nothing in them.
pub(crate) fn no_fields() -> u32 {
    // SAFETY: there are no entries.
    unsafe { fields_of(&[]) }.unwrap_or(0)
}

/// # Safety
///
/// An entry is the addresses and lengths of its name and value.
unsafe fn fields_of(entries: &[[u32; 4]]) -> Result<u32> {
    let mut area = Area::<4>::new();
    // SAFETY: as this function asks.
    unsafe { raw::fields_from_list(entries.as_ptr().cast(), entries.len(), area.as_mut_ptr()) };
    match area.byte(0) {
        0 => Ok(area.word(4)),
        // Size exceeded, which 0.2 does not have.
        _ if area.byte(4) == 3 => Err(Error::new("more headers than the host takes")),
        _ => Err(Error::new("the host refuses these headers")),
    }
}

/// A number's digits, without the formatting machinery.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

const METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

/// The text at an offset, where the option before it is there.
///
/// # Safety
///
/// As [`Area::take_list`].
unsafe fn option_list<const WORDS: usize>(area: &Area<WORDS>) -> Option<Vec<u8>> {
    // SAFETY: as this function asks.
    (area.byte(0) == 1).then(|| unsafe { area.take_list(4) })
}

/// Reads the head of an incoming request; the handle stays.
pub(crate) fn read_request(handle: u32, body: Body) -> Result<Request> {
    let mut area = Area::<2>::new();
    // SAFETY: the handle is owned by the caller, and each area has the room
    // and the layout of its function's result.
    let (method, target, scheme, authority, headers) = unsafe {
        raw::request_method(handle, area.as_mut_ptr());
        let method = match METHODS.get(usize::from(area.byte(0))) {
            Some(method) => Ok(method.clone()),
            None => Method::from_bytes(&area.take_list(4)),
        };
        raw::request_target(handle, area.as_mut_ptr());
        let target = option_list(&area);
        raw::request_scheme(handle, area.as_mut_ptr());
        let scheme = match (area.byte(0), area.byte(4)) {
            (1, 0) => b"http".to_vec(),
            (1, 1) => b"https".to_vec(),
            (1, _) => area.take_list(8),
            _ => b"http".to_vec(),
        };
        raw::request_authority(handle, area.as_mut_ptr());
        let authority = option_list(&area);
        let headers = read_fields(raw::request_headers(handle));
        (method, target, scheme, authority, headers)
    };
    let mut uri = Vec::new();
    if let Some(authority) = authority.filter(|authority| !authority.is_empty()) {
        uri.extend_from_slice(&scheme);
        uri.extend_from_slice(b"://");
        uri.extend_from_slice(&authority);
    }
    match target {
        Some(target) if !target.is_empty() => uri.extend_from_slice(&target),
        _ => uri.push(b'/'),
    }
    let bad = |what| Error::with_status(StatusCode::BAD_REQUEST, what);
    let mut request = Request::new(body);
    *request.method_mut() = method.map_err(|_| bad("the method is not valid"))?;
    *request.uri_mut() =
        Uri::from_maybe_shared(Bytes::from(uri)).map_err(|_| bad("the URI is not valid"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Sets the method and target of an outgoing request.
pub(crate) fn write_request(handle: u32, parts: &request::Parts) -> Result<()> {
    let uri = &parts.uri;
    let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
        return Err(Error::new("an outgoing request needs an absolute URI"));
    };
    let known = METHODS.iter().position(|method| *method == parts.method);
    let method = parts.method.as_str();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let scheme_case = match scheme {
        scheme if *scheme == Scheme::HTTP => 0,
        scheme if *scheme == Scheme::HTTPS => 1,
        _ => 2,
    };
    let (scheme, authority) = (scheme.as_str(), authority.as_str());
    // SAFETY: the handle is owned by the caller; the texts live until after
    // the calls.
    let refused = unsafe {
        raw::set_method(
            handle,
            known.unwrap_or(METHODS.len()) as u32,
            method.as_ptr(),
            method.len(),
        ) | raw::set_target(handle, 1, target.as_ptr(), target.len())
            | raw::set_scheme(handle, 1, scheme_case, scheme.as_ptr(), scheme.len())
            | raw::set_authority(handle, 1, authority.as_ptr(), authority.len())
    };
    match refused {
        0 => Ok(()),
        _ => Err(Error::new("the host refuses this method or URI")),
    }
}

/// WASI's error codes, in their order.
const CODES: [&str; 39] = [
    "DNS timeout",
    "DNS error",
    "destination not found",
    "destination unavailable",
    "destination IP prohibited",
    "destination IP unroutable",
    "connection refused",
    "connection terminated",
    "connection timeout",
    "connection read timeout",
    "connection write timeout",
    "connection limit reached",
    "TLS protocol error",
    "TLS certificate error",
    "TLS alert received",
    "HTTP request denied",
    "HTTP request length required",
    "HTTP request body size",
    "HTTP request method invalid",
    "HTTP request URI invalid",
    "HTTP request URI too long",
    "HTTP request header section size",
    "HTTP request header size",
    "HTTP request trailer section size",
    "HTTP request trailer size",
    "HTTP response incomplete",
    "HTTP response header section size",
    "HTTP response header size",
    "HTTP response body size",
    "HTTP response trailer section size",
    "HTTP response trailer size",
    "HTTP response transfer coding",
    "HTTP response content coding",
    "HTTP response timeout",
    "HTTP upgrade failed",
    "HTTP protocol error",
    "loop detected",
    "configuration error",
    "internal error",
];

/// Takes over the error code at an offset.
///
/// # Safety
///
/// The host has written one there, and it is taken once.
pub(crate) unsafe fn take_error<const WORDS: usize>(area: &Area<WORDS>, offset: usize) -> Error {
    let code = area.byte(offset);
    let name = CODES.get(usize::from(code)).copied().unwrap_or("unknown");
    // SAFETY: as this function asks.
    match unsafe { take_error_text(area, offset) } {
        Some(detail) => {
            let mut whole = String::from(name);
            whole.push_str(": ");
            whole.push_str(&String::from_utf8_lossy(&detail));
            Error::new(whole)
        }
        None => Error::new(name),
    }
}

/// Takes over the text in the error code at an offset, if it has one.
///
/// # Safety
///
/// As [`take_error`].
pub(crate) unsafe fn take_error_text<const WORDS: usize>(
    area: &Area<WORDS>,
    offset: usize,
) -> Option<Vec<u8>> {
    let payload = offset + 8;
    // The place of the optional text in the code's payload, if it has one.
    let text = match area.byte(offset) {
        1 | 24 | 27 | 30 | 31 | 32 | 38 => Some(payload),
        14 => Some(payload + 4),
        22 if area.byte(payload) == 1 => Some(payload + 4),
        _ => None,
    }?;
    // SAFETY: the option says that the text is there.
    (area.byte(text) == 1).then(|| unsafe { area.take_list(text + 4) })
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn decimal_writes_all_digits() {
        for number in [0, 7, 10, 1_234_567, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
