//! The look-up of names for guests.

use std::net::IpAddr;

use wharf_manifest::NetGrant;

use super::NetPolicy;
use super::policy::covered;
use crate::destination::Destination;
use crate::egress::Covered;
use crate::resolver::LookupFailure;

/// Why a guest gets no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// Neither a name nor an address in its usual form.
    Invalid,
    /// Not granted, or refused by the node's rules.
    Denied,
    /// It has no address.
    Unresolvable,
    /// Nobody answered in time.
    Temporary,
}

impl From<LookupFailure> for LookupError {
    fn from(failure: LookupFailure) -> LookupError {
        match failure {
            LookupFailure::Unresolvable => LookupError::Unresolvable,
            LookupFailure::Temporary => LookupError::Temporary,
        }
    }
}

impl NetPolicy {
    /// The addresses of `host` that a guest may reach: at least one.
    ///
    /// An address is its own answer. Nothing that is not granted is asked of anybody: a name can
    /// carry a secret out.
    pub(super) async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        match Destination::of(host).ok_or(LookupError::Invalid)? {
            Destination::Address(address) => self.own_answer(address),
            Destination::Name(name) => self.resolve(&name).await,
        }
    }

    fn own_answer(&self, address: IpAddr) -> Result<Vec<IpAddr>, LookupError> {
        let granting = |grant: &&NetGrant| grant.covers_address(address);
        let what = format!("looking up {address}");
        let mut granting = self.grants.iter().filter(granting).peekable();
        let asked = format!("tcp://{}:PORT", Destination::Address(address).in_url());
        if granting.peek().is_none() {
            // It is perhaps an address of a granted name, which connecting will find out.
            if self.grants.iter().any(|grant| grant.host_name().is_some()) {
                return Ok(vec![address]);
            }
            self.not_granted(what, &asked);
            return Err(LookupError::Denied);
        }
        let rules = &self.egress.rules;
        if granting.any(|grant| rules.allow(address, covered(grant, address))) {
            return Ok(vec![address]);
        }
        let mut grants = self.grants.iter();
        let is_named = grants.any(|grant| grant.is_very_address(address));
        self.refused(&what, address, None, (!is_named).then_some(&*asked));
        Err(LookupError::Denied)
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let (what, asked) = (format!("looking up `{name}`"), format!("tcp://{name}:PORT"));
        if !self.grants.iter().any(|grant| grant.allows_lookup(name)) {
            self.not_granted(what, &asked);
            return Err(LookupError::Denied);
        }
        let egress = &self.egress;
        let found = egress.resolver.resolve(name, &egress.share).await?;
        let (allowed, refused): (Vec<IpAddr>, Vec<IpAddr>) = found
            .iter()
            .partition(|address| self.may_have(name, **address));
        match refused.first() {
            Some(address) if allowed.is_empty() => {
                self.refused(&what, *address, Some(name), None);
                Err(LookupError::Denied)
            }
            _ => Ok(allowed),
        }
    }

    /// Whether `name` may have `address` under the node's rules.
    fn may_have(&self, name: &str, address: IpAddr) -> bool {
        let rules = &self.egress.rules;
        let mut grants = self.grants.iter();
        rules.allow(address, Covered::Name(name))
            || grants.any(|grant| {
                grant.covers_address(address) && rules.allow(address, covered(grant, address))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::super::policy::tests::{policy, run};
    use super::LookupError::{Denied, Invalid, Unresolvable};
    use super::*;

    fn check(
        grants: &[&str],
        private: Option<&[&str]>,
        host: &str,
        expected: Result<&[&str], LookupError>,
    ) {
        let (policy, told) = policy(grants, private);
        let parsed = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let found = run(policy.look_up(host));
        assert_eq!(
            found,
            expected.map(parsed),
            "{grants:?} under {private:?}: {host}"
        );
        let denied = usize::from(expected == Err(Denied));
        assert_eq!(told.lock().unwrap().len(), denied, "{grants:?}: {host}");
    }

    #[test]
    fn only_granted_names_are_looked_up() {
        let public = Ok(&["93.184.216.34", "2606:2800::1"][..]);
        check(
            &["tcp://public.example:443"],
            Some(&[]),
            "public.example",
            public,
        );
        check(
            &["tcp://public.example:443"],
            Some(&[]),
            "PUBLIC.example.",
            public,
        );
        check(&["*"], Some(&[]), "public.example", public);
        check(
            &["tcp://public.example:443"],
            None,
            "db.internal",
            Err(Denied),
        );
        check(&["10.0.0.0/8:*"], None, "db.internal", Err(Denied));
        check(&[], None, "public.example", Err(Denied));
        check(
            &["nowhere.example:1"],
            None,
            "nowhere.example",
            Err(Unresolvable),
        );
    }

    #[test]
    fn answers_hold_what_the_rules_allow() {
        check(&["db.internal:1"], None, "db.internal", Ok(&["10.0.0.5"]));
        check(&["db.internal:1"], Some(&[]), "db.internal", Err(Denied));
        check(
            &["db.internal:1"],
            Some(&["db.internal"]),
            "db.internal",
            Ok(&["10.0.0.5"]),
        );
        // A network is open to grants of it, not to any name that leads there.
        let network = Some(&["10.0.0.0/8"][..]);
        check(&["db.internal:1"], network, "db.internal", Err(Denied));
        check(
            &["db.internal:1", "10.0.0.0/8:*"],
            network,
            "db.internal",
            Ok(&["10.0.0.5"]),
        );
        check(
            &["mixed.example:1"],
            Some(&[]),
            "mixed.example",
            Ok(&["93.184.216.34"]),
        );
        check(&["rebound.example:1"], None, "rebound.example", Err(Denied));
    }

    #[test]
    fn an_address_is_its_own_answer() {
        check(&["127.0.0.1:80"], None, "127.0.0.1", Ok(&["127.0.0.1"]));
        check(
            &["127.0.0.1:80"],
            None,
            "::ffff:127.0.0.1",
            Ok(&["127.0.0.1"]),
        );
        check(&["[::1]:80"], None, "[::1]", Ok(&["::1"]));
        check(&["127.0.0.1:80"], None, "127.0.0.2", Err(Denied));
        check(&["127.0.0.1:80"], Some(&[]), "127.0.0.1", Err(Denied));
        check(&["*"], None, "169.254.169.254", Err(Denied));
        check(
            &["169.254.169.254:80"],
            None,
            "169.254.169.254",
            Ok(&["169.254.169.254"]),
        );
    }

    #[test]
    fn odd_forms_are_asked_of_nobody() {
        for odd in [
            "",
            ".",
            "0x7f.1",
            "2130706433",
            "127.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "a b",
            "a\0b",
            "[::1",
            "a:80",
            "user@a",
            "%61",
            "..",
            "fe80::1%lo",
        ] {
            check(&["*"], None, odd, Err(Invalid));
        }
    }
}
