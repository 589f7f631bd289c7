//! What of the grants that a manifest asks for a node gives.

use std::fmt::Display;

use crate::grant::{Grants, HttpGrant, NetGrant};

/// What the components of an app may be granted. One that is not there lets pass what the manifest
/// asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Over [`Grants::http`].
    pub http: Option<Vec<HttpGrant>>,
    /// Over [`Grants::net`].
    pub net: Option<Vec<NetGrant>>,
}

/// A grant of which a node gives less than a manifest asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// The key of the grant.
    pub key: &'static str,
    /// What the manifest asks.
    pub asked: String,
    /// What is left of it, perhaps nothing.
    pub given: Vec<String>,
}

impl Allowance {
    /// Leaves of `grants` what is allowed, too, and tells of which that is not all.
    pub fn narrow(&self, grants: &mut Grants) -> Vec<Withheld> {
        let mut withheld = Vec::new();
        if let Some(allowed) = &self.http {
            let (asked, and) = (&mut grants.http, HttpGrant::and);
            narrow("http", asked, allowed, and, &mut withheld);
        }
        if let Some(allowed) = &self.net {
            let (asked, and) = (&mut grants.net, NetGrant::and);
            narrow("net", asked, allowed, and, &mut withheld);
        }
        withheld
    }
}

fn narrow<G: Display + PartialEq>(
    key: &'static str,
    grants: &mut Vec<G>,
    allowed: &[G],
    and: impl Fn(&G, &G) -> Option<G>,
    withheld: &mut Vec<Withheld>,
) {
    for asked in std::mem::take(grants) {
        let given: Vec<G> = allowed.iter().filter_map(|one| and(&asked, one)).collect();
        if given.contains(&asked) {
            grants.push(asked);
            continue;
        }
        withheld.push(Withheld {
            key,
            asked: asked.to_string(),
            given: given.iter().map(G::to_string).collect(),
        });
        grants.extend(given);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grants(http: &[&str], net: &[&str]) -> Grants {
        Grants {
            http: http.iter().map(|text| text.parse().unwrap()).collect(),
            net: net.iter().map(|text| text.parse().unwrap()).collect(),
            ..Grants::default()
        }
    }

    #[test]
    fn what_is_not_allowed_is_withheld_and_told() {
        let allowed = grants(&["https://*.a.b", "https://c.d"], &[]);
        let allowance = Allowance {
            http: Some(allowed.http),
            net: Some(allowed.net),
        };
        let mut asked = grants(&["https://x.a.b", "https://*", "http://c.d"], &["*"]);
        let withheld = allowance.narrow(&mut asked);
        let left = ["https://x.a.b", "https://*.a.b", "https://c.d"];
        assert_eq!(asked, grants(&left, &[]));
        let told = |key, asked: &str, given: &[&str]| Withheld {
            key,
            asked: asked.to_owned(),
            given: given.iter().map(|text| (*text).to_owned()).collect(),
        };
        assert_eq!(
            withheld,
            [
                told("http", "https://*", &["https://*.a.b", "https://c.d"]),
                told("http", "http://c.d", &[]),
                told("net", "*", &[]),
            ]
        );
    }

    #[test]
    fn without_a_list_all_that_is_asked_holds_and_nothing_more_is_given() {
        let mut asked = grants(&["*"], &["a.b:1"]);
        assert_eq!(Allowance::default().narrow(&mut asked), []);
        assert_eq!(asked, grants(&["*"], &["a.b:1"]));
        let all = grants(&["*"], &["*"]);
        let all = Allowance {
            http: Some(all.http),
            net: Some(all.net),
        };
        assert_eq!(all.narrow(&mut asked), []);
        assert_eq!(asked, grants(&["*"], &["a.b:1"]));
        let mut none = Grants::default();
        assert_eq!(all.narrow(&mut none), []);
        assert!(none.is_empty());
    }

    fn host() -> impl Strategy<Value = String> {
        "(\\*|\\*\\.a|\\*\\.b\\.a|a|b\\.a|c\\.b\\.a|10\\.0\\.0\\.[12]|\\[::1\\])"
    }

    fn http() -> impl Strategy<Value = HttpGrant> {
        let port = "(|:80|:81|:\\*)";
        let server = ("https?", host(), port)
            .prop_map(|(scheme, host, port)| format!("{scheme}://{host}{port}"));
        prop_oneof![Just("*".to_owned()), server].prop_map(|text| text.parse().unwrap())
    }

    fn net() -> impl Strategy<Value = NetGrant> {
        let host = "(\\*|a|b\\.a|10\\.0\\.0\\.0/[89]|10\\.0\\.0\\.[12]|\\[::1\\]|\\[::/0\\])";
        ("(|tcp://|udp://)", host, "(80|80-82|82|\\*)")
            .prop_map(|(protocol, host, port)| format!("{protocol}{host}:{port}").parse().unwrap())
    }

    proptest! {
        #[test]
        fn http_is_granted_where_both_grant_it(asked in http(), allowed in http()) {
            let both = asked.and(&allowed);
            for scheme in ["http", "https"] {
                for host in ["a", "b.a", "c.b.a", "d.c.b.a", "x", "10.0.0.1", "10.0.0.2", "[::1]"] {
                    for port in [80, 81, 443] {
                        let allows = |grant: &HttpGrant| grant.allows(scheme, host, port);
                        prop_assert_eq!(
                            both.as_ref().is_some_and(allows),
                            allows(&asked) && allows(&allowed),
                            "{}://{}:{}", scheme, host, port
                        );
                    }
                }
            }
        }

        #[test]
        fn sockets_are_granted_where_both_grant_them(asked in net(), allowed in net()) {
            use crate::grant::NetProtocol::{Tcp, Udp};

            let both = asked.and(&allowed);
            let grants = [&asked, &allowed];
            for protocol in [Tcp, Udp] {
                for port in [79, 80, 81, 82, 83] {
                    for address in ["10.0.0.1", "10.0.0.2", "10.127.0.1", "10.200.0.1", "::1"] {
                        let address = address.parse().unwrap();
                        let allows = |grant: &NetGrant| grant.allows_address(protocol, address, port);
                        let expected = grants.iter().all(|grant| allows(grant));
                        prop_assert_eq!(both.as_ref().is_some_and(allows), expected);
                    }
                    for name in ["a", "b.a", "c"] {
                        let allows = |grant: &NetGrant| grant.allows_resolved(protocol, name, port);
                        let expected = grants.iter().all(|grant| allows(grant));
                        prop_assert_eq!(both.as_ref().is_some_and(allows), expected);
                    }
                }
            }
        }
    }
}
