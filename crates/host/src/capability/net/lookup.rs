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
        self.refused(&what, address, None, &asked);
        Err(LookupError::Denied)
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let (what, asked) = (format!("looking up `{name}`"), format!("tcp://{name}:PORT"));
        if !self.grants.iter().any(|grant| grant.allows_lookup(name)) {
            self.not_granted(what, &asked);
            return Err(LookupError::Denied);
        }
        let found = self.egress.resolver.resolve(name, &self.share).await?;
        let (allowed, refused): (Vec<IpAddr>, Vec<IpAddr>) = found
            .iter()
            .partition(|address| self.may_have(name, **address));
        match refused.first() {
            Some(address) if allowed.is_empty() => {
                self.refused(&what, *address, Some(name), &asked);
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
