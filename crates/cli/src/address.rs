//! The address to listen on, as people write it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The port where none is given.
const PORT: u16 = 3000;

/// An address, a port, or both: `127.0.0.1:3000`, `3000`, `:3000`, `localhost`, `[::1]:0`.
///
/// What is left out is the loopback address and port 3000, so that nothing is opened to others
/// but by an address that says so. No name but `localhost` is looked up.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    if let Some(host) = host(text) {
        return Ok(SocketAddr::new(host, PORT));
    }
    let (host_text, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port),
        None => ("", text),
    };
    let port = port
        .parse::<u16>()
        .map_err(|_| format!("`{port}` is no port; {FORMS}"))?;
    match host_text {
        "" => Ok(SocketAddr::new(LOOPBACK, port)),
        _ => host(host_text)
            .map(|host| SocketAddr::new(host, port))
            .ok_or_else(|| format!("`{host_text}` is no IP address; {FORMS}")),
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const FORMS: &str = "write it as 3000, localhost:3000, 127.0.0.1:3000 or [::1]:3000";

fn host(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(LOOPBACK);
    }
    let inside = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match inside {
        Some(inside) => inside.parse().ok().filter(IpAddr::is_ipv6),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_left_out_is_loopback_and_port_3000() {
        for (text, expected) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("0", "127.0.0.1:0"),
            ("localhost", "127.0.0.1:3000"),
            ("LocalHost:8080", "127.0.0.1:8080"),
            ("0.0.0.0", "0.0.0.0:3000"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::1]", "[::1]:3000"),
            ("::1", "[::1]:3000"),
        ] {
            assert_eq!(
                listen_address(text),
                Ok(expected.parse().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_told_with_the_forms() {
        for (text, wrong) in [
            ("", "`` is no port"),
            ("localhost:", "`` is no port"),
            ("localhost:http", "`http` is no port"),
            ("65536", "`65536` is no port"),
            ("-1", "`-1` is no port"),
            ("example.com:80", "`example.com` is no IP address"),
            ("[127.0.0.1]:80", "`[127.0.0.1]` is no IP address"),
            ("http://localhost:80", "`http://localhost` is no IP address"),
        ] {
            let error = listen_address(text).unwrap_err();
            assert!(error.starts_with(wrong), "{text}: {error}");
            assert!(error.ends_with(FORMS), "{text}: {error}");
        }
    }
}
