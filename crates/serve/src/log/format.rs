//! How an event looks: text for people, JSON lines for programs.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, SystemTime};

use super::{Event, GuestLine, GuestStream, Level, Message, RequestEvent, Value};

/// How wide paths are padded in text, so that statuses line up.
const PATH_WIDTH: usize = 24;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line a person reads, with the time of day in UTC.
    Text {
        /// Whether to colour it.
        is_coloured: bool,
    },
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Chooses for standard error: text on a terminal, in colour unless `NO_COLOR` is set or the
    /// terminal is dumb; else JSON lines.
    #[must_use]
    pub fn for_stderr() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self::choose(
            std::io::stderr().is_terminal(),
            !is_set("NO_COLOR") && !is_dumb,
        )
    }

    fn choose(is_terminal: bool, may_colour: bool) -> Self {
        if is_terminal {
            Self::Text {
                is_coloured: may_colour,
            }
        } else {
            Self::Json
        }
    }

    /// Appends an event and its line's end.
    pub(crate) fn write(self, event: &Event, out: &mut String) {
        match (self, event) {
            (Self::Text { is_coloured }, Event::Request(request)) => {
                text_request(request, Paint(is_coloured), out)
            }
            (Self::Text { is_coloured }, Event::GuestOutput(line)) => {
                text_guest(line, Paint(is_coloured), out)
            }
            (Self::Text { is_coloured }, Event::Message(message)) => {
                text_message(message, Paint(is_coloured), out)
            }
            (Self::Json, Event::Request(request)) => json_request(request, out),
            (Self::Json, Event::GuestOutput(line)) => json_guest(line, out),
            (Self::Json, Event::Message(message)) => json_message(message, out),
            (_, Event::Outgoing(_)) => return,
        }
        out.push('\n');
    }
}

/// Colours by their ANSI codes, or does not.
#[derive(Clone, Copy)]
struct Paint(bool);

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";
const DIM: &str = "2";

impl Paint {
    fn write(self, code: &str, text: &str, out: &mut String) {
        if self.0 {
            push(out, format_args!("\x1b[{code}m{text}\x1b[0m"));
        } else {
            out.push_str(text);
        }
    }
}

fn text_request(request: &RequestEvent, paint: Paint, out: &mut String) {
    paint.write(DIM, &time_of_day(request.time), out);
    push(out, format_args!(" {:<4} ", request.method.as_str()));
    let mut path = String::new();
    push_printable(&mut path, &request.path);
    push(out, format_args!("{path:<PATH_WIDTH$} "));
    let (colour, status) = match request.status.map(|status| status.as_u16()) {
        None => (YELLOW, "left".to_owned()),
        Some(status @ 0..=299) => (GREEN, format!("{status:<4}")),
        Some(status @ 300..=399) => (CYAN, format!("{status:<4}")),
        Some(status @ 400..=499) => (YELLOW, format!("{status:<4}")),
        Some(status) => (RED, format!("{status:<4}")),
    };
    paint.write(colour, &status, out);
    push(out, format_args!("{:>8} ", duration(request.duration)));
    push_printable(out, request.component.as_deref().unwrap_or("-"));
    out.push(' ');
    paint.write(DIM, &format!("{}\u{2026}", request.request_id.short()), out);
    if let Some(error) = &request.error {
        for line in error.lines() {
            out.push_str("\n          ");
            let mut printable = String::new();
            push_printable(&mut printable, line);
            paint.write(RED, &printable, out);
        }
    }
}

fn text_guest(line: &GuestLine, paint: Paint, out: &mut String) {
    let mut name = String::new();
    push_printable(&mut name, &line.component);
    push(out, format_args!("          {name} "));
    let bar = match line.stream {
        GuestStream::Stdout => DIM,
        GuestStream::Stderr => YELLOW,
    };
    paint.write(bar, "|", out);
    if !line.line.is_empty() {
        out.push(' ');
        push_printable(out, &line.line);
    }
}

