//! Certificates and keys, in PEM and within.

use rustls::crypto::ring;

use crate::tls::{CertificatePaths, certified};
use crate::validity::not_after;

/// A certificate for `a.example` and `*.b.example`, by the key below.
const CHAIN: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBWDCCAQqgAwIBAgIUNhdGwBfE4NI8MQOxyhVmDX0/F+EwBQYDK2VwMAwxCjAI\n\
BgNVBAMMAWEwIBcNMjYxMTIwMTc0MjUxWhgPMjEyNjEwMjcxNzQyNTFaMAwxCjAI\n\
BgNVBAMMAWEwKjAFBgMrZXADIQAZv0QJaYTN/oVBusFn3DuWyFCGqjC2tssMXDit\n\
cDFm4aN8MHowHQYDVR0OBBYEFKKMwfhuWWDT4DrnXJYsl6jUSCk8MB8GA1UdIwQY\n\
MBaAFKKMwfhuWWDT4DrnXJYsl6jUSCk8MA8GA1UdEwEB/wQFMAMBAf8wJwYDVR0R\n\
BCAwHoIJYS5leGFtcGxlggsqLmIuZXhhbXBsZYcEfwAAATAFBgMrZXADQQDXAW1k\n\
g+G4J2kvpXG7fmMBW2IMhe5URxmvI4cjd0Y4OMknlwM3JLd3tjVjBQbd/7K/b/RI\n\
loH4fnaSA1lMbuUD\n\
-----END CERTIFICATE-----
";
/// The example of RFC 8410, section 10.3: everybody has it.
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
-----END PRIVATE KEY-----
";

/// One text that is both files, or, after a first byte `D`, what is encoded in both.
pub(super) fn run(bytes: &[u8]) {
    /// The years 0 to 9999.
    const TIMES: std::ops::Range<i64> = -62_167_219_200..253_402_300_861;

    let text = match bytes {
        [b'D', der @ ..] => [pem("CERTIFICATE", der), pem("PRIVATE KEY", der)].concat(),
        _ => bytes.to_vec(),
    };
    // Whoever reads it does so before anybody has judged the rest.
    let _ = not_after(bytes.get(1..).unwrap_or_default());
    for (chain, key) in [
        (&*text, &*text),
        (&*text, KEY.as_bytes()),
        (CHAIN.as_bytes(), &*text),
    ] {
        let files = CertificatePaths {
            chain: "chain.pem".into(),
            key: "key.pem".into(),
        };
        match certified(&files, chain, key, &ring::default_provider()) {
            Ok((key, names)) => {
                let end = key.cert.first().and_then(|first| not_after(first));
                assert!(end.is_none_or(|end| TIMES.contains(&end)), "{end:?}");
                for name in names {
                    assert_eq!(name, name.to_ascii_lowercase());
                    assert!(!name.chars().any(char::is_control), "{name:?}");
                }
            }
            Err(error) => {
                let message = error.to_string();
                assert!(message.len() < 512, "{message}");
                assert!(!message.chars().any(char::is_control), "{message:?}");
            }
        }
    }
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----").into_bytes();
    for (at, three) in der.chunks(3).enumerate() {
        if at % 16 == 0 {
            text.push(b'\n');
        }
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.extend((0..4).map(|digit| match digit > three.len() {
            true => b'=',
            false => DIGITS[(bits >> (18 - 6 * digit)) as usize & 63],
        }));
    }
    text.extend_from_slice(format!("\n-----END {label}-----\n").as_bytes());
    text
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let chain = CertificateDer::from_pem_slice(CHAIN.as_bytes()).expect("it is right");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("it is right");
    vec![
        [CHAIN, KEY].concat().into_bytes(),
        [CHAIN, CHAIN].concat().into_bytes(),
        KEY.as_bytes().to_vec(),
        [b"D", chain.as_ref()].concat(),
        [b"D", key.secret_der()].concat(),
    ]
}
