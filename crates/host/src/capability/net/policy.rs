//! Which addresses a guest's sockets may use.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use tokio::task::JoinSet;
use wasmtime_wasi::sockets::SocketAddrUse;
use wharf_manifest::{NetGrant, NetHost, NetProtocol};

use crate::denial::{Denial, Denials, Remedy};
use crate::egress::{Covered, Egress};
use crate::resolver::LookupShare;

/// What one component may reach by sockets: its grants, under the node's rules.
#[derive(Debug)]
pub(crate) struct NetPolicy {
    pub(super) grants: Vec<NetGrant>,
    pub(super) egress: Egress,
    pub(super) share: LookupShare,
    denials: Denials,
}

/// What was found out about one address.
enum Verdict<'a> {
    Allowed,
    /// It is granted, by this name if any, but the node's rules refuse it.
    Refused(Option<&'a str>),
    NotGranted,
}

impl NetPolicy {
    pub(crate) fn new(
        grants: Vec<NetGrant>,
        egress: Egress,
        share: LookupShare,
        denials: Denials,
    ) -> NetPolicy {
        NetPolicy {
            grants,
            egress,
            share,
            denials,
        }
    }

    /// Whether a socket may be used so with `address`. A refusal is reported.
    pub(super) async fn allows(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
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
        let scheme = match protocol {
            NetProtocol::Tcp => "tcp",
            NetProtocol::Udp => "udp",
        };
        let asked = format!("{scheme}://{address}");
        let what = format!("{verb} {asked}");
        match self.judge(protocol, address).await {
            Verdict::Allowed => return true,
            Verdict::Refused(name) => self.refused(&what, address.ip(), name, &asked),
            Verdict::NotGranted => self.not_granted(what, &asked),
        }
        false
    }

    async fn judge(&self, protocol: NetProtocol, address: SocketAddr) -> Verdict<'_> {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let mut refused = false;
        for grant in &self.grants {
            if grant.allows_address(protocol, ip, port) {
                if self.egress.rules.allow(ip, covered(grant, ip)) {
                    return Verdict::Allowed;
                }
                refused = true;
            }
        }
        let names = self.names(protocol, port);
        match self.name_of(ip, &names).await {
            Some(name) if self.egress.rules.allow(ip, Covered::Name(name)) => Verdict::Allowed,
            Some(name) => Verdict::Refused(Some(name)),
            None if refused => Verdict::Refused(None),
            None => Verdict::NotGranted,
        }
    }

    /// The names whose addresses are granted at `port`. Under a wildcard, those are looked at
    /// that the operator lists: others gain nothing by their name.
    fn names(&self, protocol: NetProtocol, port: u16) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for grant in &self.grants {
            match grant.host() {
                NetHost::Name(name) if grant.allows_resolved(protocol, name, port) => {
                    names.insert(&**name);
                }
                NetHost::Any => {
                    let listed = self.egress.rules.names();
                    names.extend(listed.filter(|name| grant.allows_resolved(protocol, name, port)));
                }
                NetHost::Name(_) | NetHost::Network(_) => {}
            }
        }
        names
    }

    /// The one of `names` that resolves to `ip`, one that the rules allow before others.
    async fn name_of<'a>(&self, ip: IpAddr, names: &BTreeSet<&'a str>) -> Option<&'a str> {
        let mut asking = JoinSet::new();
        for (number, name) in names.iter().enumerate() {
            let (egress, share) = (self.egress.clone(), self.share.clone());
            let name = (*name).to_owned();
            asking.spawn(async move {
                let is_it = egress.resolver.has(&name, ip, &share).await;
                (
                    is_it && egress.rules.allow(ip, Covered::Name(&name)),
                    is_it,
                    number,
                )
            });
        }
        let mut refused = None;
        while let Some(answer) = asking.join_next().await {
            // A task that fell over knows of no address.
            let Ok((allowed, is_it, number)) = answer else {
                continue;
            };
            let name = names.iter().nth(number).copied();
            if allowed {
                return name;
            }
            if is_it {
                refused = name;
            }
        }
        refused
    }

    fn grants_udp(&self) -> bool {
        let mut protocols = self.grants.iter().map(NetGrant::protocol);
        protocols.any(|protocol| protocol != Some(NetProtocol::Tcp))
    }

    /// Reports that `what` is not granted and that a grant of `asked` would do.
    pub(super) fn not_granted(&self, what: String, asked: &str) {
        self.denials.record(Denial {
            what,
            remedy: grant(asked),
            asked_only: false,
            survived_by_many: false,
        });
    }

    /// Reports that `what` is granted and the node's rules refuse it; `asked` is the grant of the
    /// very address.
    pub(super) fn refused(&self, what: &str, ip: IpAddr, name: Option<&str>, asked: &str) {
        let exact = Some(grant(asked));
        self.denials
            .record(self.egress.rules.refusal(what, ip, name, exact));
    }
}

fn grant(asked: &str) -> Remedy {
    Remedy::Grant {
        manifest_line: format!("net = [\"{asked}\"]"),
        flag: format!("--net {asked}"),
    }
}

/// How `grant`, which covers `ip` by itself, does.
pub(super) fn covered(grant: &NetGrant, ip: IpAddr) -> Covered<'static> {
    if grant.is_very_address(ip) {
        Covered::VeryAddress
    } else {
        Covered::Range
    }
}
