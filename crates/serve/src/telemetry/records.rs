//! The lines of the log as log records, each in the span of its request.

use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry_otlp::LogExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};

use wharf_engine::clip;

use super::spans::{ids, method, scope};
use crate::log::{Event, GuestLine, Level, Message, RequestEvent, RequestId, Value};

/// Sends log records, a batch now and then.
#[derive(Debug)]
pub(super) struct Records {
    provider: SdkLoggerProvider,
    logger: SdkLogger,
}

impl Records {
    pub(super) fn new(exporter: LogExporter, resource: Resource) -> Records {
        let provider = SdkLoggerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Records {
            logger: provider.logger_with_scope(scope()),
            provider,
        }
    }

    pub(super) fn shutdown(&self, timeout: Duration) {
        let _ = self.provider.shutdown_with_timeout(timeout);
    }

    pub(super) fn event(&self, event: &Event) {
        match event {
            Event::Request(request) => self.request(request),
            Event::GuestOutput(line) => self.line(line),
            Event::Message(message) => self.message(message),
            Event::Outgoing(_) => {}
        }
    }

    /// A record of `id`'s span.
    fn record(&self, time: SystemTime, level: Level, id: Option<RequestId>) -> SdkLogRecord {
        let mut record = self.logger.create_log_record();
        record.set_timestamp(time);
        record.set_observed_timestamp(time);
        let (number, text) = match level {
            Level::Debug => (Severity::Debug, "DEBUG"),
            Level::Info => (Severity::Info, "INFO"),
            Level::Warn => (Severity::Warn, "WARN"),
            Level::Error => (Severity::Error, "ERROR"),
        };
        record.set_severity_number(number);
        record.set_severity_text(text);
        if let Some(id) = id {
            let (trace, span, flags) = ids(id);
            record.set_trace_context(trace, span, Some(flags));
            record.add_attribute("wharf.request_id", id.to_string());
        }
        record
    }

    fn request(&self, request: &RequestEvent) {
        let level = match request.error {
            Some(_) => Level::Error,
            None => Level::Info,
        };
        let mut record = self.record(request.time, level, Some(request.request_id));
        record.set_body(AnyValue::from("request"));
        record.add_attribute("wharf.app", request.app.to_string());
        if let Some(component) = &request.component {
            record.add_attribute("wharf.component", component.to_string());
        }
        record.add_attribute("http.request.method", method(&request.method));
        record.add_attribute("url.path", clip(format_args!("{}", request.path)));
        if let Some(status) = request.status {
            record.add_attribute("http.response.status_code", i64::from(status.as_u16()));
        }
        if let Some(error) = &request.error {
            record.add_attribute("error.message", error.clone());
        }
        self.logger.emit(record);
    }

    fn line(&self, line: &GuestLine) {
        let mut record = self.record(line.time, Level::Info, line.request_id);
        record.set_body(AnyValue::from(line.line.clone()));
        record.add_attribute("wharf.app", line.app.to_string());
        record.add_attribute("wharf.component", line.component.to_string());
        record.add_attribute("log.iostream", line.stream.name());
        self.logger.emit(record);
    }

    fn message(&self, message: &Message) {
        let id = message.fields.iter().find_map(|(_, value)| match value {
            Value::Request(id) => Some(*id),
            _ => None,
        });
        let mut record = self.record(message.time, message.level, id);
        record.set_body(AnyValue::from(message.text.clone()));
        if let Some(app) = &message.app {
            record.add_attribute("wharf.app", app.to_string());
        }
        for (key, value) in &message.fields {
            let value = match value {
                Value::Request(_) => continue,
                Value::Number(number) => AnyValue::from(i64::try_from(*number).unwrap_or(i64::MAX)),
                Value::Text(text) => AnyValue::from(text.clone()),
            };
            record.add_attribute(*key, value);
        }
        self.logger.emit(record);
    }
}
