//! The address at which a node answers its operator, which no guest reaches.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::address_class::{AddressClass, inner};
use crate::denial::{Denial, Remedy};

/// Where a node answers its operator, if it does. Whoever reaches it may read what all apps of the
/// node do, so no grant and no list of the operator opens it to a guest.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OwnAddress(Option<SocketAddr>);

impl OwnAddress {
    pub(crate) fn new(addr: SocketAddr) -> OwnAddress {
        OwnAddress(Some(addr))
    }

    /// Whether a connection to `ip` and `port` would end there, in whatever form `ip` is written.
    pub(crate) fn is_reached_at(&self, ip: IpAddr, port: u16) -> bool {
        let Some(own) = self.0.filter(|own| own.port() == port) else {
            return false;
        };
        let plain = |ip| inner(ip).unwrap_or(ip);
        let (own, asked) = (plain(own.ip()), plain(ip));
        // The system takes "no address" for its own loopback address.
        own == asked
            || AddressClass::of(asked) == AddressClass::Unspecified
            || own.is_unspecified() && is_of_this_machine(asked)
    }

    /// The report that `what` was refused.
    pub(crate) fn refusal(what: &str) -> Denial {
        Denial {
            what: format!(
                "{what}: this is the node's own admin address, which is open to no guest, whatever is granted and allowed"
            ),
            remedy: Remedy::Nothing,
            asked_only: false,
            survived_by_many: false,
        }
    }
}

/// Only an address of the machine's own can be bound. In doubt it is one.
fn is_of_this_machine(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return true;
    }
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(own: &str, ip: &str, port: u16, expected: bool) {
        let own = OwnAddress::new(own.parse().unwrap());
        let reached = own.is_reached_at(ip.parse().unwrap(), port);
        assert_eq!(reached, expected, "{own:?} by {ip} port {port}");
    }

    #[test]
    fn the_address_is_known_in_all_its_forms() {
        for ip in [
            "127.0.0.1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "0.0.0.0",
            "::",
            "::ffff:0.0.0.0",
        ] {
            check("127.0.0.1:9901", ip, 9901, true);
            check("127.0.0.1:9901", ip, 9902, false);
        }
        check("[::ffff:127.0.0.1]:9901", "127.0.0.1", 9901, true);
        check("[::1]:9901", "::1", 9901, true);
        check("[::1]:9901", "::", 9901, true);
        for other in ["127.0.0.2", "::1", "93.184.216.34", "2606:2800::1"] {
            check("127.0.0.1:9901", other, 9901, false);
        }
    }

    #[test]
    fn listening_everywhere_it_is_reached_at_each_address_of_the_machine() {
        for own in ["0.0.0.0:9901", "[::]:9901"] {
            for ip in [
                "127.0.0.1",
                "127.8.9.1",
                "::1",
                "::ffff:127.0.0.1",
                "0.0.0.0",
            ] {
                check(own, ip, 9901, true);
                check(own, ip, 80, false);
            }
            // Set aside for papers: no machine has it.
            check(own, "192.0.2.1", 9901, false);
        }
    }

    #[test]
    fn a_node_without_one_refuses_nothing() {
        let none = OwnAddress::default();
        assert!(!none.is_reached_at("127.0.0.1".parse().unwrap(), 0));
    }
}
