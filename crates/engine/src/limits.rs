//! What one store may use, and the ceilings that stores share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::ResourceLimiter;
use wharf_manifest::ByteSize;

use crate::budget::{Budget, Full, Need};
use crate::meter::{CpuMeter, Tick};
use crate::ticker::Awake;

/// Bytes that one table element costs on the host.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// An instance with no more than that needs little.
const SMALL_INSTANCE_BYTES: u64 = 8 << 20;

/// Elements that one table of the pool has room for.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 100_000;

/// A limit that a guest met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitHit {
    /// All memories and tables of the instance together, and what the host keeps for it.
    Memory {
        /// What is allowed.
        limit: ByteSize,
    },
    /// The memory ceiling of the app, which the operator set.
    AppMemory {
        /// The app.
        app: String,
        /// What is allowed.
        limit: ByteSize,
    },
    /// The memory ceiling of the node.
    NodeMemory {
        /// What is allowed.
        limit: ByteSize,
    },
    /// What one app may have of the memory of the node, so that others find some.
    MemoryShare {
        /// What the instances of the app have, and may not exceed now.
        held: ByteSize,
        /// What the node has for all.
        limit: ByteSize,
    },
    /// CPU time.
    Cpu {
        /// What is allowed.
        limit: Duration,
    },
    /// Wall time to the response head, or of the whole run.
    Time {
        /// What is allowed.
        limit: Duration,
    },
    /// Elements in one table of the engine's pool.
    TableElements {
        /// What is allowed.
        limit: usize,
    },
    /// Instances in the engine's pool.
    Instances,
    /// Open handles.
    Handles {
        /// What is allowed.
        limit: usize,
    },
    /// Bytes of one response body.
    Response {
        /// What is allowed.
        limit: ByteSize,
    },
    /// Time in which a response body brought nothing.
    BodyIdle {
        /// What is allowed.
        limit: Duration,
    },
    /// Headers or trailers of one message, all together.
    Headers {
        /// What is allowed.
        limit: ByteSize,
    },
    /// The native stack.
    Stack,
}

impl LimitHit {
    /// A word for it, for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            LimitHit::Memory { .. } => "memory",
            LimitHit::AppMemory { .. } => "app_memory",
            LimitHit::NodeMemory { .. } | LimitHit::MemoryShare { .. } => "node_memory",
            LimitHit::Cpu { .. } => "cpu",
            LimitHit::Time { .. } => "time",
            LimitHit::TableElements { .. } => "table",
            LimitHit::Instances => "instances",
            LimitHit::Handles { .. } => "handles",
            LimitHit::Response { .. } => "response",
            LimitHit::BodyIdle { .. } => "body_idle",
            LimitHit::Headers { .. } => "headers",
            LimitHit::Stack => "stack",
        }
    }

    /// Its key under `limits` in a manifest, if it has one: `memory`.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            LimitHit::Memory { .. } => Some("memory"),
            LimitHit::Cpu { .. } => Some("cpu"),
            LimitHit::Time { .. } => Some("time"),
            LimitHit::Handles { .. } => Some("handles"),
            LimitHit::Response { .. } => Some("response"),
            LimitHit::BodyIdle { .. } => Some("body_idle"),
            _ => None,
        }
    }

    /// Whether it is met for what all instances of the app or the node have together: later there
    /// may be room.
    pub fn is_shared(&self) -> bool {
        matches!(
            self,
            LimitHit::AppMemory { .. }
                | LimitHit::NodeMemory { .. }
                | LimitHit::MemoryShare { .. }
                | LimitHit::Instances
        )
    }

    /// How to raise it.
    pub fn hint(&self) -> String {
        match self {
            LimitHit::Memory { .. } => "raise it with `limits.memory` in wharf.toml (`--memory` for `wharf run`)".into(),
            LimitHit::AppMemory { app, .. } => format!("its instances together have spent it: raise `memory` of [app.{app}] in the node file"),
            LimitHit::NodeMemory { .. } => "the instances of all apps together have spent it: raise `memory` under [limits] in the node file, or give the apps that take most a ceiling with `memory` under [app.NAME]".into(),
            LimitHit::MemoryShare { .. } => "one app has seven eighths at most, and less while others hold much, so that all find some: raise `memory` under [limits] in the node file".into(),
            LimitHit::Cpu { .. } => "raise it with `limits.cpu` in wharf.toml".into(),
            LimitHit::Time { .. } => "raise it with `limits.time` in wharf.toml (`--time` for `wharf run`)".into(),
            LimitHit::TableElements { .. } => {
                "nothing raises it; look for function references that are added without end".into()
            }
            LimitHit::Instances => {
                "lower `limits.concurrency` of the busiest component in wharf.toml".into()
            }
            LimitHit::Handles { .. } => "raise it with `limits.handles` in wharf.toml, and look for resources that are never dropped".into(),
            LimitHit::Response { .. } => "raise it with `limits.response` in wharf.toml".into(),
            LimitHit::BodyIdle { .. } => "raise it with `limits.body_idle` in wharf.toml".into(),
            LimitHit::Headers { .. } => {
                "nothing raises it, as hardly a client takes as much; a body is the place for it".into()
            }
            LimitHit::Stack => {
                "look for recursion without an end; the backtrace shows it".into()
            }
        }
    }
}

