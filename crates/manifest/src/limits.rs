//! What one component may use up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration;
use crate::size::ByteSize;

/// Ceilings on what a component may use up, each with a default; none can be zero or absent but
/// [`Limits::response`].
///
/// "Per instance" is per request with `isolation = "request"` and for WASI 0.2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// All linear memories and tables of one instance. Default 128 MiB.
    pub memory: ByteSize,
    /// From the arrival of a request to the head of its response. Default 30 s.
    #[serde(with = "duration::text")]
    pub time: Duration,
    /// Time of computing, waiting not counted, per instance. Default 1 s.
    #[serde(with = "duration::text")]
    pub cpu: Duration,
    /// How long a guest may pause in writing a body; and a client in sending one, all its pauses
    /// together, less a second for each 240 bytes that it sends. Default 60 s.
    #[serde(with = "duration::text")]
    pub body_idle: Duration,
    /// Requests in work at once, per component. Default 1,000.
    pub concurrency: u32,
    /// Requests waiting for their turn, per component; those beyond get a 503. Default 1,000.
    pub queue: u32,
    /// Resource handles (streams, requests, descriptors) open at once, per instance. Default
    /// 1,000.
    pub handles: u32,
    /// Outgoing requests and sockets open at once, per instance. Default 64.
    pub outgoing: u32,
    /// All bytes of one response body. Default none: a stream may go on for ever.
    pub response: Option<ByteSize>,
    /// Bytes of stdout and stderr together kept per request; the rest is dropped and counted.
    /// Default 1 MiB.
    pub log: ByteSize,
}

impl Limits {
    /// The limits of a component whose manifest names none.
    pub const DEFAULT: Self = Self {
        memory: ByteSize::mib(128),
        time: Duration::from_secs(30),
        cpu: Duration::from_secs(1),
        body_idle: Duration::from_secs(60),
        concurrency: 1_000,
        queue: 1_000,
        handles: 1_000,
        outgoing: 64,
        response: None,
        log: ByteSize::mib(1),
    };

    /// Whether a limit is zero, under which nothing could ever run.
    pub(crate) fn has_zero(&self) -> bool {
        [self.memory, self.log].contains(&ByteSize(0))
            || self.response == Some(ByteSize(0))
            || [self.time, self.cpu, self.body_idle].contains(&Duration::ZERO)
            || [self.concurrency, self.queue, self.handles, self.outgoing].contains(&0)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
