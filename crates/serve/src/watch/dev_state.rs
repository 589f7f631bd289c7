//! How the build stands, in words for pages.

use super::ansi;

/// More of a build's text is not shown on pages; its end is kept, where cargo sums up.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// How the build stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DevState {
    /// A build is under way; the version before it, if there is one, is served on.
    Building,
    /// This version is served.
    Ok {
        /// What tells it from others, e.g. the artifact's digest.
        version: String,
    },
    /// The build failed.
    Failed {
        /// What the build said, as on a terminal.
        text: String,
        /// Whether there is a version before it, which is served on.
        is_served: bool,
    },
}

/// What listeners are told.
#[derive(Debug, Clone)]
pub(crate) struct Signal {
    pub(crate) state: DevState,
    pub(crate) is_shutting_down: bool,
}

impl Signal {
    /// The state as an event's data: one line of JSON.
    pub(crate) fn to_json(&self) -> String {
        match &self.state {
            DevState::Building => r#"{"state":"building"}"#.to_owned(),
            DevState::Ok { version } => {
                serde_json::json!({ "state": "ok", "version": version }).to_string()
            }
            DevState::Failed { text, is_served } => {
                let text = shown(text);
                serde_json::json!({ "state": "failed", "text": text, "served": is_served })
                    .to_string()
            }
        }
    }
}

/// What of a build's text is shown.
pub(super) fn shown(text: &str) -> String {
    let text = ansi::strip(text);
    let mut start = text.len().saturating_sub(TEXT_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    if start == 0 {
        text
    } else {
        format!("\u{2026}{}", &text[start..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_one_line_of_json() {
        let check = |state: DevState, expected: &str| {
            assert_eq!(
                Signal {
                    state,
                    is_shutting_down: false
                }
                .to_json(),
                expected
            );
        };
        check(DevState::Building, r#"{"state":"building"}"#);
        check(
            DevState::Ok {
                version: "a\"1".into(),
            },
            r#"{"state":"ok","version":"a\"1"}"#,
        );
        for is_served in [true, false] {
            let failed = DevState::Failed {
                text: "\x1b[31merror\x1b[0m\r\n</script>\n".into(),
                is_served,
            };
            let start = r#"{"served":"#;
            let expected =
                format!(r#"{start}{is_served},"state":"failed","text":"error\n</script>\n"}}"#);
            check(failed, &expected);
        }
        let long = Signal {
            state: DevState::Failed {
                text: "\u{20ac}".repeat(TEXT_BYTES_MAX),
                is_served: true,
            },
            is_shutting_down: false,
        };
        assert!(long.to_json().len() < TEXT_BYTES_MAX + 100);
    }
}