impl fmt::Display for LimitHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitHit::Memory { limit } => write!(f, "memory limit of {limit} met"),
            LimitHit::AppMemory { app, limit } => {
                write!(f, "memory ceiling of {limit} of the app {app} met")
            }
            LimitHit::NodeMemory { limit } => {
                write!(f, "memory ceiling of {limit} of the node met")
            }
            LimitHit::MemoryShare { held, limit } => write!(
                f,
                "the app has its share of the node's memory: {held} of {limit}"
            ),
            LimitHit::Cpu { limit } => write!(f, "CPU limit of {limit:?} met"),
            LimitHit::Time { limit } => write!(f, "time limit of {limit:?} met"),
            LimitHit::TableElements { limit } => {
                write!(f, "limit of {limit} elements in a table met")
            }
            LimitHit::Instances => f.write_str("no room for another instance: the pool is full"),
            LimitHit::Handles { limit } => write!(f, "limit of {limit} handles met"),
            LimitHit::Response { limit } => write!(f, "the response is larger than {limit}"),
            LimitHit::BodyIdle { limit } => {
                write!(f, "the response body brought nothing for {limit:?}")
            }
            LimitHit::Headers { limit } => write!(f, "limit of {limit} of headers met"),
            LimitHit::Stack => f.write_str("the guest's stack overflowed"),
        }
    }
}

impl std::error::Error for LimitHit {}

/// The limits of one store. Give back on drop what was taken from shared budgets.
#[derive(Debug)]
pub struct StoreLimits {
    memory_max: u64,
    memory_used: u64,
    /// What was granted last: the engine says afterwards if it could not be had.
    granted: u64,
    handles_max: usize,
    shared: Option<Arc<Budget>>,
    /// Taken from the shared budget, and not from the limit.
    reserved: u64,
    hit: Option<LimitHit>,
    meter: CpuMeter,
    awake: Option<Awake>,
}

impl StoreLimits {
    /// Limits of `memory` over all memories, tables and [charges](StoreLimits::charge), `handles`
    /// open resource handles, and the CPU time that `meter` allows; under the app's budget
    /// `shared` if there is one.
    pub fn new(
        memory: ByteSize,
        handles: usize,
        meter: CpuMeter,
        shared: Option<Arc<Budget>>,
    ) -> StoreLimits {
        StoreLimits {
            memory_max: memory.0,
            memory_used: 0,
            granted: 0,
            handles_max: handles,
            shared,
            reserved: 0,
            hit: None,
            meter,
            awake: None,
        }
    }

    /// The limit that the guest met, if any: a later trap is its consequence.
    pub fn hit(&self) -> Option<&LimitHit> {
        self.hit.as_ref()
    }

    /// The instance is free for the next request: what an earlier one met is no explanation any
    /// more.
    pub fn forget_hit(&mut self) {
        self.hit = None;
    }

    /// The meter of the store's CPU time.
    pub fn meter(&self) -> &CpuMeter {
        &self.meter
    }

    /// Bytes that the store's memories and tables use now, and what is charged to it.
    pub fn memory_used(&self) -> ByteSize {
        ByteSize(self.memory_used)
    }

    /// Open handles allowed.
    pub fn handles_max(&self) -> usize {
        self.handles_max
    }

    pub(crate) fn keep_awake(&mut self, awake: Awake) {
        self.awake = Some(awake);
    }

    pub(crate) fn on_tick(&self) -> Tick {
        self.meter.on_tick()
    }

    pub(crate) fn cpu_spent(&mut self) -> LimitHit {
        let hit = LimitHit::Cpu {
            limit: self.meter.budget(),
        };
        self.hit = Some(hit.clone());
        hit
    }

