//! Load: neighbours at a steady rate, whose latency counts, and hostile clients, who do not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::LocalSet;

use crate::client::Connection;
use crate::figures::percentile;

/// How long a neighbour waits for an answer before it counts as none.
const PATIENCE: Duration = Duration::from_secs(5);
/// A hostile client's pause after a connection that failed, so that it does no harm but its
/// own.
const HOSTILE_PAUSE: Duration = Duration::from_millis(10);

/// Somebody who asks for a good answer at a steady rate.
#[derive(Debug, Clone)]
pub(crate) struct Neighbour {
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
    pub(crate) per_second: u32,
}

/// What a neighbour saw.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Seen {
    pub(crate) asked: usize,
    /// Answers with status 200 and the right text.
    pub(crate) right: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// What else came, and how often.
    pub(crate) wrong: BTreeMap<String, usize>,
}

/// Has all `neighbours` ask for `time`. A latency counts from when a request was due, not from
/// when it could be sent, and a missing answer counts as the whole patience.
pub(crate) fn ask(addr: SocketAddr, neighbours: &[Neighbour], time: Duration) -> Result<Vec<Seen>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    let seen = local.block_on(&runtime, async {
        let asking: Vec<_> = neighbours
            .iter()
            .map(|neighbour| tokio::task::spawn_local(steadily(addr, neighbour.clone(), time)))
            .collect();
        let mut seen = Vec::new();
        for asking in asking {
            seen.push(asking.await.context("a neighbour ended")?);
        }
        anyhow::Ok(seen)
    })?;
    Ok(seen)
}

/// Asks once, over a connection of its own.
pub(crate) fn ask_once(addr: SocketAddr, neighbour: &Neighbour, patience: Duration) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let idle = Idle::default();
        tokio::time::timeout(patience, once(addr, neighbour, &idle))
            .await
            .context("no answer")?
    })
}

type Idle = Rc<RefCell<Vec<Connection>>>;

async fn steadily(addr: SocketAddr, neighbour: Neighbour, time: Duration) -> Seen {
    let idle = Idle::default();
    let start = Instant::now();
    let count = (time.as_secs_f64() * f64::from(neighbour.per_second)) as u32;
    let mut asking = Vec::new();
    for number in 0..count {
        let due = start + Duration::from_secs(1) * number / neighbour.per_second;
        tokio::time::sleep_until(due.into()).await;
        let (idle, neighbour) = (Rc::clone(&idle), neighbour.clone());
        asking.push(tokio::task::spawn_local(async move {
            let once = once(addr, &neighbour, &idle);
            let outcome = match tokio::time::timeout_at((due + PATIENCE).into(), once).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{error:#}")),
                Err(_) => Some("no answer".to_owned()),
            };
            (due.elapsed(), outcome)
        }));
    }
    let mut seen = Seen::default();
    let mut latencies = Vec::new();
    for asking in asking {
        let Ok((latency, wrong)) = asking.await else {
            continue;
        };
        seen.asked += 1;
        match wrong {
            None => {
                seen.right += 1;
                latencies.push(latency);
            }
            Some(why) => {
                *seen.wrong.entry(why).or_default() += 1;
                latencies.push(PATIENCE);
            }
        }
    }
    latencies.sort_unstable();
    seen.p50_ms = ms(percentile(&latencies, 50));
    seen.p99_ms = ms(percentile(&latencies, 99));
    seen.max_ms = ms(percentile(&latencies, 100));
    seen
}

async fn once(addr: SocketAddr, neighbour: &Neighbour, idle: &Idle) -> Result<()> {
    let kept = idle.borrow_mut().pop();
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(addr).await?,
    };
    let path = neighbour.path;
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
    connection.send(request.as_bytes()).await?;
    let answer = connection.answer().await?;
    if connection.keeps() {
        idle.borrow_mut().push(connection);
    }
    if answer.status != 200 {
        anyhow::bail!("status {}", answer.status);
    }
    if answer.body != neighbour.body.as_bytes() {
        anyhow::bail!("another text");
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Hostile clients at work, each asking again as soon as it was answered.
#[derive(Debug)]
pub(crate) struct Hostile {
    stop: Arc<AtomicBool>,
    working: JoinHandle<BTreeMap<String, usize>>,
}

impl Hostile {
    /// Starts `clients` of them, on a thread of their own.
    pub(crate) fn start(addr: SocketAddr, request: Vec<u8>, clients: usize) -> Hostile {
        let stop = Arc::new(AtomicBool::new(false));
        let working = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || harass(addr, request, clients, &stop)
        });
        Hostile { stop, working }
    }

    /// Has all of them leave, whatever they wait for; tells what they were answered.
    pub(crate) fn stop(self) -> BTreeMap<String, usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.working.join().unwrap_or_default()
    }
}

fn harass(
    addr: SocketAddr,
    request: Vec<u8>,
    clients: usize,
    stop: &AtomicBool,
) -> BTreeMap<String, usize> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return BTreeMap::new();
    };
    let outcomes = Rc::new(RefCell::new(BTreeMap::<String, usize>::new()));
    let local = LocalSet::new();
    for _ in 0..clients {
        let (request, outcomes) = (request.clone(), Rc::clone(&outcomes));
        local.spawn_local(async move {
            loop {
                let outcome = match attack(addr, &request).await {
                    Ok(status) => format!("status {status}"),
                    Err(error) => format!("{error:#}"),
                };
                let failed = !outcome.starts_with("status");
                *outcomes.borrow_mut().entry(outcome).or_default() += 1;
                if failed {
                    tokio::time::sleep(HOSTILE_PAUSE).await;
                }
            }
        });
    }
    local.block_on(&runtime, async {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    // Their connections close here.
    drop(local);
    drop(runtime);
    Rc::try_unwrap(outcomes).map_or_else(|rc| rc.borrow().clone(), RefCell::into_inner)
}

async fn attack(addr: SocketAddr, request: &[u8]) -> Result<u16> {
    let mut connection = Connection::open(addr).await?;
    connection.send(request).await?;
    Ok(connection.answer().await?.status)
}
