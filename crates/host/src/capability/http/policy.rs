//! Which origins a component may ask.

use http::Uri;
use http::uri::PathAndQuery;
use wasmtime_wasi_http::Error;
use wharf_manifest::HttpGrant;

use super::default_port;
use crate::denial::{Denial, Denials, Remedy};
use crate::destination::Destination;
use crate::egress::{Covered, Egress};

/// Characters of an odd host that a report repeats.
const HOST_TOLD_MAX: usize = 80;

/// The origins that are granted to one component, under the node's rules.
#[derive(Debug)]
pub(crate) struct HttpPolicy {
    grants: Vec<HttpGrant>,
    egress: Egress,
    denials: Denials,
}

impl HttpPolicy {
    pub(crate) fn new(grants: Vec<HttpGrant>, egress: Egress, denials: Denials) -> HttpPolicy {
        HttpPolicy {
            grants,
            egress,
            denials,
        }
    }

    /// `uri` with its host in the one form that grants are compared with and that is connected
    /// to, if a request to it may leave. A refusal is reported.
    ///
    /// # Errors
    /// What the guest is told.
    pub(crate) fn admit(&self, uri: &Uri) -> Result<Uri, Error> {
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(Error::HttpRequestUriInvalid);
        };
        let default_port = default_port(uri);
        let Some(destination) = Destination::of(authority.host()) else {
            self.odd_host(authority.host());
            return Err(Error::HttpRequestUriInvalid);
        };
        // Neither a user and password nor a port that is none.
        let rest = authority.as_str().strip_prefix(authority.host());
        let port = match (rest, authority.port_u16()) {
            (Some(""), None) => default_port,
            (Some(_), Some(port)) => port,
            _ => return Err(Error::HttpRequestUriInvalid),
        };
        let host = destination.in_url();
        let authority = if port == default_port {
            host.clone()
        } else {
            format!("{host}:{port}")
        };
        let origin = format!("{scheme}://{authority}");
        let granting = |grant: &&HttpGrant| grant.allows(scheme, &host, port);
        let mut granting = self.grants.iter().filter(granting);
        if granting.clone().next().is_none() {
            self.denials.record(Denial {
                what: format!("outgoing HTTP to {origin}"),
                remedy: grant(&origin),
                asked_only: false,
                survived_by_many: false,
            });
            return Err(Error::HttpRequestDenied);
        }
        // What a name resolves to is looked at when it is connected to.
        if let Destination::Address(address) = destination {
            let egress = &self.egress;
            let covered = |grant: &HttpGrant| match grant.is_very_address(address) {
                true => Covered::VeryAddress,
                false => Covered::Range,
            };
            let mut ways = granting.clone().map(covered);
            if !ways.any(|covered| egress.allow(address, port, covered)) {
                let what = format!("outgoing HTTP to {origin}");
                let is_named = granting.any(|grant| grant.is_very_address(address));
                let exact = (!is_named).then(|| grant(&origin));
                self.denials
                    .record(egress.refusal(&what, address, port, None, exact));
                return Err(Error::HttpRequestDenied);
            }
        }
        let path = uri.path_and_query().cloned();
        Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(path.unwrap_or(PathAndQuery::from_static("/")))
            .build()
            .map_err(|_| Error::HttpRequestUriInvalid)
    }

    fn odd_host(&self, host: &str) {
        self.denials.record(Denial {
            what: format!(
                "outgoing HTTP to `{}`, which is neither a name nor an address in its usual form",
                host.chars()
                    .take(HOST_TOLD_MAX)
                    .collect::<String>()
                    .escape_debug()
            ),
            remedy: Remedy::Nothing,
            asked_only: false,
            survived_by_many: false,
        });
    }
}

