//! The queue and its writer.

use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::room::{Amount, ByApp, Room};
use super::{
    Event, GuestLog, GuestStream, Level, LogBudget, LogFormat, Message, Observer, RequestEvent,
    RequestId, Value,
};
use crate::telemetry::Telemetry;

/// Text is handed to the sink once this much is ready.
const WRITE_BYTES: usize = 64 << 10;
/// What an event costs in the queue beside its text.
const EVENT_OVERHEAD_BYTES: usize = 256;

/// How long the writer lets lines gather after it has written some: to wake it for each of many costs
/// more than all else of them. The first one after a pause is written at once.
const GATHERING: Duration = Duration::from_millis(2);

/// How a [`Log`] works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Text or JSON.
    pub format: LogFormat,
    /// Events that may wait to be written; of one app, seven times what is free. Default: 8192.
    pub events_max: usize,
    /// Bytes that waiting events may hold; of one app, seven times what is free. Default: 8 MiB.
    pub bytes_max: usize,
    /// Paths whose requests are not logged. Default: none.
    pub paths_left_out: &'static [&'static str],
}

impl LogOptions {
    /// Takes the defaults for all but the format.
    #[must_use]
    pub fn new(format: LogFormat) -> Self {
        Self {
            format,
            events_max: 8192,
            bytes_max: 8 << 20,
            paths_left_out: &[],
        }
    }
}

/// A handle to the log. Cheap to clone; the writer ends once the last clone is gone and all is
/// written.
#[derive(Debug, Clone)]
pub struct Log {
    handle: Arc<Handle>,
}

/// Closes the queue when the last clone goes.
#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    options: LogOptions,
    is_traced: bool,
    /// Wakes the writer.
    filled: Condvar,
    /// Wakes those who flush.
    written: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: Vec<Event>,
    room: Room,
    /// Events ever taken in, and of those, written.
    taken_in: u64,
    written: u64,
    is_writer_idle: bool,
    is_closed: bool,
}

