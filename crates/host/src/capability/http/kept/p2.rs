//! The calls of WASI 0.2 that keep text.

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::HeaderResult;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, HeaderError, HostFields, HostOutgoingRequest, HostOutgoingResponse,
    HostResponseOutparam, Method,
};
use wasmtime_wasi_http::p2::types as engine;
use wasmtime_wasi_http::{FieldMap, FieldMapError, WasiHttpView};

use super::{BODY_BYTES, HANDLE_BYTES, METHOD_BYTES_MAX, of_entry, of_fields};
use crate::denial::HEADERS_MET;
use crate::state::InstanceState;

/// The version that the engine's own bindings define; others find it by compatibility.
const TYPES: &str = "wasi:http/types@0.2.12";

/// Bytes of the text of one error that are kept.
const ERROR_BYTES_MAX: usize = 1 << 10;

type Fields = Resource<FieldMap>;
type Request = Resource<engine::HostOutgoingRequest>;
type Response = Resource<engine::HostOutgoingResponse>;
type Answer<T> = wasmtime::Result<(Result<T, HeaderError>,)>;

pub(super) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    let mut types = linker.instance(TYPES)?;
    keep_text!(types, "outgoing-request", HostOutgoingRequest);
    types.func_wrap(
        "[method]outgoing-request.body",
        |mut store, (request,): (Request,)| {
            let state = store.data_mut();
            state.keep(BODY_BYTES)?;
            Ok((HostOutgoingRequest::body(&mut state.http(), request)?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-response.body",
        |mut store, (response,): (Response,)| {
            let state = store.data_mut();
            state.keep(BODY_BYTES)?;
            Ok((HostOutgoingResponse::body(&mut state.http(), response)?,))
        },
    )?;
    types.func_wrap(
        "[static]response-outparam.set",
        |mut store,
         (param, mut response): (
            Resource<engine::HostResponseOutparam>,
            Result<Response, ErrorCode>,
        )| {
            if let Err(error) = &mut response
                && let Some(text) = text_of(error)
            {
                cut(text);
            }
            HostResponseOutparam::set(&mut store.data_mut().http(), param, response)
        },
    )
}

fn answer<T>(_: &InstanceState, result: HeaderResult<T>) -> Answer<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => match error.downcast() {
            Ok(error) => Ok((Err(error),)),
            // 0.2 has no word for it, so that the engine traps.
            Err(trap) if is_too_much(&trap) => Err(HEADERS_MET.into()),
            Err(trap) => Err(trap),
        },
    }
}

fn is_too_much(trap: &wasmtime::Error) -> bool {
    matches!(
        trap.downcast_ref(),
        Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields)
    )
}

/// The guest's own words in an error.
fn text_of(error: &mut ErrorCode) -> Option<&mut String> {
    match error {
        ErrorCode::DnsError(about) => about.rcode.as_mut(),
        ErrorCode::TlsAlertReceived(about) => about.alert_message.as_mut(),
        ErrorCode::HttpRequestHeaderSize(about) => about.as_mut()?.field_name.as_mut(),
        ErrorCode::HttpRequestTrailerSize(about)
        | ErrorCode::HttpResponseHeaderSize(about)
        | ErrorCode::HttpResponseTrailerSize(about) => about.field_name.as_mut(),
        ErrorCode::HttpResponseTransferCoding(text)
        | ErrorCode::HttpResponseContentCoding(text)
        | ErrorCode::InternalError(text) => text.as_mut(),
        _ => None,
    }
}

fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_errors_is_cut_between_characters() {
        let mut error = ErrorCode::InternalError(Some("ä".repeat(1 << 20) + "!"));
        cut(text_of(&mut error).unwrap());
        assert_eq!(text_of(&mut error).unwrap().len(), 1024);
        let mut odd = "a".to_owned() + &"ä".repeat(1000);
        cut(&mut odd);
        assert_eq!(odd.len(), 1023);
        let mut short = "short".to_owned();
        cut(&mut short);
        assert_eq!(short, "short");
        assert!(text_of(&mut ErrorCode::LoopDetected).is_none());
    }
}