fn grant(origin: &str) -> Remedy {
    Remedy::Grant {
        key: "http",
        manifest_line: format!("http = [\"{origin}\"]"),
        flag: format!("--http {origin}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denial::{Told, told};
    use crate::egress::EgressRules;

    fn policy(grants: &[&str], rules: EgressRules) -> (HttpPolicy, Told) {
        let (denials, told) = told();
        let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        (HttpPolicy::new(grants, Egress::new(rules), denials), told)
    }

    fn admit(policy: &HttpPolicy, uri: &str) -> Result<String, &'static str> {
        match policy.admit(&uri.parse().unwrap()) {
            Ok(uri) => Ok(uri.to_string()),
            Err(Error::HttpRequestDenied) => Err("denied"),
            Err(Error::HttpRequestUriInvalid) => Err("invalid"),
            Err(other) => panic!("{uri}: {other}"),
        }
    }

    #[test]
    fn only_granted_origins_are_asked_and_a_refusal_is_told_once() {
        let (policy, told) = policy(
            &["https://api.example.com", "http://127.0.0.1:8080"],
            EgressRules::any_private(),
        );
        let allows = |uri: &str| admit(&policy, uri).is_ok();
        assert!(allows("https://api.example.com/a?b"));
        assert!(allows("https://api.example.com:443/"));
        assert!(allows("http://127.0.0.1:8080/"));
        assert!(!allows("http://api.example.com/"));
        assert!(!allows("https://api.example.com:8443/"));
        assert!(!allows("https://api.example.com.evil.example/"));
        assert!(!allows("http://127.0.0.1/"));
        assert!(!allows("http://127.0.0.1/again"));
        assert!(!allows("/no-origin"));
        let told = told.lock().unwrap();
        let hints: Vec<String> = told.iter().filter_map(Denial::flag_hint).collect();
        assert_eq!(
            hints,
            [
                "grant it with `--http http://api.example.com`",
                "grant it with `--http https://api.example.com:8443`",
                "grant it with `--http https://api.example.com.evil.example`",
                "grant it with `--http http://127.0.0.1`",
            ]
        );
    }

    #[test]
    fn a_host_has_one_form_before_grants_are_compared() {
        let grants = [
            "http://127.0.0.1",
            "http://[::1]:81",
            "https://api.example.com",
        ];
        let (policy, _) = policy(&grants, EgressRules::any_private());
        for (uri, canonical) in [
            ("http://127.0.0.1:80/a", "http://127.0.0.1/a"),
            ("http://[::ffff:127.0.0.1]/a?b", "http://127.0.0.1/a?b"),
            ("http://[0:0::1]:81", "http://[::1]:81/"),
            ("https://API.example.COM.:443/", "https://api.example.com/"),
        ] {
            assert_eq!(admit(&policy, uri).as_deref(), Ok(canonical), "{uri}");
        }
    }

    #[test]
    fn odd_forms_of_a_host_are_refused_whatever_is_granted() {
        let (policy, told) = policy(&["*"], EgressRules::any_private());
        for uri in [
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://a..b/",
            "http://%31%32%37.0.0.1/",
            "http://user@127.0.0.1/",
            "http://user:secret@a.example/",
            "http://a.example:/",
            "http://a.example:99999/",
            &format!("http://{}.example/", "a".repeat(60_000)),
        ] {
            let Ok(parsed) = uri.parse::<Uri>() else {
                continue;
            };
            assert!(
                matches!(policy.admit(&parsed), Err(Error::HttpRequestUriInvalid)),
                "{uri}"
            );
        }
        let told = format!("{:?}", told.lock().unwrap());
        assert!(told.contains("`2130706433`"), "{told}");
        assert!(!told.contains("secret"), "{told}");
        assert!(told.len() < 10_000, "{}", told.len());
    }

    #[test]
    fn metadata_addresses_are_reached_by_a_grant_of_their_own_only() {
        let metadata = [
            "http://169.254.169.254/latest",
            "http://[fd00:ec2::254]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
        ];
        let (wide, told) = policy(&["*", "http://*"], EgressRules::any_private());
        for uri in metadata {
            assert_eq!(admit(&wide, uri), Err("denied"), "{uri}");
        }
        assert_eq!(
            told.lock().unwrap()[0].to_string(),
            "denied: outgoing HTTP to http://169.254.169.254: 169.254.169.254 is a metadata address"
        );
        assert_eq!(
            told.lock().unwrap()[0].manifest_hint("api").unwrap(),
            "grant it under [component.api.grants]: http = [\"http://169.254.169.254\"]"
        );
        let (own, _) = policy(&["http://169.254.169.254"], EgressRules::any_private());
        assert!(admit(&own, metadata[0]).is_ok());
        let (node, _) = policy(&["http://169.254.169.254"], EgressRules::only(Vec::new()));
        assert_eq!(admit(&node, metadata[0]), Err("denied"));
        let listed = EgressRules::only(vec!["169.254.169.254".parse().unwrap()]);
        let (node, _) = policy(&["http://169.254.169.254"], listed);
        assert!(admit(&node, metadata[0]).is_ok());
    }

    #[test]
    fn a_node_refuses_private_addresses_that_its_operator_has_not_listed() {
        let list = vec!["10.1.0.0/16".parse().unwrap()];
        let grants = [
            "http://127.0.0.1:8080",
            "http://10.1.2.3",
            "http://10.2.0.5",
        ];
        let (policy, told) = policy(&grants, EgressRules::only(list));
        assert!(admit(&policy, "http://10.1.2.3/").is_ok());
        assert_eq!(admit(&policy, "http://10.2.0.5/"), Err("denied"));
        assert_eq!(admit(&policy, "http://10.2.0.5/again"), Err("denied"));
        assert_eq!(admit(&policy, "http://127.0.0.1:8080/"), Err("denied"));
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 2);
        assert_eq!(
            told[0].to_string(),
            "denied: outgoing HTTP to http://10.2.0.5: 10.2.0.5 is a private address"
        );
        assert_eq!(
            told[0].manifest_hint("api").unwrap(),
            "this is the node's rule, whatever is granted; its operator allows it in the node file: [egress] private = [\"10.2.0.5\"]"
        );
    }
}