impl Log {
    /// Starts a writer thread that writes to `sink`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(sink: impl Write + Send + 'static, options: LogOptions) -> std::io::Result<Self> {
        Self::start_observed(sink, options, None, false)
    }

    /// The same, and each event is shown to `telemetry`, too.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start_with(
        sink: impl Write + Send + 'static,
        options: LogOptions,
        telemetry: Telemetry,
    ) -> std::io::Result<Self> {
        let is_traced = telemetry.has_spans();
        Self::start_observed(sink, options, Some(Box::new(telemetry)), is_traced)
    }

    pub(crate) fn start_observed(
        sink: impl Write + Send + 'static,
        options: LogOptions,
        observer: Option<Box<dyn Observer>>,
        is_traced: bool,
    ) -> std::io::Result<Self> {
        let room = Room::new(Amount {
            events: options.events_max,
            bytes: options.bytes_max,
        });
        let state = State {
            waiting: Vec::new(),
            room,
            taken_in: 0,
            written: 0,
            is_writer_idle: false,
            is_closed: false,
        };
        let queue = Arc::new(Queue {
            state: Mutex::new(state),
            options,
            is_traced,
            filled: Condvar::new(),
            written: Condvar::new(),
        });
        let writer = queue.clone();
        std::thread::Builder::new()
            .name("wharf-log".into())
            .spawn(move || writer.run(sink, observer))?;
        Ok(Self {
            handle: Arc::new(Handle { queue }),
        })
    }

    /// Logs a request that has ended.
    pub fn request(&self, request: RequestEvent) {
        let left_out = self.handle.queue.options.paths_left_out;
        if left_out.contains(&&*request.path) {
            return;
        }
        self.send(Event::Request(request));
    }

    /// Logs what the host says.
    pub fn message(&self, message: Message) {
        self.send(Event::Message(message));
    }

    /// Whether spans are made of requests, and of those that guests send.
    pub(crate) fn is_traced(&self) -> bool {
        self.handle.queue.is_traced
    }

    /// What was dropped, for whoever looks later; does not keep the writer from its end.
    pub(crate) fn losses(&self) -> LogLosses {
        LogLosses(Arc::clone(&self.handle.queue))
    }

    /// Logs an event, or drops and counts it when too much of its app is waiting. Never blocks on
    /// the sink.
    pub fn send(&self, event: Event) {
        let queue = &self.handle.queue;
        let cost = cost(&event);
        let mut state = queue.lock();
        if !state.room.take(event.app(), cost) {
            return;
        }
        state.waiting.push(event);
        state.taken_in += 1;
        if state.is_writer_idle {
            // Waking costs a system call; a writer at work looks again by itself.
            state.is_writer_idle = false;
            drop(state);
            queue.filled.notify_one();
        }
    }

    /// Takes one of a guest's streams; `request_id` is none for output between requests.
    #[must_use]
    pub fn guest(
        &self,
        request_id: Option<RequestId>,
        app: Arc<str>,
        component: Arc<str>,
        stream: GuestStream,
        budget: LogBudget,
    ) -> GuestLog {
        GuestLog::new(self.clone(), request_id, app, component, stream, budget)
    }

    /// Waits, at most for `timeout`, until all that was logged before is written. Says whether it
    /// is. Blocks the thread: call it at shutdown, or on a blocking thread.
    pub fn flush(&self, timeout: Duration) -> bool {
        let queue = &self.handle.queue;
        let deadline = Instant::now() + timeout;
        let mut state = queue.lock();
        let goal = state.taken_in;
        while state.written < goal || state.room.has_untold() {
            state.is_writer_idle = false;
            queue.filled.notify_one();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = queue
                .written
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.lock().is_closed = true;
        self.queue.filled.notify_one();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes until closed. A sink that fails loses what was written to it; there is nobody to tell.
    fn run(&self, mut sink: impl Write, mut observer: Option<Box<dyn Observer>>) {
        let mut batch = Vec::new();
        let mut text = String::new();
        while let Some(dropped) = self.take(&mut batch) {
            let count = batch.len() as u64;
            for event in batch.drain(..) {
                if let Some(observer) = &mut observer {
                    observer.observe(&event);
                }
                self.options.format.write(&event, &mut text);
                if text.len() >= WRITE_BYTES {
                    let _ = sink.write_all(text.as_bytes());
                    text.clear();
                }
            }
            for (app, count) in dropped {
                let notice = Event::Message(notice(app, count));
                self.options.format.write(&notice, &mut text);
            }
            let _ = sink.write_all(text.as_bytes());
            let _ = sink.flush();
            text.clear();
            text.shrink_to(2 * WRITE_BYTES);
            let mut state = self.lock();
            state.written += count;
            let is_closed = state.is_closed;
            drop(state);
            self.written.notify_all();
            if !is_closed {
                std::thread::sleep(GATHERING);
            }
        }
    }

    /// Waits for events and takes all of them, with the counts of those dropped; none once closed.
    fn take(&self, batch: &mut Vec<Event>) -> Option<ByApp> {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.room.has_untold() {
            if state.is_closed {
                return None;
            }
            state.is_writer_idle = true;
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writer_idle = false;
        std::mem::swap(&mut state.waiting, batch);
        Some(state.room.empty())
    }
}

/// How many lines were dropped.
#[derive(Debug, Clone)]
pub(crate) struct LogLosses(Arc<Queue>);

impl LogLosses {
    /// By app, since the log was started; the node's own are under the empty name.
    pub(crate) fn by_app(&self) -> Vec<(Arc<str>, u64)> {
        let state = self.0.lock();
        let refused = state.room.refused().iter();
        refused
            .map(|(app, count)| (Arc::clone(app), *count))
            .collect()
    }
}

/// Says once for many lines of `app` that they are missing.
fn notice(app: Arc<str>, dropped: u64) -> Message {
    let lines = if dropped == 1 { "line" } else { "lines" };
    let notice = Message::new(
        Level::Warn,
        format!("\u{2026} {dropped} log {lines} dropped"),
    );
    match &*app {
        "" => notice,
        _ => notice.about(&app),
    }
}

/// About what an event takes in memory.
fn cost(event: &Event) -> usize {
    let text = match event {
        Event::Request(request) => {
            let said = [&request.error, &request.hint].into_iter().flatten();
            let said: usize = said.map(String::len).sum();
            request.method.as_str().len() + request.path.len() + said
        }
        Event::GuestOutput(line) => line.line.len(),
        Event::Message(message) => {
            let fields = message.fields.iter().map(|(_, value)| match value {
                Value::Text(text) => 64 + text.len(),
                Value::Number(_) | Value::Request(_) => 64,
            });
            message.text.len() + fields.sum::<usize>()
        }
        Event::Outgoing(outgoing) => 128 + outgoing.uri.path().len(),
    };
    EVENT_OVERHEAD_BYTES + text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use wharf_manifest::ByteSize;

    use super::*;
    use crate::log::GuestLine;

    const FORMAT: LogFormat = LogFormat::Text { is_coloured: false };
    const LONG: Duration = Duration::from_secs(30);

    /// A sink that shows what was written and can be made to stall.
    #[derive(Clone, Default)]
    struct Sink {
        written: Arc<Mutex<String>>,
        gate: Arc<Mutex<()>>,
        entered: Option<mpsc::Sender<()>>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if let Some(entered) = &self.entered {
                let _ = entered.send(());
            }
            let _gate = self.gate.lock().unwrap();
            self.written
                .lock()
                .unwrap()
                .push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What a log with these options writes whose sink stalls at its first line, `first`.
    fn stalled(options: LogOptions, while_it_stalls: impl FnOnce(&Log)) -> Vec<String> {
        let (entered, at_gate) = mpsc::channel();
        let sink = Sink {
            entered: Some(entered),
            ..Sink::default()
        };
        let log = Log::start(sink.clone(), options).unwrap();
        let gate = sink.gate.lock().unwrap();
        say(&log, "first");
        at_gate.recv().unwrap();
        while_it_stalls(&log);
        drop(gate);
        assert!(log.flush(LONG));
        lines(&sink)
    }

    fn say(log: &Log, text: &str) {
        log.message(Message::new(Level::Info, text));
    }

    fn lines(sink: &Sink) -> Vec<String> {
        // Without the time of day and its space.
        let cut = |line: &str| {
            if line.starts_with(' ') {
                line.into()
            } else {
                line[14..].to_owned()
            }
        };
        sink.written.lock().unwrap().lines().map(cut).collect()
    }

    #[test]
    fn events_are_written_in_order() {
        let sink = Sink::default();
        let log = Log::start(sink.clone(), LogOptions::new(FORMAT)).unwrap();
        let expected: Vec<_> = (0..1000).map(|n| format!("line {n}")).collect();
        for line in &expected {
            say(&log.clone(), line);
        }
        assert!(log.flush(LONG));
        assert_eq!(lines(&sink), expected);
        assert!(log.flush(Duration::ZERO), "nothing is left to write");
    }

    #[test]
    fn a_stalled_sink_blocks_nobody_and_drops_are_counted() {
        let options = LogOptions {
            events_max: 10,
            ..LogOptions::new(FORMAT)
        };
        let lines = stalled(options, |log| {
            for n in 0..130 {
                say(log, &format!("line {n}"));
            }
            assert!(!log.flush(Duration::from_millis(1)));
        });
        // Seven eighths of ten.
        assert_eq!((lines.len(), lines[8].as_str()), (10, "line 7"));
        assert_eq!(lines[9], "warning: \u{2026} 122 log lines dropped");
    }

    #[test]
    fn bytes_that_wait_are_bounded() {
        let options = LogOptions {
            bytes_max: 6000,
            ..LogOptions::new(FORMAT)
        };
        let lines = stalled(options, |log| {
            for _ in 0..3 {
                say(log, &"x".repeat(2000));
            }
        });
        let dropped = "warning: \u{2026} 1 log line dropped";
        assert_eq!(lines.last().unwrap(), dropped);
    }

    #[test]
    fn an_app_that_floods_costs_its_neighbours_no_line() {
        let said = |app: &str, text: String| {
            Event::GuestOutput(GuestLine {
                time: std::time::SystemTime::now(),
                request_id: None,
                app: app.into(),
                component: app.into(),
                stream: GuestStream::Stdout,
                line: text,
            })
        };
        let mut losses = Vec::new();
        let lines = stalled(LogOptions::new(FORMAT), |log| {
            for n in 0..20_000 {
                log.send(said("flood", "x".repeat(n % 2000)));
                if n % 100 == 0 {
                    log.send(said("modest", format!("line {n}")));
                    say(log, &format!("of the node {n}"));
                }
            }
            losses = log.losses().by_app();
        });
        for n in (0..20_000).step_by(100) {
            let both = [
                format!("          modest | line {n}"),
                format!("of the node {n}"),
            ];
            assert!(both.iter().all(|line| lines.contains(line)), "{n}");
        }
        let [(app, dropped)] = &losses[..] else {
            panic!("{losses:?}");
        };
        assert_eq!((&**app, *dropped > 10_000), ("flood", true), "{dropped}");
        let told: Vec<_> = lines
            .iter()
            .filter(|line| line.contains(" dropped"))
            .collect();
        let once = format!("warning: \u{2026} {dropped} log lines dropped app=flood");
        assert_eq!(told, [&once]);
    }

    #[test]
    fn the_writer_ends_with_the_last_handle_and_loses_nothing() {
        struct Ending(
            Sink,
            #[expect(dead_code, reason = "dropped with the sink")] mpsc::Sender<()>,
        );
        impl Write for Ending {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (sender, ended) = mpsc::channel();
        let sink = Sink::default();
        let log = Log::start(Ending(sink.clone(), sender), LogOptions::new(FORMAT)).unwrap();
        say(&log, "last words");
        drop(log);
        assert!(
            ended
                .recv_timeout(LONG)
                .is_err_and(|error| error == mpsc::RecvTimeoutError::Disconnected)
        );
        assert_eq!(lines(&sink), ["last words"]);
    }

    #[test]
    fn a_sink_that_fails_stops_nothing() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        let log = Log::start(Broken, LogOptions::new(FORMAT)).unwrap();
        say(&log, "lost");
        assert!(log.flush(LONG));
    }

    #[test]
    fn a_guest_is_logged_by_lines_up_to_its_budget() {
        let sink = Sink::default();
        let log = Log::start(sink.clone(), LogOptions::new(FORMAT)).unwrap();
        let budget = LogBudget::new(ByteSize(16));
        let id = RequestId::random();
        let stream =
            |stream| log.guest(Some(id), "app".into(), "api".into(), stream, budget.clone());
        let (mut stdout, mut stderr) = (stream(GuestStream::Stdout), stream(GuestStream::Stderr));
        stdout.write(b"one\ntw");
        stderr.write(b"oops");
        stdout.write(b"o\nthree\n");
        stdout.write(b"four\n");
        stderr.write(b"more\n");
        drop((stdout, stderr));
        assert!(log.flush(LONG));
        let notice = format!(
            "warning: log limit of 16B met, further output is dropped app=app component=api \
             hint=raise `limits.log` in the manifest request_id={id}"
        );
        let expected = [
            "          api | one",
            "          api | two",
            "          api | thre",
            &notice,
            "          api | oops",
        ];
        assert_eq!(lines(&sink), expected);
    }
}
