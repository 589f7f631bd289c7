//! Errors as clients see them: problem details, RFC 9457.

use darkroom_filters::FilterError;
use serde_json::{Value, json};
use wharf_sdk::http::StatusCode;

/// An error with the status it is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The last part of the problem's `type`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) detail: String,
    /// What to do about it.
    pub(crate) hint: Option<&'static str>,
    /// The methods that there are, where another was used.
    pub(crate) allow: Option<&'static str>,
}

impl Problem {
    fn new(status: StatusCode, name: &'static str, title: &'static str, detail: String) -> Self {
        Self {
            status,
            name,
            title,
            detail,
            hint: None,
            allow: None,
        }
    }

    pub(crate) fn not_found() -> Self {
        let detail = "the routes are POST /api/filter and GET /api/operations".to_owned();
        Self::new(StatusCode::NOT_FOUND, "not-found", "No such route", detail)
    }

    pub(crate) fn method(allow: &'static str) -> Self {
        let detail = format!("this route takes {allow}");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self {
            allow: Some(allow),
            ..Self::new(status, "method", "Wrong method", detail)
        }
    }

    pub(crate) fn too_long(bytes_max: usize) -> Self {
        let detail = format!("the file is over {} MiB", bytes_max >> 20);
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let hint = Some("a JPEG of the same picture is far smaller");
        Self {
            hint,
            ..Self::new(status, "too-large", "The picture is too large", detail)
        }
    }

    pub(crate) fn parameter(detail: String, hint: &'static str) -> Self {
        let title = "A parameter makes no sense";
        let problem = Self::new(StatusCode::BAD_REQUEST, "parameter", title, detail);
        Self {
            hint: Some(hint),
            ..problem
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut value = json!({
            "type": format!("urn:darkroom:problem:{}", self.name),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(hint) = self.hint {
            value["hint"] = hint.into();
        }
        value
    }
}

impl From<FilterError> for Problem {
    fn from(error: FilterError) -> Self {
        use FilterError as E;
        let (status, name, title) = match error {
            E::Empty => (StatusCode::BAD_REQUEST, "empty", "There is no picture"),
            E::Parameter { .. } => (
                StatusCode::BAD_REQUEST,
                "parameter",
                "A parameter makes no sense",
            ),
            E::UnknownFormat => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "format",
                "This is not a PNG or JPEG",
            ),
            E::Unsupported { .. } => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "kind",
                "This kind of picture is not supported",
            ),
            E::Truncated(_) | E::Corrupt { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "damaged",
                "The picture is damaged",
            ),
            E::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The picture is too large",
            ),
            E::Encode { .. } => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "result",
                "The result cannot be written",
            ),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                "The work was not finished",
            ),
        };
        Self {
            hint: error.hint(),
            ..Self::new(status, name, title, error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn problems_carry_detail_and_hint() {
        let problem = Problem::from(FilterError::UnknownFormat);
        assert_eq!(problem.status, 415);
        let value = problem.to_json();
        assert_eq!(value["type"], "urn:darkroom:problem:format");
        assert_eq!(value["detail"], "the input is neither a PNG nor a JPEG");
        assert_eq!(value["hint"], "convert the picture to PNG or JPEG first");
        assert_eq!(value["status"], 415);
    }
}
