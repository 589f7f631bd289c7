//! Fuzz targets for what people write behind flags. The command is no library, so they run here
//! only, as a unit test.

use std::net::SocketAddr;
use std::path::Path;

use wharf_fuzzkit::{Target, texts};

use crate::address::listen_address;
use crate::args::GrantFlags;

const TARGETS: &[Target] = &[
    Target::new("listen-address", listen, listen_seeds),
    Target::new("grant-flags", grants, grants_seeds),
];

fn listen(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match listen_address(text) {
        Ok(address) => {
            assert_eq!(listen_address(&address.to_string()), Ok(address), "{text}");
            let names_address = text.contains(['.', '[']) || text.matches(':').count() > 1;
            assert!(names_address || address.ip().is_loopback(), "{text}");
        }
        Err(_) => assert!(text.parse::<SocketAddr>().is_err(), "{text}"),
    }
}

fn listen_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "127.0.0.1:8080",
        ":8080",
        "LocalHost:80",
        "[::1]:0",
        "::1",
        "0.0.0.0",
        "[fe80::1%2]:80",
        "example.com:80",
    ])
}

/// A folder on the first line, a variable on the second.
fn grants(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (folder, variable) = text.split_once('\n').unwrap_or((text, "A=b"));
    let flags = GrantFlags {
        dirs: vec![folder.to_owned()],
        env: vec![variable.to_owned()],
        ..GrantFlags::default()
    };
    let Ok(grants) = flags.grants() else { return };
    let [folder] = &grants.files[..] else {
        panic!("one flag grants {:?}", grants.files);
    };
    assert!(Path::new(&folder.host).is_absolute() && !folder.guest.is_empty());
    assert!(text.contains(&folder.guest), "{folder:?}");
    for (name, value) in &grants.env {
        assert!(!name.is_empty() && !name.contains('='), "{name}");
        let said = format!("{name}={value}");
        assert!(said == variable || name == variable, "{said}");
    }
}

fn grants_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "data::/data:ro\nMODE=fast",
        ".\nA=b=c",
        "a:/b:rw\nPATH",
        "::x\n=",
        "C:\\data::d\n",
    ])
}

#[test]
fn no_input_breaks_a_parser() {
    wharf_fuzzkit::smoke(TARGETS, 1);
}