fn text_message(message: &Message, paint: Paint, out: &mut String) {
    paint.write(DIM, &time_of_day(message.time), out);
    out.push(' ');
    let (colour, level) = match message.level {
        Level::Debug => (DIM, "debug: "),
        Level::Info => (DIM, ""),
        Level::Warn => (YELLOW, "warning: "),
        Level::Error => (RED, "error: "),
    };
    if !level.is_empty() {
        paint.write(colour, level, out);
    }
    push_printable(out, &message.text);
    if let Some(app) = &message.app {
        let mut field = " app=".to_owned();
        push_printable(&mut field, app);
        paint.write(DIM, &field, out);
    }
    for (key, value) in &message.fields {
        let mut field = format!(" {key}=");
        match value {
            Value::Text(text) => push_printable(&mut field, text),
            Value::Number(number) => push(&mut field, format_args!("{number}")),
            Value::Request(id) => push(&mut field, format_args!("{id}")),
        }
        paint.write(DIM, &field, out);
    }
}

fn json_request(request: &RequestEvent, out: &mut String) {
    let is_failure = request.error.is_some()
        || request
            .status
            .is_some_and(|status| status.is_server_error());
    let is_theirs = request
        .status
        .is_some_and(|status| status.is_client_error());
    let level = match (is_failure, is_theirs) {
        (false, _) => Level::Info,
        (true, true) => Level::Warn,
        (true, false) => Level::Error,
    };
    let mut object = JsonObject::open(out, request.time, level, "request");
    object.text("request_id", &request.request_id.to_string());
    object.text("app", &request.app);
    if let Some(component) = &request.component {
        object.text("component", component);
    }
    object.text("method", request.method.as_str());
    object.text("path", &request.path);
    if let Some(status) = request.status {
        object.number("status", status.as_u16().into());
    }
    object.raw(
        "duration_ms",
        format_args!("{:.3}", request.duration.as_secs_f64() * 1000.0),
    );
    object.number("bytes_out", request.bytes_out);
    if let Some(error) = &request.error {
        object.text("error", error);
    }
    if let Some(client) = request.client {
        object.text("client", &client.to_string());
    }
    object.close();
}

fn json_guest(line: &GuestLine, out: &mut String) {
    let mut object = JsonObject::open(out, line.time, Level::Info, &line.line);
    if let Some(id) = line.request_id {
        object.text("request_id", &id.to_string());
    }
    object.text("app", &line.app);
    object.text("component", &line.component);
    object.text("stream", line.stream.name());
    object.close();
}

fn json_message(message: &Message, out: &mut String) {
    let mut object = JsonObject::open(out, message.time, message.level, &message.text);
    if let Some(app) = &message.app {
        object.text("app", app);
    }
    for (key, value) in &message.fields {
        match value {
            Value::Text(text) => object.text(key, text),
            Value::Number(number) => object.number(key, *number),
            Value::Request(id) => object.text(key, &id.to_string()),
        }
    }
    object.close();
}

struct JsonObject<'a> {
    out: &'a mut String,
}

impl<'a> JsonObject<'a> {
    fn open(out: &'a mut String, time: SystemTime, level: Level, message: &str) -> Self {
        push(
            out,
            format_args!(
                "{{\"time\":\"{}\",\"level\":\"{}\"",
                rfc3339(time),
                level.name()
            ),
        );
        let mut object = Self { out };
        object.text("msg", message);
        object
    }

    fn text(&mut self, key: &str, value: &str) {
        self.raw(key, format_args!(""));
        push_json_string(self.out, value);
    }

    fn number(&mut self, key: &str, value: u64) {
        self.raw(key, format_args!("{value}"));
    }

    fn raw(&mut self, key: &str, value: std::fmt::Arguments<'_>) {
        self.out.push(',');
        push_json_string(self.out, key);
        self.out.push(':');
        push(self.out, value);
    }

    fn close(self) {
        self.out.push('}');
    }
}

/// Appends a JSON string. Beyond what JSON demands, it escapes whatever a terminal would act on.
fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // All of these lie in the basic plane, so one escape is enough.
            character if is_unprintable(character) => {
                push(out, format_args!("\\u{:04x}", u32::from(character)));
            }
            character => out.push(character),
        }
    }
    out.push('"');
}

