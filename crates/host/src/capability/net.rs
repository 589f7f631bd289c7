//! Sockets: granted addresses only.
//!
//! A grant by name (`db.example.com:5432`) allows the addresses that the name has at the time of
//! connecting: the host resolves it itself and remembers the answer for a short while, whatever
//! the guest looked up.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::sockets::SocketAddrUse;
use wharf_manifest::{NetGrant, NetHost, NetProtocol};

use crate::denial::{Denial, Denials};
use crate::metadata::is_metadata;

/// How long a resolved name is believed.
const NAME_FRESH: Duration = Duration::from_secs(30);

/// Which addresses a guest's sockets may use.
#[derive(Debug)]
pub(crate) struct NetPolicy {
    grants: Vec<NetGrant>,
    denials: Denials,
    names: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

impl NetPolicy {
    pub(crate) fn new(grants: Vec<NetGrant>, denials: Denials) -> NetPolicy {
        NetPolicy {
            grants,
            denials,
            names: Mutex::default(),
        }
    }

    async fn allows(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
        // What the system itself chooses for a socket that only connects.
        let wildcard = address.ip().is_unspecified() && address.port() == 0;
        let (protocol, verb) = match purpose {
            // Listening and connecting, which follow, are looked at by themselves.
            SocketAddrUse::TcpBind if wildcard => return true,
            SocketAddrUse::UdpBind if wildcard && self.grants_udp() => return true,
            SocketAddrUse::TcpBind | SocketAddrUse::TcpListen => (NetProtocol::Tcp, "listening on"),
            // Whoever may listen may hear.
            SocketAddrUse::TcpAccept | SocketAddrUse::UdpReceive => return true,
            SocketAddrUse::TcpConnect => (NetProtocol::Tcp, "connecting to"),
            SocketAddrUse::UdpBind => (NetProtocol::Udp, "receiving on"),
            SocketAddrUse::UdpSend => (NetProtocol::Udp, "sending to"),
        };
        for grant in &self.grants {
            if self.grant_covers(grant, protocol, address).await {
                return true;
            }
        }
        let scheme = match protocol {
            NetProtocol::Tcp => "tcp",
            NetProtocol::Udp => "udp",
        };
        self.denials.record(Denial {
            what: format!("{verb} {scheme}://{address}"),
            manifest_line: format!("net = [\"{scheme}://{address}\"]"),
            flag: format!("--net {scheme}://{address}"),
            asked_only: false,
            survived_by_many: false,
        });
        false
    }

    async fn grant_covers(
        &self,
        grant: &NetGrant,
        protocol: NetProtocol,
        address: SocketAddr,
    ) -> bool {
        let ip = address.ip().to_canonical();
        if grant.allows_address(protocol, ip, address.port()) {
            // `*` does not mean the machine's own credentials.
            return !(is_metadata(ip) && matches!(grant.host(), NetHost::Any));
        }
        let NetHost::Name(name) = grant.host() else {
            return false;
        };
        grant.allows_resolved(protocol, name, address.port())
            && !is_metadata(ip)
            && self.resolve(name).await.contains(&ip)
    }

    async fn resolve(&self, name: &str) -> Vec<IpAddr> {
        let known = self
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .filter(|(when, _)| when.elapsed() < NAME_FRESH)
            .map(|(_, addresses)| addresses.clone());
        if let Some(addresses) = known {
            return addresses;
        }
        let addresses: Vec<IpAddr> = match tokio::net::lookup_host((name, 0)).await {
            Ok(found) => found.map(|address| address.ip().to_canonical()).collect(),
            Err(_) => Vec::new(),
        };
        self.names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), (Instant::now(), addresses.clone()));
        addresses
    }

    fn grants_udp(&self) -> bool {
        let mut protocols = self.grants.iter().map(NetGrant::protocol);
        protocols.any(|protocol| protocol != Some(NetProtocol::Tcp))
    }

    fn allows_lookups(&self) -> bool {
        self.grants
            .iter()
            .any(|grant| matches!(grant.host(), NetHost::Name(_) | NetHost::Any))
    }
}

/// Sets an instance's sockets up.
pub(crate) fn apply(builder: &mut WasiCtxBuilder, policy: &Arc<NetPolicy>) {
    // Sockets may be made without a grant: the refusal comes at connecting or binding, where
    // it can name the address.
    builder
        .allow_tcp(true)
        .allow_udp(true)
        .allow_ip_name_lookup(policy.allows_lookups());
    let policy = Arc::clone(policy);
    builder.socket_addr_check(move |address, purpose| {
        let policy = Arc::clone(&policy);
        Box::pin(SyncFuture::new(async move {
            policy.allows(address, purpose).await
        }))
    });
}

/// A future that is only polled through `&mut`, so sharing it does no harm.
struct SyncFuture<F>(Mutex<std::pin::Pin<Box<F>>>);

impl<F: Future> SyncFuture<F> {
    fn new(future: F) -> SyncFuture<F> {
        SyncFuture(Mutex::new(Box::pin(future)))
    }
}

impl<F: Future> Future for SyncFuture<F> {
    type Output = F::Output;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<F::Output> {
        self.0
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .poll(cx)
    }
}
