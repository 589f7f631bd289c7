//! What an address is for, by the registries.
//!
//! After IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890 and its successors), and
//! what cloud machines are known to serve credentials at. An IPv6 address that carries an IPv4
//! one, which a translator or tunnel would send on, is what the IPv4 address is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AddressClass {
    /// A host of the public network.
    Public,
    /// Where a cloud machine hands out its credentials.
    Metadata,
    /// This machine.
    Loopback,
    /// The network of a house or company, IPv6's unique local and site-local addresses among it.
    Private,
    /// Behind a provider's shared address.
    Shared,
    /// This link only.
    LinkLocal,
    /// No host: "this network", which systems take for themselves.
    Unspecified,
    /// Many hosts.
    Multicast,
    /// Set aside for tests, papers, protocols, or nothing yet.
    Reserved,
}

impl AddressClass {
    /// What `address` is for.
    pub(crate) fn of(address: IpAddr) -> AddressClass {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressClass::Public => "public",
            AddressClass::Metadata => "metadata",
            AddressClass::Loopback => "loopback",
            AddressClass::Private => "private",
            AddressClass::Shared => "provider-internal",
            AddressClass::LinkLocal => "link-local",
            AddressClass::Unspecified => "unspecified",
            AddressClass::Multicast => "multicast",
            AddressClass::Reserved => "reserved",
        })
    }
}

