//! What an operator has probably not meant: told by `--check` and at the start, and then obeyed.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use wharf_manifest::NodeConfig;
use wharf_serve::Tls;

use crate::error::CliError;

/// Others than the owner and the group may read it.
const OTHERS_READ: u32 = 0o004;

/// Something odd, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slip {
    pub(super) text: String,
    pub(super) hint: &'static str,
}

/// No two may listen at one address: the second would be told that another program does.
///
/// # Errors
/// When an address is there twice.
pub(super) fn check_addresses(config: &NodeConfig) -> Result<(), CliError> {
    let plain = config.listen.iter().map(|addr| ("listen", *addr));
    let secure = config.tls.iter().flat_map(|tls| &tls.listen);
    let secure = secure.map(|addr| ("tls.listen", *addr));
    let admin = config.admin.iter().map(|addr| ("admin", *addr));
    let mut seen: Vec<(&str, SocketAddr)> = Vec::new();
    for (key, addr) in plain.chain(secure).chain(admin) {
        // Each port 0 becomes another one.
        let twin = seen.iter().find(|(_, other)| *other == addr);
        if let Some((other, _)) = twin.filter(|_| addr.port() != 0) {
            let text = format!("the node file has {addr} twice: under `{other}` and `{key}`");
            return Err(CliError::new(text).hint("give each an address or port of its own"));
        }
        seen.push((key, addr));
    }
    Ok(())
}

/// What is odd about the certificates of a node whose files lie below `folder`.
pub(super) fn of_certificates(config: &NodeConfig, folder: &Path, tls: &Tls) -> Vec<Slip> {
    let mut slips = Vec::new();
    let hosts = || config.apps.values().flat_map(|app| &app.hosts);
    for (name, app) in &config.apps {
        for host in app.hosts.iter().filter(|host| !tls.covers(host.as_str())) {
            slips.push(Slip {
                text: format!("no certificate is for `{host}`, a host of the app `{name}`"),
                hint: "clients get the first certificate, and refuse it; add one with that name under [tls]",
            });
        }
    }
    let has_rest = config.apps.values().any(|app| app.hosts.is_empty());
    if !has_rest {
        for chain in tls.unused(hosts().map(|host| host.as_str())) {
            slips.push(Slip {
                text: format!("the certificate {} is for no host of an app", chain.display()),
                hint: "look at `hosts` of the apps, and at the names in it: `openssl x509 -noout -ext subjectAltName -in FILE`",
            });
        }
    }
    for files in config.tls.iter().flat_map(|tls| &tls.certificates) {
        let key = folder.join(&files.key);
        let mode = std::fs::metadata(&key).map_or(0, |file| file.permissions().mode());
        if mode & OTHERS_READ != 0 {
            slips.push(Slip {
                text: format!(
                    "everybody on this machine may read the key {}",
                    key.display()
                ),
                hint: "take that right away: `chmod o= FILE`",
            });
        }
    }
    slips
}

#[cfg(test)]
mod tests {
    use wharf_manifest::parse_node;

    use super::*;

    fn check(node: &str) -> Result<(), String> {
        let text = format!("node = 1\n{node}\n[app.a]\nsource = \"a\"\n");
        let config = parse_node(&text, "node.toml").unwrap();
        check_addresses(&config).map_err(|error| error.text())
    }

    #[test]
    fn an_address_that_is_there_twice_is_named_with_both_keys() {
        let told = check("listen = [\"127.0.0.1:80\"]\nadmin = \"127.0.0.1:80\"").unwrap_err();
        assert!(
            told.contains("127.0.0.1:80 twice: under `listen` and `admin`"),
            "{told}"
        );
        let told = check("listen = [\"127.0.0.1:80\", \"127.0.0.1:80\"]").unwrap_err();
        assert!(told.contains("under `listen` and `listen`"), "{told}");
        for good in [
            "",
            "listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nadmin = \"127.0.0.1:0\"",
            "listen = [\"127.0.0.1:80\"]\nadmin = \"127.0.0.2:80\"",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }
}