/// Appends text with whatever a terminal would act on written out, as `\x1b`.
fn push_printable(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '\t' => out.push('\t'),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            character if is_unprintable(character) && character.is_ascii() => {
                push(out, format_args!("\\x{:02x}", u32::from(character)));
            }
            character if is_unprintable(character) => {
                push(out, format_args!("\\u{{{:x}}}", u32::from(character)));
            }
            character => out.push(character),
        }
    }
}

/// Controls (C0, DEL, C1), line separators, and marks that reorder the text around them.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// `320µs`, `1.2ms`, `3.40s`.
fn duration(duration: Duration) -> String {
    match duration.as_micros() {
        micros @ 0..1000 => format!("{micros}\u{b5}s"),
        micros @ 1000..1_000_000 => format!("{:.1}ms", micros as f64 / 1000.0),
        _ => format!("{:.2}s", duration.as_secs_f64()),
    }
}

fn time_of_day(time: SystemTime) -> String {
    rfc3339(time)[11..].to_owned()
}

/// `2026-11-01T12:03:11.123Z`.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    // Year 9999 is where the format ends.
    const END_S: u64 = 253_402_300_800;
    let since_epoch = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = since_epoch.as_secs().min(END_S - 1);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since_epoch.subsec_millis()
    )
}

/// The Gregorian date of a day since 1970.
///
/// Counts in eras of 400 years that begin on 1 March, so that a leap day ends its year.
fn civil_date(days_since_epoch: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let days = days_since_epoch + 719_468;
    let (era, day_of_era) = (days / ERA_DAYS, days % ERA_DAYS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::{Method, StatusCode};

    use super::*;
    use crate::log::Wire;

    const PLAIN: LogFormat = LogFormat::Text { is_coloured: false };

    fn time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_793_534_591_123)
    }

    fn request() -> RequestEvent {
        RequestEvent {
            wire: Wire {
                scheme: "http",
                version: http::Version::HTTP_11,
            },
            route: None,
            parent_span: None,
            time: time(),
            request_id: "7f3a00112233445566778899aabbccdd".parse().unwrap(),
            app: "guestbook".into(),
            component: Some("api".into()),
            method: Method::GET,
            path: "/api/hello".into(),
            status: Some(StatusCode::OK),
            duration: Duration::from_micros(1234),
            bytes_out: 42,
            error: None,
            client: Some([127, 0, 0, 1].into()),
        }
    }

    fn written(format: LogFormat, event: &Event) -> String {
        let mut out = String::new();
        format.write(event, &mut out);
        out
    }

    fn guest(line: &str) -> Event {
        Event::GuestOutput(GuestLine {
            time: time(),
            request_id: Some(request().request_id),
            app: "guestbook".into(),
            component: "api".into(),
            stream: GuestStream::Stdout,
            line: line.into(),
        })
    }

    #[test]
    fn text_lines() {
        assert_eq!(
            written(PLAIN, &Event::Request(request())),
            "12:03:11.123Z GET  /api/hello               200    1.2ms api 7f3a0011\u{2026}\n"
        );
        let failed = RequestEvent {
            component: None,
            status: None,
            error: Some("it trapped\nwasm backtrace".into()),
            ..request()
        };
        assert_eq!(
            written(PLAIN, &Event::Request(failed)),
            "12:03:11.123Z GET  /api/hello               left   1.2ms - 7f3a0011\u{2026}\n          \
             it trapped\n          wasm backtrace\n"
        );
        assert_eq!(written(PLAIN, &guest("text")), "          api | text\n");
        assert_eq!(written(PLAIN, &guest("")), "          api |\n");
        let message = Message {
            time: time(),
            ..Message::new(Level::Warn, "it is late")
        };
        assert_eq!(
            written(
                PLAIN,
                &Event::Message(message.about(&"guestbook".into()).with("lines", 3))
            ),
            "12:03:11.123Z warning: it is late app=guestbook lines=3\n"
        );
    }

    #[test]
    fn colour_follows_the_status() {
        for (status, code) in [(200, "32"), (304, "36"), (404, "33"), (500, "31")] {
            let request = RequestEvent {
                status: StatusCode::from_u16(status).ok(),
                ..request()
            };
            let line = written(
                LogFormat::Text { is_coloured: true },
                &Event::Request(request),
            );
            assert!(
                line.contains(&format!("\x1b[{code}m{status} \x1b[0m")),
                "{line:?}"
            );
        }
        assert_eq!(LogFormat::choose(true, false), PLAIN);
        assert_eq!(LogFormat::choose(false, true), LogFormat::Json);
    }

    #[test]
    fn json_lines() {
        let parsed = |event: &Event| -> serde_json::Value {
            serde_json::from_str(&written(LogFormat::Json, event)).unwrap()
        };
        assert_eq!(
            parsed(&Event::Request(request())),
            serde_json::json!({
                "time": "2026-11-01T12:03:11.123Z", "level": "info", "msg": "request",
                "request_id": "7f3a00112233445566778899aabbccdd", "app": "guestbook", "component": "api",
                "method": "GET", "path": "/api/hello", "status": 200, "duration_ms": 1.234,
                "bytes_out": 42, "client": "127.0.0.1",
            })
        );
        let failed = RequestEvent {
            error: Some("a \"trap\"\n\\".into()),
            ..request()
        };
        let failed = parsed(&Event::Request(failed));
        assert_eq!(
            (&failed["level"], &failed["error"]),
            (&"error".into(), &"a \"trap\"\n\\".into())
        );
        let output = parsed(&guest("text"));
        assert_eq!(
            (&output["msg"], &output["stream"]),
            (&"text".into(), &"stdout".into())
        );
        let message = Message::new(Level::Error, "no")
            .with("count", 7)
            .about(&"a".into());
        let message = parsed(&Event::Message(message));
        assert_eq!(
            (&message["count"], &message["app"]),
            (&7.into(), &"a".into())
        );
    }

    #[test]
    fn hostile_text_reaches_no_terminal() {
        let hostile: String = (0..0x2100).filter_map(char::from_u32).collect();
        let request = RequestEvent {
            path: hostile.clone(),
            error: Some(hostile.clone()),
            component: Some(hostile.as_str().into()),
            ..request()
        };
        let message = Message::new(Level::Info, hostile.as_str()).with("field", hostile.as_str());
        for event in [
            guest(&hostile),
            Event::Request(request),
            Event::Message(message),
        ] {
            for format in [PLAIN, LogFormat::Json] {
                let line = written(format, &event);
                let body = line.strip_suffix('\n').unwrap().replace("\n          ", "");
                let bad = body.chars().find(|&c| c != '\t' && is_unprintable(c));
                assert_eq!(bad, None, "{format:?}");
            }
            let json: serde_json::Value =
                serde_json::from_str(&written(LogFormat::Json, &event)).unwrap();
            assert!(
                json.as_object()
                    .unwrap()
                    .values()
                    .any(|value| value == hostile.as_str())
            );
        }
        assert_eq!(
            written(PLAIN, &guest("\x1b]0;title\x07\u{9b}2J\u{202e}\r")),
            "          api | \\x1b]0;title\\x07\\u{9b}2J\\u{202e}\\r\n"
        );
    }

    #[test]
    fn dates() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(
                rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
                expected
            );
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_399, "2000-02-28T23:59:59.000Z");
        check(951_782_400, "2000-02-29T00:00:00.000Z");
        check(951_868_800, "2000-03-01T00:00:00.000Z");
        check(1_735_689_599, "2024-12-31T23:59:59.000Z");
        check(4_107_542_400, "2100-03-01T00:00:00.000Z");
        check(253_402_300_799, "9999-12-31T23:59:59.000Z");
        check(999_999_999_999, "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn durations() {
        for (micros, expected) in [
            (0, "0\u{b5}s"),
            (320, "320\u{b5}s"),
            (1234, "1.2ms"),
            (45_678, "45.7ms"),
            (3_400_000, "3.40s"),
        ] {
            assert_eq!(duration(Duration::from_micros(micros)), expected);
        }
    }
}