fn of_v4(address: Ipv4Addr) -> AddressClass {
    match address.octets() {
        // The link-local range serves metadata nearly everywhere; Alibaba's, Azure's and Oracle's
        // lie elsewhere.
        [169, 254, _, _] | [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => {
            AddressClass::Metadata
        }
        [0, ..] => AddressClass::Unspecified,
        [127, ..] => AddressClass::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressClass::Private,
        [100, 64..=127, ..] => AddressClass::Shared,
        // IETF protocol assignments; documentation; the old 6to4 relays; benchmarking.
        [192, 0, 0 | 2, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..] => AddressClass::Reserved,
        [224..=239, ..] => AddressClass::Multicast,
        [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    if let Some(embedded) = embedded_v4(address) {
        return match of_v4(embedded) {
            // How a local translator reads its addresses is its own matter.
            AddressClass::Public if is_local_nat64(address) => AddressClass::Reserved,
            class => class,
        };
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressClass::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        // Amazon's, Google's, Scaleway's and OpenStack's.
        [0xfd00, 0x0ec2, ..]
        | [0xfd20, 0x00ce, ..]
        | [0xfd00, 0x0042, ..]
        | [0xfe80, .., 0xa9fe, 0xa9fe] => AddressClass::Metadata,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        // Documentation, old and new, and the protocol assignments; the public ones among these,
        // anycast addresses of port control and the like, no guest asks for.
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] | [0x2001, 0..=0x01ff, ..] => {
            AddressClass::Reserved
        }
        // Only 2000::/3 is given out to hosts: the rest is for discarding, for segment routing,
        // for translators of one's own, or for nothing yet.
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

fn is_local_nat64(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x0064, 0xff9b, 1, ..])
}

/// The IPv4 address that `address` stands for or is sent on to, if it is an IPv6 one that does.
pub(crate) fn inner(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => embedded_v4(v6).map(IpAddr::V4),
    }
}

/// The IPv4 address that an IPv6 one stands for or is sent on to.
pub(crate) fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., high, low] = address.segments();
    let last = || Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        // Mapped (RFC 4291 2.5.5.2), also as SIIT translates it (RFC 2765).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => last(),
        // Compatible (RFC 4291 2.5.5.1), of which `::` and `::1` are none.
        [0, 0, 0, 0, 0, 0, high, low] if (high, low) != (0, 0) && (high, low) != (0, 1) => last(),
        // Translated by NAT64: the well-known prefix (RFC 6052) and, where a /96 of it is used,
        // the local one (RFC 8215).
        [0x0064, 0xff9b, 0, 0, 0, 0, ..] => last(),
        _ if is_local_nat64(address) => last(),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        // Teredo (RFC 4380): the client's address, inverted.
        [0x2001, 0, ..] => last().map(|v4| Ipv4Addr::from(!u32::from(v4))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::AddressClass::*;
    use super::*;

    /// By <https://www.iana.org/assignments/iana-ipv4-special-registry> and
    /// <https://www.iana.org/assignments/iana-ipv6-special-registry>, with the RFC of each.
    const TABLE: &[(&str, AddressClass)] = &[
        // RFC 791 "this network"
        ("0.0.0.0", Unspecified),
        ("0.255.255.255", Unspecified),
        ("1.0.0.0", Public),
        // RFC 1918
        ("9.255.255.255", Public),
        ("10.0.0.0", Private),
        ("10.255.255.255", Private),
        ("11.0.0.0", Public),
        ("172.15.255.255", Public),
        ("172.16.0.0", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Public),
        ("192.167.255.255", Public),
        ("192.168.0.0", Private),
        ("192.168.255.255", Private),
        ("192.169.0.0", Public),
        // RFC 6598
        ("100.63.255.255", Public),
        ("100.64.0.0", Shared),
        ("100.127.255.255", Shared),
        ("100.128.0.0", Public),
        // RFC 1122
        ("126.255.255.255", Public),
        ("127.0.0.0", Loopback),
        ("127.0.0.1", Loopback),
        ("127.255.255.255", Loopback),
        ("128.0.0.0", Public),
        // RFC 3927, and where clouds serve credentials
        ("169.253.255.255", Public),
        ("169.254.0.0", Metadata),
        ("169.254.169.254", Metadata),
        ("169.254.255.255", Metadata),
        ("169.255.0.0", Public),
        ("100.100.100.200", Metadata),
        ("168.63.129.16", Metadata),
        ("168.63.129.17", Public),
        // RFC 6890, RFC 5737, RFC 7526
        ("192.0.0.0", Reserved),
        ("192.0.0.255", Reserved),
        ("192.0.1.0", Public),
        ("192.0.2.1", Reserved),
        ("192.0.3.0", Public),
        ("198.51.100.1", Reserved),
        ("203.0.113.1", Reserved),
        ("192.88.99.1", Reserved),
        // RFC 2544
        ("198.17.255.255", Public),
        ("198.18.0.0", Reserved),
        ("198.19.255.255", Reserved),
        ("198.20.0.0", Public),
        // RFC 5771, RFC 1112, RFC 919
        ("223.255.255.255", Public),
        ("224.0.0.0", Multicast),
        ("239.255.255.255", Multicast),
        ("240.0.0.0", Reserved),
        ("255.255.255.255", Reserved),
        ("8.8.8.8", Public),
        // RFC 4291
        ("::", Unspecified),
        ("::1", Loopback),
        ("::2", Unspecified),
        ("::ffff:127.0.0.1", Loopback),
        ("::ffff:8.8.8.8", Public),
        ("::ffff:0:10.0.0.1", Private),
        ("::127.0.0.1", Loopback),
        ("::169.254.169.254", Metadata),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("fec0::1", Private),
        ("ff02::1", Multicast),
        // RFC 6052, RFC 8215
        ("64:ff9b::10.0.0.1", Private),
        ("64:ff9b::169.254.169.254", Metadata),
        ("64:ff9b::8.8.8.8", Public),
        ("64:ff9b:1::127.0.0.1", Loopback),
        ("64:ff9b:1:2::10.0.0.1", Private),
        ("64:ff9b:1::8.8.8.8", Reserved),
        ("64:ff9b:2::1", Reserved),
        // RFC 6666
        ("100::", Reserved),
        ("100::1", Reserved),
        // RFC 2928, RFC 4380, RFC 3849, RFC 9637
        ("2001::1", Reserved),
        ("2001:0:1:2:3:4:f5ff:fffe", Private),
        ("2001:0:1:2:3:4:5601:5601", Metadata),
        ("2001:2::1", Reserved),
        ("2001:10::1", Reserved),
        ("2001:db8::1", Reserved),
        ("3fff::1", Reserved),
        ("3fff:1000::1", Public),
        ("2001:200::1", Public),
        ("2606:4700::1111", Public),
        // RFC 3056
        ("2002:0a00:0001::1", Private),
        ("2002:7f00:0001::", Loopback),
        ("2002:0808:0808::1", Public),
        // RFC 9602, RFC 4193
        ("5f00::1", Reserved),
        ("fbff::1", Reserved),
        ("fc00::1", Private),
        ("fdff::1", Private),
        ("fd00:ec2::254", Metadata),
        ("fd20:ce::254", Metadata),
        ("fd00:42::42", Metadata),
        ("fe80::a9fe:a9fe", Metadata),
        ("192.0.0.192", Metadata),
        ("4000::1", Reserved),
    ];

    #[test]
    fn every_special_address_is_known_at_both_ends_of_its_range() {
        for (text, class) in TABLE {
            assert_eq!(AddressClass::of(text.parse().unwrap()), *class, "{text}");
        }
    }
}
