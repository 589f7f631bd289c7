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
        let mut lowered = Vec::new();
        let size = |size: &ByteSize| size.to_string();
        let time = |time: &Duration| format_duration(*time);
        let count = u32::to_string;
        let told = &mut lowered;
        lower("memory", &mut limits.memory, self.memory, size, told);
        lower("time", &mut limits.time, self.time, time, told);
        lower("cpu", &mut limits.cpu, self.cpu, time, told);
        lower(
            "body_idle",
            &mut limits.body_idle,
            self.body_idle,
            time,
            told,
        );
        lower(
            "concurrency",
            &mut limits.concurrency,
            self.concurrency,
            count,
            told,
        );
        lower("queue", &mut limits.queue, self.queue, count, told);
        lower("handles", &mut limits.handles, self.handles, count, told);
        lower("outgoing", &mut limits.outgoing, self.outgoing, count, told);
        lower("log", &mut limits.log, self.log, size, told);
        match &mut limits.response {
            Some(response) => lower("response", response, self.response, size, told),
            none => *none = self.response,
        }
        lowered
    }

    /// The keys of `limits` that are as high as the ceilings let them be.
    pub fn reached(&self, limits: &Limits) -> Vec<&'static str> {
        let reached = [
            (
                "memory",
                self.memory.is_some_and(|max| limits.memory >= max),
            ),
            ("time", self.time.is_some_and(|max| limits.time >= max)),
            ("cpu", self.cpu.is_some_and(|max| limits.cpu >= max)),
            (
                "body_idle",
                self.body_idle.is_some_and(|max| limits.body_idle >= max),
            ),
            (
                "concurrency",
                self.concurrency
                    .is_some_and(|max| limits.concurrency >= max),
            ),
            ("queue", self.queue.is_some_and(|max| limits.queue >= max)),
            (
                "handles",
                self.handles.is_some_and(|max| limits.handles >= max),
            ),
            (
                "outgoing",
                self.outgoing.is_some_and(|max| limits.outgoing >= max),
            ),
            (
                "response",
                self.response
                    .is_some_and(|max| limits.response.is_none_or(|limit| limit >= max)),
            ),
            ("log", self.log.is_some_and(|max| limits.log >= max)),
        ];
        let reached = reached.into_iter().filter(|(_, is_reached)| *is_reached);
        reached.map(|(key, _)| key).collect()
    }
}

fn lower<T: Ord + Copy>(
    key: &'static str,
    limit: &mut T,
    ceiling: Option<T>,
    shown: impl Fn(&T) -> String,
    lowered: &mut Vec<Lowered>,
) {
    let Some(ceiling) = ceiling.filter(|ceiling| ceiling < limit) else {
        return;
    };
    lowered.push(Lowered {
        key,
        asked: shown(limit),
        ceiling: shown(&ceiling),
    });
    *limit = ceiling;
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
