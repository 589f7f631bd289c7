//! How long each part took, on the guest's clock.

use std::time::Duration;

use darkroom_filters::Stage;
use serde_json::json;
use wharf_sdk::time::Instant;

/// A stopwatch over receiving the input and the stages of the work.
pub(crate) struct Timing {
    mark: Instant,
    stage: Option<Stage>,
    receive: Duration,
    stages: [Duration; Stage::ALL.len()],
}

impl Timing {
    pub(crate) fn start() -> Self {
        Self {
            mark: Instant::now(),
            stage: None,
            receive: Duration::ZERO,
            stages: [Duration::ZERO; Stage::ALL.len()],
        }
    }

    /// The input is there.
    pub(crate) fn received(&mut self) {
        self.receive = self.lap();
    }

    /// The work is in `stage` now. Says whether that is news.
    pub(crate) fn reached(&mut self, stage: Stage) -> bool {
        let news = self.stage != Some(stage);
        if news {
            self.finished();
            self.stage = Some(stage);
        }
        news
    }

    /// The work is done.
    pub(crate) fn finished(&mut self) {
        let lap = self.lap();
        if let Some(stage) = self.stage.take() {
            self.stages[stage as usize] += lap;
        }
    }

    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.mark, now))
    }

    fn parts(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let stages = Stage::ALL
            .into_iter()
            .map(|stage| (stage.name(), self.stages[stage as usize]));
        let parts = std::iter::once(("receive", self.receive)).chain(stages);
        // Milliseconds with two digits behind the point.
        parts.map(|(name, time)| (name, (time.as_secs_f64() * 1e5).round() / 1e2))
    }

    /// The value of a `Server-Timing` header, in milliseconds.
    pub(crate) fn header(&self) -> String {
        let entries: Vec<_> = self
            .parts()
            .map(|(name, ms)| format!("{name};dur={ms}"))
            .collect();
        entries.join(", ")
    }

    /// The same as an object, in milliseconds.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        self.parts()
            .map(|(name, ms)| (name.to_owned(), json!(ms)))
            .collect()
    }
}
