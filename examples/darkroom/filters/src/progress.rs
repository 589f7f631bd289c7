//! Reports of progress, which are also the points at which work can pause or end.

use std::fmt;
use std::ops::{ControlFlow, Range};

use crate::FilterError;

/// The part of the work that is being done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Bytes become pixels.
    Decode,
    /// Pixels become other pixels.
    Filter,
    /// Pixels become bytes.
    Encode,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 3] = [Self::Decode, Self::Filter, Self::Encode];

    /// The stage's name: `decode`, `filter` or `encode`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Filter => "filter",
            Self::Encode => "encode",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Hands reports to the caller.
pub(crate) struct Reporter<'a, F> {
    report: &'a mut F,
}

impl<'a, F: AsyncFnMut(Stage, f32) -> ControlFlow<()>> Reporter<'a, F> {
    pub(crate) fn new(report: &'a mut F) -> Self {
        Self { report }
    }

    /// Says that `done` of `total` is done.
    pub(crate) async fn report(
        &mut self,
        stage: Stage,
        done: usize,
        total: usize,
    ) -> Result<(), FilterError> {
        match (self.report)(stage, done as f32 / total as f32).await {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(FilterError::Cancelled),
        }
    }
}

/// Cuts `0..total` into at most 16 ranges of about the same length.
pub(crate) fn bands(total: usize) -> impl Iterator<Item = Range<usize>> {
    let length = total.div_ceil(16).max(1);
    (0..total)
        .step_by(length)
        .map(move |start| start..total.min(start + length))
}