    /// Counts `bytes` that the host keeps for the guest as though they lay in its memory, until
    /// they are given back or the store is dropped.
    ///
    /// # Errors
    /// The limit that this would exceed; nothing is counted then, and the limit is not noted as
    /// [hit](StoreLimits::hit): the caller ends the guest with it.
    pub fn charge(&mut self, bytes: u64) -> Result<(), LimitHit> {
        let over = LimitHit::Memory {
            limit: ByteSize(self.memory_max),
        };
        let total = self.memory_used.checked_add(bytes).ok_or(over.clone())?;
        if total > self.memory_max {
            return Err(over);
        }
        if let Some(budget) = &self.shared {
            take(budget, bytes, total)?;
        }
        self.memory_used = total;
        Ok(())
    }

    /// Takes `bytes` of the app's budget for what the store needs beside its limit, until it is
    /// dropped.
    ///
    /// # Errors
    /// The ceiling that this would exceed.
    pub fn reserve(&mut self, bytes: u64) -> Result<(), LimitHit> {
        if let Some(budget) = &self.shared {
            take(budget, bytes, self.reserved.saturating_add(bytes))?;
            self.reserved += bytes;
        }
        Ok(())
    }

    /// Undoes charges of `bytes` in all: the host let go of what it kept.
    pub fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.memory_used);
        self.memory_used -= bytes;
        if let Some(budget) = &self.shared {
            budget.give_back(bytes);
        }
    }

    fn grow(&mut self, bytes: u64) -> bool {
        self.granted = 0;
        match self.charge(bytes) {
            Ok(()) => {
                self.granted = bytes;
                true
            }
            Err(hit) => {
                self.hit = Some(hit);
                false
            }
        }
    }

    /// What was granted last is not there.
    fn failed(&mut self) {
        let bytes = std::mem::take(&mut self.granted);
        self.give_back(bytes);
    }
}

/// Takes `bytes` for a store that has `total` then.
fn take(budget: &Budget, bytes: u64, total: u64) -> Result<(), LimitHit> {
    let need = match total <= SMALL_INSTANCE_BYTES {
        true => Need::Little,
        false => Need::Much,
    };
    budget.take(bytes, need).map_err(|full| match full {
        Full::Spent(full) if full.is_app_s() => LimitHit::AppMemory {
            app: full.name().to_owned(),
            limit: ByteSize(full.limit()),
        },
        Full::Spent(full) => LimitHit::NodeMemory {
            limit: ByteSize(full.limit()),
        },
        Full::Share(node) => LimitHit::MemoryShare {
            held: in_mebibytes(budget.used()),
            limit: ByteSize(node.limit()),
        },
    })
}

/// Whole ones, where there are any: for people.
fn in_mebibytes(bytes: u64) -> ByteSize {
    match bytes >> 20 {
        0 => ByteSize(bytes),
        mebibytes => ByteSize(mebibytes << 20),
    }
}

impl Drop for StoreLimits {
    fn drop(&mut self) {
        self.give_back(self.memory_used);
        if let Some(budget) = &self.shared {
            budget.give_back(self.reserved);
        }
    }
}

impl ResourceLimiter for StoreLimits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.granted = 0;
            return Ok(false);
        }
        Ok(self.grow((desired.saturating_sub(current)) as u64))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            self.granted = 0;
            // It is the pool's, or less, which the guest chose for itself.
            if desired > TABLE_ELEMENTS_MAX {
                self.hit = Some(LimitHit::TableElements {
                    limit: TABLE_ELEMENTS_MAX,
                });
            }
            return Ok(false);
        }
        let elements = desired.saturating_sub(current) as u64;
        Ok(self.grow(elements.saturating_mul(TABLE_ELEMENT_BYTES)))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed();
        Ok(())
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.failed();
        Ok(())
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        CORE_INSTANCES_MAX
    }
}

