//! The way out of a node: which addresses its guests may reach, and what they share on the way.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use wharf_manifest::PrivateAddress;

use crate::address_class::{AddressClass, inner};
use crate::capability::http::Tls;
use crate::denial::{Denial, Remedy};
use crate::own_address::OwnAddress;
use crate::resolver::{LookupShare, Resolver};

/// What a node refuses whatever the manifests of its apps ask for.
///
/// Addresses of the public network are for the manifests alone to grant. Of the others, loopback,
/// private, link-local and reserved ones, those are open that the operator allows. Where a cloud
/// machine hands out its credentials is never reached by a name, a network or a wildcard: only
/// where the grant, and the operator's list too, names that very address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRules(Private);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Private {
    Any,
    Only {
        list: Arc<[PrivateAddress]>,
        /// The table of the node file that has the list.
        table: Arc<str>,
    },
}

impl Default for EgressRules {
    /// No private address.
    fn default() -> EgressRules {
        EgressRules::only(Vec::new())
    }
}

/// What of a grant covers an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Covered<'a> {
    /// The address itself.
    VeryAddress,
    /// A network or a wildcard.
    Range,
    /// A name that resolves to it.
    Name(&'a str),
}

impl EgressRules {
    /// Every private address that a manifest asks for: for whoever runs programs on their own
    /// machine, where asking and allowing are one person's.
    pub const fn any_private() -> EgressRules {
        EgressRules(Private::Any)
    }

    /// These private addresses only, which a manifest must still ask for: for a node that runs
    /// apps of others.
    pub fn only(private: Vec<PrivateAddress>) -> EgressRules {
        EgressRules::listed("egress", private)
    }

    /// The same, for the app `name` of the node file, which has a list of its own there.
    pub fn only_of_app(name: &str, private: Vec<PrivateAddress>) -> EgressRules {
        EgressRules::listed(&format!("app.{name}.egress"), private)
    }

    fn listed(table: &str, private: Vec<PrivateAddress>) -> EgressRules {
        EgressRules(Private::Only {
            list: private.into(),
            table: table.into(),
        })
    }

    /// Whether `address` may be reached by way of what covers it.
    pub(crate) fn allow(&self, address: IpAddr, covered: Covered<'_>) -> bool {
        let class = AddressClass::of(address);
        match (&self.0, class) {
            (_, AddressClass::Public) => true,
            (Private::Any, AddressClass::Metadata) => covered == Covered::VeryAddress,
            (Private::Only { list, .. }, AddressClass::Metadata) => {
                covered == Covered::VeryAddress
                    && list.iter().any(|allowed| allowed.is_very_address(address))
            }
            (Private::Any, _) => true,
            // Where a name leads, its owner decides: a network that is open to those who name its
            // addresses is not open to every name that somebody points there.
            (Private::Only { list, .. }, _) => list.iter().any(|allowed| match covered {
                Covered::Name(name) => allowed.covers_name(name),
                Covered::VeryAddress | Covered::Range => {
                    allowed.covers_address(address)
                        || inner(address).is_some_and(|inner| allowed.covers_address(inner))
                }
            }),
        }
    }

    /// The report that `what`, which is granted, is refused at `address`, which `name` resolved
    /// to if there is one. `exact` is the grant of the very address, if there is none yet.
    pub(crate) fn refusal(
        &self,
        what: &str,
        address: IpAddr,
        name: Option<&str>,
        exact: Option<Remedy>,
    ) -> Denial {
        let class = AddressClass::of(address);
        let what = match name {
            Some(name) => format!("{what}: `{name}` has the {class} address {address}"),
            None if class == AddressClass::Unspecified => {
                format!("{what}: {address} is an {class} address")
            }
            None => format!("{what}: {address} is a {class} address"),
        };
        let is_metadata = class == AddressClass::Metadata;
        let exact = exact.filter(|_| is_metadata && name.is_none());
        let remedy = match (self.line_for(address, name), exact) {
            (Some(line), Some(Remedy::Grant { manifest_line, .. })) => Remedy::GrantAndNodeFile {
                manifest_line,
                line,
            },
            (Some(line), _) => Remedy::NodeFile { line },
            (None, Some(exact)) => exact,
            (None, None) => Remedy::Nothing,
        };
        Denial {
            what,
            remedy,
            asked_only: false,
            survived_by_many: false,
        }
    }

    /// The line of the node file that would let `address` be reached; `None` if no line would.
    fn line_for(&self, address: IpAddr, name: Option<&str>) -> Option<String> {
        let Private::Only { table, list } = &self.0 else {
            return None;
        };
        let is_listed = || list.iter().any(|allowed| allowed.is_very_address(address));
        let host = match (AddressClass::of(address), name) {
            (AddressClass::Public, _) | (AddressClass::Metadata, Some(_)) => return None,
            (AddressClass::Metadata, None) if is_listed() => return None,
            (_, Some(name)) => name.to_owned(),
            (_, None) => address.to_canonical().to_string(),
        };
        Some(format!("[{table}] private = [\"{host}\"]"))
    }

    /// The names that may have private addresses.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let list: &[PrivateAddress] = match &self.0 {
            Private::Any => &[],
            Private::Only { list, .. } => list,
        };
        list.iter().filter_map(PrivateAddress::name)
    }
}

/// What guests of a node share on the way out: one resolver of names, the certificates that are
/// trusted, and rules. Clones share them.
#[derive(Debug, Clone)]
pub struct Egress {
    pub(crate) rules: EgressRules,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) tls: Arc<Tls>,
    pub(crate) share: LookupShare,
    pub(crate) own: OwnAddress,
}

