//! Fuzz targets for what guests and callers write.
//!
//! As a unit test each runs for a second; the feature `fuzzing` shows them to the workspace in
//! `fuzz/`, which runs them for longer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wharf_fuzzkit::{Target, texts};

use crate::address_class::{AddressClass, embedded_v4};
use crate::destination::Destination;
use crate::invoke;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target::new("address-class", address_class, address_class_seeds),
    Target::new("destination", destination, destination_seeds),
    Target::new("invoke", invoke::fuzz::call, invoke::fuzz::seeds),
];

/// An address, as four or sixteen bytes; held against what the standard library knows.
fn address_class(bytes: &[u8]) {
    if let Some(octets) = bytes.first_chunk::<4>() {
        let v4 = Ipv4Addr::from(*octets);
        let class = AddressClass::of(v4.into());
        let is_special = v4.is_loopback()
            || v4.is_private()
            || v4.is_link_local()
            || v4.is_multicast()
            || v4.is_broadcast()
            || v4.is_documentation()
            || v4.is_unspecified();
        assert!(!is_special || class != AddressClass::Public, "{v4}");
        assert_eq!(class == AddressClass::Loopback, v4.is_loopback(), "{v4}");
        assert_eq!(class == AddressClass::Multicast, v4.is_multicast(), "{v4}");
        assert_eq!(class == AddressClass::Private, v4.is_private(), "{v4}");
        // Wherever it is carried it is no more public than by itself.
        for carrier in carriers(v4) {
            assert_eq!(embedded_v4(carrier), Some(v4), "{carrier}");
            assert_eq!(AddressClass::of(carrier.into()), class, "{carrier}");
        }
    }
    if let Some(octets) = bytes.first_chunk::<16>() {
        let v6 = Ipv6Addr::from(*octets);
        let class = AddressClass::of(v6.into());
        let is_special = v6.is_loopback()
            || v6.is_unspecified()
            || v6.is_multicast()
            || v6.is_unique_local()
            || v6.is_unicast_link_local();
        assert!(!is_special || class != AddressClass::Public, "{v6}");
        if let IpAddr::V4(v4) = v6.to_canonical() {
            assert_eq!(class, AddressClass::of(v4.into()), "{v6}");
        }
    }
}

/// IPv6 addresses that a translator or tunnel takes for `v4`. Of the compatible ones not all: two
/// of them are `::` and `::1`.
fn carriers(v4: Ipv4Addr) -> Vec<Ipv6Addr> {
    let (mapped, bits) = (v4.to_ipv6_mapped(), u128::from(v4.to_bits()));
    let mut carriers = vec![
        mapped,
        Ipv6Addr::from_bits(0x0064_ff9b << 96 | bits),
        Ipv6Addr::from_bits(0x2002 << 112 | bits << 80),
        Ipv6Addr::from_bits(0x2001_0000 << 96 | (bits ^ 0xffff_ffff)),
    ];
    if bits > 1 {
        carriers.push(Ipv6Addr::from_bits(bits));
    }
    carriers
}

fn address_class_seeds() -> Vec<Vec<u8>> {
    let addresses = [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "8.8.8.8",
        "255.255.255.255",
        "::1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "2002:7f00:1::",
        "fd00:ec2::254",
        "2606:4700::1111",
    ];
    let octets = |text: &str| match text.parse().expect("an address") {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    addresses.into_iter().map(octets).collect()
}

/// The text of a host.
fn destination(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some(destination) = Destination::of(text) else {
        let is_address = text.parse::<IpAddr>().is_ok();
        assert!(!is_address, "an address is always one: {text}");
        return;
    };
    match &destination {
        Destination::Address(address) => {
            assert_eq!(*address, address.to_canonical());
            let bare = text.trim_matches(['[', ']']).parse::<IpAddr>();
            assert_eq!(bare.map(|bare| bare.to_canonical()).as_ref(), Ok(address));
        }
        Destination::Name(name) => {
            assert!(name.len() <= 253 && name.is_ascii());
            assert_eq!(*name, name.to_ascii_lowercase());
            assert!(name.split('.').all(|label| (1..=63).contains(&label.len())));
            // No resolver takes it for an address: its last label is no number to any of them.
            let last = name.rsplit('.').next().unwrap_or_default();
            let digits = last.strip_prefix("0x").unwrap_or(last);
            let is_decimal = last.bytes().all(|byte| byte.is_ascii_digit());
            let is_hexadecimal =
                digits != last && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(!is_decimal && !is_hexadecimal, "{name}");
            assert_eq!(
                Destination::of(&format!("{name}.")),
                Some(destination.clone())
            );
        }
    }
    let written = destination.in_url();
    assert_eq!(Destination::of(&written), Some(destination), "{text:?}");
    let url = format!("http://{written}:80/").parse::<http::Uri>();
    assert_eq!(url.ok().as_ref().and_then(http::Uri::host), Some(&*written));
}

fn destination_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "localhost",
        "API.Example.COM.",
        "127.0.0.1",
        "[::ffff:7f00:1]",
        "0x7f.1",
        "2130706433",
        "127.0.0.01",
        "b\u{fc}cher.example",
        "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
        "xn--bcher-kva.example",
        "\u{ff45}xample\u{3002}com",
        "_sip._tcp.example",
    ])
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_input_breaks_a_parser() {
        wharf_fuzzkit::smoke(super::TARGETS, 1);
    }
}