/// Core instances, tables and memories in one store; large language runtimes use some 40.
const CORE_INSTANCES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::CpuAccount;
    use crate::lane::SlowLane;

    fn limits(memory: u64, shared: Option<&Arc<Budget>>) -> StoreLimits {
        let lane = SlowLane::with_places(1);
        let meter = CpuMeter::new(Duration::from_secs(1), lane, CpuAccount::default());
        StoreLimits::new(ByteSize(memory), 100, meter, shared.cloned())
    }

    #[test]
    fn memories_and_tables_count_together() {
        let mut limits = limits(1000, None);
        assert!(limits.memory_growing(0, 600, None).unwrap());
        assert!(limits.table_growing(0, 25, None).unwrap());
        assert!(limits.hit().is_none());
        assert!(!limits.memory_growing(0, 300, None).unwrap());
        assert_eq!(limits.hit().unwrap().to_string(), "memory limit of 1KB met");
        limits.forget_hit();
        assert!(limits.hit().is_none(), "an earlier request's");
    }

    #[test]
    fn a_shared_budget_binds_and_is_given_back() {
        let node = Budget::of_node(1000);
        let app = Budget::of_app("a", None, &node);
        let mut first = limits(5000, Some(&app));
        let mut second = limits(5000, Some(&app));
        assert!(first.memory_growing(0, 700, None).unwrap());
        assert!(!second.memory_growing(0, 700, None).unwrap());
        assert_eq!((app.used(), node.used()), (700, 700));
        assert_eq!(
            second.hit().unwrap().to_string(),
            "memory ceiling of 1KB of the node met"
        );
        assert!(!second.memory_growing(0, 290, None).unwrap());
        assert_eq!(
            second.hit().unwrap().to_string(),
            "the app has its share of the node's memory: 700B of 1KB"
        );
        app.set_limit(Some(800));
        assert!(!second.memory_growing(0, 290, None).unwrap());
        assert_eq!(
            second.hit().unwrap().to_string(),
            "memory ceiling of 800B of the app a met"
        );
        app.set_limit(None);
        drop(first);
        assert_eq!((app.used(), node.used()), (0, 0));
        assert!(second.memory_growing(0, 700, None).unwrap());
    }

    #[test]
    fn what_is_reserved_is_the_app_s_matter_and_not_the_limit_s() {
        let budget = Budget::of_node(16 << 20);
        let mut limits = limits(100, Some(&budget));
        limits.reserve(2 << 20).unwrap();
        assert_eq!((budget.used(), limits.memory_used().0), (2 << 20, 0));
        limits.charge(100).unwrap();
        assert!(limits.reserve(15 << 20).is_err());
        assert!(limits.reserve(u64::MAX).is_err());
        assert_eq!(budget.used(), (2 << 20) + 100);
        drop(limits);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_was_granted_and_could_not_be_had_is_given_back() {
        let node = Budget::of_node(1000);
        let app = Budget::of_app("a", None, &node);
        let mut limits = limits(1000, Some(&app));
        assert!(limits.memory_growing(0, 300, None).unwrap());
        assert!(limits.memory_growing(300, 700, None).unwrap());
        let refused = || wasmtime::Error::msg("no more mappings");
        limits.memory_grow_failed(refused()).unwrap();
        assert_eq!((limits.memory_used().0, app.used()), (300, 300));
        limits.memory_grow_failed(refused()).unwrap();
        assert_eq!((limits.memory_used().0, node.used()), (300, 300));
    }

    #[test]
    fn charges_count_like_memories_until_they_are_given_back() {
        let node = Budget::of_node(1000);
        let app = Budget::of_app("a", None, &node);
        let mut limits = limits(800, Some(&app));
        assert!(limits.memory_growing(0, 300, None).unwrap());
        limits.charge(400).unwrap();
        assert_eq!((limits.memory_used().0, node.used()), (700, 700));
        let refused = limits.charge(101).unwrap_err();
        assert_eq!(refused.to_string(), "memory limit of 800B met");
        assert!(limits.charge(u64::MAX).is_err());
        assert!(limits.hit().is_none(), "the caller tells");
        assert!(!limits.memory_growing(300, 401, None).unwrap());
        limits.give_back(400);
        assert_eq!((limits.memory_used().0, node.used()), (300, 300));
        assert!(limits.memory_growing(300, 800, None).unwrap());
        drop(limits);
        assert_eq!(node.used(), 0);
    }

    #[test]
    fn the_end_of_a_table_in_the_pool_is_told() {
        let mut limits = limits(u64::MAX, None);
        let pool = Some(TABLE_ELEMENTS_MAX);
        assert!(limits.table_growing(0, TABLE_ELEMENTS_MAX, pool).unwrap());
        assert!(!limits.table_growing(10, 11, Some(10)).unwrap());
        assert!(limits.hit().is_none(), "the guest's own maximum");
        assert!(
            !limits
                .table_growing(0, TABLE_ELEMENTS_MAX + 1, pool)
                .unwrap()
        );
        let hit = limits.hit().unwrap().to_string();
        assert_eq!(hit, "limit of 100000 elements in a table met");
    }

    #[test]
    fn large_instances_leave_room_for_small_ones() {
        let mebibytes = |count: usize| count << 20;
        let node = Budget::of_node(800 << 20);
        let app = Budget::of_app("a", None, &node);
        let mut large = limits(1 << 30, Some(&app));
        let mut small = limits(1 << 30, Some(&app));
        let (most, more) = (mebibytes(700), mebibytes(701));
        assert!(large.memory_growing(0, most, None).unwrap());
        assert!(!large.memory_growing(most, more, None).unwrap());
        assert!(small.memory_growing(0, mebibytes(8), None).unwrap());
        assert!(
            !small
                .memory_growing(mebibytes(8), mebibytes(9), None)
                .unwrap()
        );
    }
}