impl Egress {
    /// A way out under `rules`. Certificates are read at the first request.
    pub fn new(rules: EgressRules) -> Egress {
        Egress {
            rules,
            resolver: Arc::new(Resolver::of_the_system()),
            tls: Arc::default(),
            share: LookupShare::default(),
            own: OwnAddress::default(),
        }
    }

    /// The same way out, which never leads to `addr`, where the node answers its operator.
    pub fn closed_at(&self, addr: SocketAddr) -> Egress {
        Egress {
            own: OwnAddress::new(addr),
            ..self.clone()
        }
    }

    /// Whether `address` may be connected to at `port` by way of what covers it.
    pub(crate) fn allow(&self, address: IpAddr, port: u16, covered: Covered<'_>) -> bool {
        self.rules.allow(address, covered) && !self.own.is_reached_at(address, port)
    }

    /// The report that `what`, which is granted, is refused at `address` and `port`. See
    /// [`EgressRules::refusal`].
    pub(crate) fn refusal(
        &self,
        what: &str,
        address: IpAddr,
        port: u16,
        name: Option<&str>,
        exact: Option<Remedy>,
    ) -> Denial {
        match self.own.is_reached_at(address, port) {
            true => OwnAddress::refusal(what),
            false => self.rules.refusal(what, address, name, exact),
        }
    }

    /// The same way out for another app, which has look-ups of its own at once.
    pub fn of_app(&self) -> Egress {
        Egress {
            share: LookupShare::default(),
            ..self.clone()
        }
    }

    /// The same way out under other rules.
    pub fn under(&self, rules: EgressRules) -> Egress {
        Egress {
            rules,
            ..self.clone()
        }
    }

    #[cfg(test)]
    pub(crate) fn with_resolver(rules: EgressRules, resolver: Resolver) -> Egress {
        Egress {
            rules,
            resolver: Arc::new(resolver),
            tls: Arc::default(),
            share: LookupShare::default(),
            own: OwnAddress::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_s_own_machine_allows_all_but_metadata() {
        let rules = EgressRules::any_private();
        for private in [
            "127.0.0.1",
            "10.0.0.5",
            "::1",
            "fd00::1",
            "0.0.0.0",
            "8.8.8.8",
        ] {
            for covered in [Covered::Range, Covered::Name("a"), Covered::VeryAddress] {
                assert!(rules.allow(address(private), covered), "{private}");
            }
        }
        for metadata in [
            "169.254.169.254",
            "fd00:ec2::254",
            "64:ff9b::169.254.169.254",
        ] {
            assert!(!rules.allow(address(metadata), Covered::Range));
            assert!(!rules.allow(address(metadata), Covered::Name("a")));
            assert!(rules.allow(address(metadata), Covered::VeryAddress));
        }
    }

    #[test]
    fn a_node_allows_what_its_operator_lists() {
        let list = [
            "10.1.0.0/16",
            "127.0.0.1",
            "db.internal",
            "169.254.0.0/16",
            "fd00:ec2::254",
        ];
        let list = list.iter().map(|text| text.parse().unwrap()).collect();
        let rules = EgressRules::only(list);
        let (range, very) = (Covered::Range, Covered::VeryAddress);
        let by = Covered::Name;
        for (text, covered, allowed) in [
            ("8.8.8.8", range, true),
            ("10.1.2.3", range, true),
            ("10.1.2.3", by("x.example"), false),
            ("::ffff:10.1.2.3", very, true),
            ("64:ff9b::10.1.2.3", very, true),
            ("10.2.0.1", very, false),
            ("10.2.0.1", by("db.internal"), true),
            ("10.2.0.1", by("other.internal"), false),
            ("127.0.0.1", very, true),
            ("127.0.0.2", very, false),
            ("::1", very, false),
            ("0.0.0.0", very, false),
            ("fe80::1", very, false),
            ("255.255.255.255", very, false),
            ("169.254.169.254", very, false),
            ("169.254.169.254", by("db.internal"), false),
            ("fd00:ec2::254", very, true),
            ("fd00:ec2::254", range, false),
            ("fd00:ec2::254", by("db.internal"), false),
        ] {
            assert_eq!(
                rules.allow(address(text), covered),
                allowed,
                "{text} {covered:?}"
            );
        }
    }

    #[test]
    fn a_refusal_names_the_line_that_would_allow_it() {
        let rules = EgressRules::only(Vec::new());
        let line = |text: &str, name| rules.line_for(address(text), name);
        assert_eq!(
            line("10.0.0.5", None).unwrap(),
            "[egress] private = [\"10.0.0.5\"]"
        );
        assert_eq!(
            line("10.0.0.5", Some("db")).unwrap(),
            "[egress] private = [\"db\"]"
        );
        assert_eq!(line("169.254.169.254", Some("db")), None);
        assert_eq!(line("8.8.8.8", None), None);
    }

    #[test]
    fn what_is_missing_for_a_metadata_address_is_named_and_nothing_else() {
        let address = address("169.254.169.254");
        let exact = || {
            Some(Remedy::Grant {
                key: "http",
                manifest_line: "GRANT".into(),
                flag: "FLAG".into(),
            })
        };
        let line = "[egress] private = [\"169.254.169.254\"]";
        let none = EgressRules::only(vec!["169.254.0.0/16".parse().unwrap()]);
        let listed = EgressRules::only(vec!["169.254.169.254".parse().unwrap()]);
        let remedy = |rules: &EgressRules, exact| rules.refusal("", address, None, exact).remedy;
        assert_eq!(
            remedy(&none, exact()),
            Remedy::GrantAndNodeFile {
                manifest_line: "GRANT".into(),
                line: line.into()
            }
        );
        assert_eq!(remedy(&none, None), Remedy::NodeFile { line: line.into() });
        assert_eq!(Some(remedy(&listed, exact())), exact());
        assert_eq!(Some(remedy(&EgressRules::any_private(), exact())), exact());
    }
}
