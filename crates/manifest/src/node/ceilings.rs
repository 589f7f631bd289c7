//! What the limits of a component are lowered to on a node.

use std::time::Duration;

use crate::duration::format_duration;
use crate::limits::Limits;
use crate::size::ByteSize;

/// Ceilings over [`Limits`]; one that is not there lets pass what a manifest asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Over [`Limits::memory`].
    pub memory: Option<ByteSize>,
    /// Over [`Limits::time`].
    pub time: Option<Duration>,
    /// Over [`Limits::cpu`].
    pub cpu: Option<Duration>,
    /// Over [`Limits::body_idle`].
    pub body_idle: Option<Duration>,
    /// Over [`Limits::concurrency`].
    pub concurrency: Option<u32>,
    /// Over [`Limits::queue`].
    pub queue: Option<u32>,
    /// Over [`Limits::handles`].
    pub handles: Option<u32>,
    /// Over [`Limits::outgoing`].
    pub outgoing: Option<u32>,
    /// Over [`Limits::response`], which is otherwise without end.
    pub response: Option<ByteSize>,
    /// Over [`Limits::log`].
    pub log: Option<ByteSize>,
}

/// A limit that a node gives less of than a manifest asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lowered {
    /// The limit's key.
    pub key: &'static str,
    /// What the manifest asks.
    pub asked: String,
    /// What holds.
    pub ceiling: String,
}

impl Ceilings {
    /// Lowers `limits` to the ceilings, and tells which were lowered.
    ///
    /// A response without a limit gets the ceiling without being told of: nothing was asked.
    pub fn lower(&self, limits: &mut Limits) -> Vec<Lowered> {
        self.apply(limits).lowered
    }

    /// The keys of `limits` that are as high as the ceilings let them be.
    pub fn reached(&self, limits: &Limits) -> Vec<&'static str> {
        self.apply(&mut limits.clone()).reached
    }

    fn apply(&self, limits: &mut Limits) -> Seen {
        let mut seen = Seen::default();
        let size = |size: &ByteSize| size.to_string();
        let time = |time: &Duration| format_duration(*time);
        let count = u32::to_string;
        seen.lower("memory", &mut limits.memory, self.memory, size);
        seen.lower("time", &mut limits.time, self.time, time);
        seen.lower("cpu", &mut limits.cpu, self.cpu, time);
        seen.lower("body_idle", &mut limits.body_idle, self.body_idle, time);
        let concurrency = &mut limits.concurrency;
        seen.lower("concurrency", concurrency, self.concurrency, count);
        seen.lower("queue", &mut limits.queue, self.queue, count);
        seen.lower("handles", &mut limits.handles, self.handles, count);
        seen.lower("outgoing", &mut limits.outgoing, self.outgoing, count);
        seen.lower("log", &mut limits.log, self.log, size);
        match &mut limits.response {
            Some(response) => seen.lower("response", response, self.response, size),
            none => {
                *none = self.response;
                seen.reached.extend(self.response.map(|_| "response"));
            }
        }
        seen
    }
}

/// What limits met of ceilings.
#[derive(Debug, Default)]
struct Seen {
    lowered: Vec<Lowered>,
    /// The lowered ones among them.
    reached: Vec<&'static str>,
}

impl Seen {
    fn lower<T: Ord + Copy>(
        &mut self,
        key: &'static str,
        limit: &mut T,
        ceiling: Option<T>,
        shown: impl Fn(&T) -> String,
    ) {
        let Some(ceiling) = ceiling.filter(|ceiling| *ceiling <= *limit) else {
            return;
        };
        self.reached.push(key);
        if ceiling < *limit {
            self.lowered.push(Lowered {
                key,
                asked: shown(limit),
                ceiling: shown(&ceiling),
            });
            *limit = ceiling;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_above_a_ceiling_is_lowered() {
        let ceilings = Ceilings {
            memory: Some(ByteSize::mib(64)),
            time: Some(Duration::from_secs(60)),
            concurrency: Some(10),
            response: Some(ByteSize::mib(1)),
            ..Ceilings::default()
        };
        let mut limits = Limits::DEFAULT;
        let lowered = ceilings.lower(&mut limits);
        let told = |key, asked: &str, ceiling: &str| Lowered {
            key,
            asked: asked.to_owned(),
            ceiling: ceiling.to_owned(),
        };
        assert_eq!(
            lowered,
            [
                told("memory", "128MiB", "64MiB"),
                told("concurrency", "1000", "10")
            ]
        );
        let expected = Limits {
            memory: ByteSize::mib(64),
            concurrency: 10,
            response: Some(ByteSize::mib(1)),
            ..Limits::DEFAULT
        };
        assert_eq!(limits, expected);
        assert_eq!(
            ceilings.reached(&limits),
            ["memory", "concurrency", "response"]
        );
        assert_eq!(ceilings.reached(&Limits::DEFAULT).len(), 3);
    }
}
