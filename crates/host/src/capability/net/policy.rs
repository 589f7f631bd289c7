//! Which addresses a guest's sockets may use.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use tokio::task::JoinSet;
use wasmtime_wasi::sockets::SocketAddrUse;
use wharf_manifest::{NetGrant, NetHost, NetProtocol};

use crate::denial::{Denial, Denials, Remedy};
use crate::egress::{Covered, Egress};
use crate::own_address::OwnAddress;

/// What one component may reach by sockets: its grants, under the node's rules.
#[derive(Debug)]
pub(crate) struct NetPolicy {
    pub(super) grants: Vec<NetGrant>,
    pub(super) egress: Egress,
    denials: Denials,
}

/// Why an address is not to be used.
enum Refusal<'a> {
    /// It is granted, by this name if any, but the node's rules refuse it.
    ByRules(Option<&'a str>),
    /// It is where the node answers its operator.
    Own,
    NotGranted,
}

impl NetPolicy {
    pub(crate) fn new(grants: Vec<NetGrant>, egress: Egress, denials: Denials) -> NetPolicy {
        NetPolicy {
            grants,
            egress,
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
        let is_own = matches!(purpose, SocketAddrUse::TcpConnect)
            && self.egress.own.is_reached_at(address.ip(), address.port());
        let refusal = match self.judge(protocol, address).await {
            Ok(()) | Err(Refusal::ByRules(_)) if is_own => Refusal::Own,
            Ok(()) => return true,
            Err(refusal) => refusal,
        };
        let scheme = match protocol {
            NetProtocol::Tcp => "tcp",
            NetProtocol::Udp => "udp",
        };
        let asked = format!("{scheme}://{address}");
        let what = format!("{verb} {asked}");
        match refusal {
            Refusal::Own => self.denials.record(OwnAddress::refusal(&what)),
            Refusal::ByRules(name) => {
                let (ip, port) = (address.ip().to_canonical(), address.port());
                let is_named = self.grants.iter().any(|grant| {
                    grant.is_very_address(ip) && grant.allows_address(protocol, ip, port)
                });
                self.refused(&what, address.ip(), name, (!is_named).then_some(&*asked));
            }
            Refusal::NotGranted => self.not_granted(what, &asked),
        }
        false
    }

    async fn judge(&self, protocol: NetProtocol, address: SocketAddr) -> Result<(), Refusal<'_>> {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let mut refused = false;
        for grant in &self.grants {
            if grant.allows_address(protocol, ip, port) {
                if self.egress.rules.allow(ip, covered(grant, ip)) {
                    return Ok(());
                }
                refused = true;
            }
        }
        let names = self.names(protocol, port);
        match self.name_of(ip, &names).await {
            Some(name) if self.egress.rules.allow(ip, Covered::Name(name)) => Ok(()),
            Some(name) => Err(Refusal::ByRules(Some(name))),
            None if refused => Err(Refusal::ByRules(None)),
            None => Err(Refusal::NotGranted),
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
        let known = |name: &&&str| {
            self.egress.resolver.knows(name, ip) && self.egress.rules.allow(ip, Covered::Name(name))
        };
        // The usual case, and every datagram's.
        if let Some(name) = names.iter().find(known) {
            return Some(name);
        }
        let mut asking = JoinSet::new();
        for (number, name) in names.iter().enumerate() {
            let (egress, name) = (self.egress.clone(), (*name).to_owned());
            asking.spawn(async move {
                let is_it = egress.resolver.has(&name, ip, &egress.share).await;
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
    /// very address, if there is none yet.
    pub(super) fn refused(&self, what: &str, ip: IpAddr, name: Option<&str>, asked: Option<&str>) {
        let exact = asked.map(grant);
        self.denials
            .record(self.egress.rules.refusal(what, ip, name, exact));
    }
}

fn grant(asked: &str) -> Remedy {
    Remedy::Grant {
        key: "net",
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::denial::{Told, told};
    use crate::egress::EgressRules;
    use crate::resolver::Resolver;

    pub(in super::super) fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(test)
    }

    /// A policy where names have these addresses, under rules that list `private`, or none.
    pub(in super::super) fn policy(grants: &[&str], private: Option<&[&str]>) -> (NetPolicy, Told) {
        let (denials, told) = told();
        let rules = match private {
            None => EgressRules::any_private(),
            Some(list) => {
                EgressRules::only(list.iter().map(|text| text.parse().unwrap()).collect())
            }
        };
        let resolver = Resolver::of(&[
            ("public.example", &["93.184.216.34", "2606:2800::1"]),
            ("db.internal", &["10.0.0.5"]),
            ("mixed.example", &["93.184.216.34", "127.0.0.1"]),
            ("rebound.example", &["169.254.169.254"]),
            ("mapped.example", &["::ffff:127.0.0.1"]),
        ]);
        let egress = Egress::with_resolver(rules, resolver);
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        (NetPolicy::new(grants, egress, denials), told)
    }

    fn connects(policy: &NetPolicy, address: &str) -> bool {
        let address = address.parse().unwrap();
        run(policy.allows(address, SocketAddrUse::TcpConnect))
    }

    #[test]
    fn connecting_goes_to_what_is_granted_and_allowed() {
        for (grants, private, address, allowed) in [
            // The grant alone decides about the public network.
            (
                &["tcp://93.184.216.34:443"][..],
                Some(&[][..]),
                "93.184.216.34:443",
                true,
            ),
            (
                &["tcp://93.184.216.34:443"],
                Some(&[]),
                "93.184.216.34:80",
                false,
            ),
            (&["*"], Some(&[]), "93.184.216.34:80", true),
            // A name allows its addresses, whoever looked it up.
            (
                &["tcp://public.example:443"],
                Some(&[]),
                "93.184.216.34:443",
                true,
            ),
            (
                &["tcp://public.example:443"],
                Some(&[]),
                "[2606:2800::1]:443",
                true,
            ),
            (
                &["tcp://public.example:443"],
                Some(&[]),
                "93.184.216.34:444",
                false,
            ),
            (
                &["tcp://public.example:443"],
                Some(&[]),
                "93.184.216.35:443",
                false,
            ),
            (
                &["udp://public.example:443"],
                Some(&[]),
                "93.184.216.34:443",
                false,
            ),
            // A node refuses what is private, whatever is granted …
            (&["tcp://10.0.0.5:5432"], Some(&[]), "10.0.0.5:5432", false),
            (&["10.0.0.0/8:*", "*"], Some(&[]), "10.0.0.5:5432", false),
            (
                &["tcp://db.internal:5432"],
                Some(&[]),
                "10.0.0.5:5432",
                false,
            ),
            (&["*"], Some(&[]), "127.0.0.1:80", false),
            (&["*"], Some(&[]), "[::1]:80", false),
            (&["*"], Some(&[]), "[::ffff:127.0.0.1]:80", false),
            (&["*"], Some(&[]), "[64:ff9b::7f00:1]:80", false),
            (&["*"], Some(&[]), "[2002:7f00:1::]:80", false),
            (&["*"], Some(&[]), "0.0.0.0:80", false),
            (&["*"], Some(&[]), "255.255.255.255:80", false),
            (
                &["tcp://mixed.example:80"],
                Some(&[]),
                "127.0.0.1:80",
                false,
            ),
            (
                &["tcp://mapped.example:80"],
                Some(&[]),
                "127.0.0.1:80",
                false,
            ),
            // … unless its operator lists it, which grants nothing by itself.
            (
                &["tcp://10.0.0.5:5432"],
                Some(&["10.0.0.0/8"]),
                "10.0.0.5:5432",
                true,
            ),
            (
                &["tcp://10.0.0.5:5432"],
                Some(&["10.0.0.5"]),
                "10.0.0.5:5432",
                true,
            ),
            (
                &["tcp://10.0.0.5:5432"],
                Some(&["10.0.0.6"]),
                "10.0.0.5:5432",
                false,
            ),
            (
                &["tcp://10.0.0.5:5432"],
                Some(&["10.0.0.0/8"]),
                "10.0.0.6:5432",
                false,
            ),
            (
                &["tcp://db.internal:5432"],
                Some(&["db.internal"]),
                "10.0.0.5:5432",
                true,
            ),
            (&["*"], Some(&["db.internal"]), "10.0.0.5:5432", true),
            (
                &["tcp://10.0.0.5:5432"],
                Some(&["db.internal"]),
                "10.0.0.5:5432",
                false,
            ),
            (
                &[],
                Some(&["10.0.0.0/8", "db.internal"]),
                "10.0.0.5:5432",
                false,
            ),
            // Credentials of the machine: by their very address, on both sides.
            (&["*"], None, "169.254.169.254:80", false),
            (&["169.254.0.0/16:80"], None, "169.254.169.254:80", false),
            (&["rebound.example:80"], None, "169.254.169.254:80", false),
            (&["169.254.169.254:80"], None, "169.254.169.254:80", true),
            (
                &["169.254.169.254:80"],
                Some(&["169.254.0.0/16"]),
                "169.254.169.254:80",
                false,
            ),
            (
                &["169.254.169.254:80"],
                Some(&["169.254.169.254"]),
                "169.254.169.254:80",
                true,
            ),
            (
                &["rebound.example:80"],
                Some(&["169.254.169.254"]),
                "169.254.169.254:80",
                false,
            ),
            (
                &["rebound.example:80"],
                Some(&["rebound.example"]),
                "169.254.169.254:80",
                false,
            ),
            // One's own machine.
            (&["127.0.0.1:80"], None, "127.0.0.1:80", true),
            (&["mapped.example:80"], None, "127.0.0.1:80", true),
            (&["127.0.0.1:80"], None, "127.0.0.2:80", false),
        ] {
            let (policy, told) = policy(grants, private);
            let case = format!("{grants:?} under {private:?}: {address}");
            assert_eq!(connects(&policy, address), allowed, "{case}");
            assert_eq!(connects(&policy, address), allowed, "{case}, again");
            assert_eq!(told.lock().unwrap().len(), usize::from(!allowed), "{case}");
        }
    }

    #[test]
    fn sending_and_listening_follow_the_same_rules() {
        let uses = |policy: &NetPolicy, address: &str, purpose| {
            run(policy.allows(address.parse().unwrap(), purpose))
        };
        let (node, _) = policy(&["*"], Some(&[]));
        for (address, purpose, allowed) in [
            ("10.0.0.5:53", SocketAddrUse::UdpSend, false),
            ("93.184.216.34:53", SocketAddrUse::UdpSend, true),
            ("0.0.0.0:0", SocketAddrUse::UdpBind, true),
            ("0.0.0.0:0", SocketAddrUse::TcpBind, true),
            ("0.0.0.0:8080", SocketAddrUse::TcpBind, false),
            ("0.0.0.0:0", SocketAddrUse::TcpListen, false),
            ("127.0.0.1:8080", SocketAddrUse::TcpListen, false),
            ("[::]:8080", SocketAddrUse::UdpBind, false),
        ] {
            assert_eq!(
                uses(&node, address, purpose),
                allowed,
                "{address} {purpose:?}"
            );
        }
        let (own, _) = policy(&["tcp://0.0.0.0:8080"], None);
        assert!(uses(&own, "0.0.0.0:8080", SocketAddrUse::TcpListen));
        assert!(!uses(&own, "0.0.0.0:0", SocketAddrUse::UdpBind));
    }

    #[test]
    fn a_refusal_says_whose_rule_it_is() {
        let check = |grants: &[&str], private, address: &str, what: &str, hint: Option<&str>| {
            let (policy, told) = policy(grants, private);
            assert!(!connects(&policy, address));
            let told = told.lock().unwrap();
            assert_eq!(told[0].to_string(), what);
            assert_eq!(told[0].manifest_hint("api").as_deref(), hint);
        };
        let nothing = Some(&[][..]);
        check(
            &[],
            nothing,
            "10.0.0.5:80",
            "denied: connecting to tcp://10.0.0.5:80",
            Some("grant it under [component.api.grants]: net = [\"tcp://10.0.0.5:80\"]"),
        );
        check(
            &["10.0.0.5:80"],
            nothing,
            "10.0.0.5:80",
            "denied: connecting to tcp://10.0.0.5:80: 10.0.0.5 is a private address",
            Some(
                "this is the node's rule, whatever is granted; its operator allows it in the node file: [egress] private = [\"10.0.0.5\"]",
            ),
        );
        check(
            &["db.internal:80"],
            nothing,
            "10.0.0.5:80",
            "denied: connecting to tcp://10.0.0.5:80: `db.internal` has the private address 10.0.0.5",
            Some(
                "this is the node's rule, whatever is granted; its operator allows it in the node file: [egress] private = [\"db.internal\"]",
            ),
        );
        check(
            &["*"],
            None,
            "169.254.169.254:80",
            "denied: connecting to tcp://169.254.169.254:80: 169.254.169.254 is a metadata address",
            Some("grant it under [component.api.grants]: net = [\"tcp://169.254.169.254:80\"]"),
        );
        check(
            &["rebound.example:80"],
            None,
            "169.254.169.254:80",
            "denied: connecting to tcp://169.254.169.254:80: `rebound.example` has the metadata address 169.254.169.254",
            None,
        );
    }
}
