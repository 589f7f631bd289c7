//! HTTPS: certificates by the name that a client asks for, read again when their files change.
//!
//! rustls with ring, TLS 1.2 and 1.3, HTTP/2 by ALPN. No early data: what comes before the
//! handshake is over could be played again by others (RFC 8446, section 8).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::log::{Level, Log, Message};
use crate::validity::{Ending, not_after};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Bytes of a certificate's or key's file that are read; chains have some ten kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a client gets that speaks plain HTTP here.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 37\r\n\r\nthis port speaks HTTPS: ask https://\n";

/// The two files of a certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatePaths {
    /// The certificate, then those that signed it.
    pub chain: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What it lacks or is.
        what: String,
    },
    /// The two do not belong together, or are of a kind that is not known.
    #[error("{chain} and {key} cannot be used together: {source}")]
    Pair {
        /// The certificate's file.
        chain: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl TlsError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            TlsError::Read { .. } => {
                "relative paths lie below the folder of the node file; the node's user must be able to read it"
            }
            TlsError::File { .. } => {
                "both files are PEM: `-----BEGIN CERTIFICATE-----` and `-----BEGIN PRIVATE KEY-----`, the key without a password"
            }
            TlsError::Pair { .. } => {
                "the key must be that of the first certificate in the chain: RSA, ECDSA P-256 or P-384, or Ed25519"
            }
        }
    }
}

/// The certificates of a node, and how to speak TLS with them. Clones share them.
#[derive(Clone)]
pub struct Tls {
    certificates: Arc<Certificates>,
    acceptor: TlsAcceptor,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.certificates.files)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Certificates {
    files: Vec<CertificatePaths>,
    provider: Arc<CryptoProvider>,
    loaded: ArcSwap<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// As the files are listed; the first is for all names that none is for.
    all: Vec<Arc<CertifiedKey>>,
    /// By name in lower case; of a wildcard the part after `*.`.
    exact: HashMap<String, Arc<CertifiedKey>>,
    below: HashMap<String, Arc<CertifiedKey>>,
}

impl Loaded {
    fn first(&self) -> &Arc<CertifiedKey> {
        self.all.first().expect("nothing is loaded without one")
    }

    fn of_name(&self, name: &str) -> &Arc<CertifiedKey> {
        // A wildcard stands for one label (RFC 9525, section 6.3).
        let below = || self.below.get(name.split_once('.')?.1);
        self.exact
            .get(name)
            .or_else(below)
            .unwrap_or_else(|| self.first())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let loaded = self.loaded.load();
        let found = match hello.server_name() {
            Some(name) => loaded.of_name(&name.to_ascii_lowercase()),
            None => loaded.first(),
        };
        Some(Arc::clone(found))
    }
}

impl Tls {
    /// Reads certificates, at least one; the first is for clients that ask for no name, or for
    /// one of none of them.
    ///
    /// # Errors
    /// When a file cannot be read or is no good. Without any file, [`TlsError::File`].
    pub fn load(files: Vec<CertificatePaths>) -> Result<Tls, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let loaded = load(&files, &provider)?;
        let certificates = Arc::new(Certificates {
            files,
            provider: Arc::clone(&provider),
            loaded: ArcSwap::from_pointee(loaded),
        });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if let Ok(ticketer) = ring::Ticketer::new() {
            config.ticketer = ticketer;
        }
        Ok(Tls {
            certificates,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// The certificates that end within two weeks of `now`, or before.
    pub fn ending(&self, now: SystemTime) -> Vec<Ending> {
        let loaded = self.certificates.loaded.load();
        let files = self.certificates.files.iter().zip(&loaded.all);
        files
            .filter_map(|(files, key)| Ending::of(files.chain.clone(), end_of(key)?, now))
            .collect()
    }

    /// When the certificate ends, in seconds since 1970, that clients get for each name. The one
    /// for all others goes by the name of its file if it has none.
    pub(crate) fn ends(&self) -> BTreeMap<String, i64> {
        let loaded = self.certificates.loaded.load();
        let exact = loaded.exact.iter().map(|(name, key)| (name.clone(), key));
        let below = loaded.below.iter();
        let below = below.map(|(name, key)| (format!("*.{name}"), key));
        let named = exact.chain(below);
        let mut ends: BTreeMap<_, _> = named
            .filter_map(|(name, key)| Some((name, end_of(key)?)))
            .collect();
        let mut all = loaded.exact.values().chain(loaded.below.values());
        if !all.any(|key| Arc::ptr_eq(key, loaded.first())) {
            let file = self.certificates.files[0].chain.file_name();
            let name = file.unwrap_or_default().to_string_lossy().into_owned();
            ends.extend(end_of(loaded.first()).map(|end| (name, end)));
        }
        ends
    }

    /// Reads the files again whenever one changes, until the future is dropped. Connections that
    /// are open stay as they are. Files that are no good change nothing but the log, which is also
    /// told, once, of certificates that end.
    pub async fn watch(self, log: Log) {
        let mut seen = self.stamps().await;
        let mut told = None;
        let mut ending = Vec::new();
        loop {
            let now = self.ending(SystemTime::now());
            for ending in now.iter().filter(|one| !ending.contains(*one)) {
                let message = Message::new(ending.level(), ending.to_string());
                log.message(message.with("hint", ending.hint()));
            }
            ending = now;
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.stamps().await;
            if now == seen && told.is_none() {
                continue;
            }
            // What could not be read is tried again, though nothing seems to have changed.
            seen = now;
            match self.reload().await {
                Ok(()) => {
                    told = None;
                    log.message(Message::new(Level::Info, "certificates were read again"));
                }
                Err(error) => {
                    let text = error.to_string();
                    if told.as_ref() != Some(&text) {
                        log.message(
                            Message::new(
                                Level::Error,
                                "changed certificates are no good; those before stay in use",
                            )
                            .with("error", text.as_str())
                            .with("hint", error.hint()),
                        );
                    }
                    told = Some(text);
                }
            }
        }
    }

    async fn reload(&self) -> Result<(), TlsError> {
        let certificates = Arc::clone(&self.certificates);
        let loaded =
            tokio::task::spawn_blocking(move || load(&certificates.files, &certificates.provider));
        // It panics on nothing that a file can hold; if it did, nothing would change.
        if let Ok(loaded) = loaded.await {
            self.certificates.loaded.store(Arc::new(loaded?));
        }
        Ok(())
    }

    /// When each file last changed, and how long it is: followed through links, as tools that
    /// renew certificates set these anew.
    async fn stamps(&self) -> Vec<Option<(SystemTime, u64)>> {
        let certificates = Arc::clone(&self.certificates);
        let stamp = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let look = move || {
            let files = certificates.files.iter();
            files
                .flat_map(|files| [stamp(&files.chain), stamp(&files.key)])
                .collect()
        };
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }

    /// Does the handshake. A client that speaks plain HTTP is told so.
    ///
    /// # Errors
    /// What went wrong, which is the client's matter.
    pub(crate) async fn accept(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        // A handshake begins with 22; a method or the preface of HTTP/2 with a capital letter.
        if stream.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
            stream.write_all(PLAIN_ANSWER).await?;
            stream.shutdown().await?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP"));
        }
        self.acceptor.accept(stream).await
    }
}

fn load(files: &[CertificatePaths], provider: &CryptoProvider) -> Result<Loaded, TlsError> {
    let mut all = Vec::new();
    let (mut exact, mut below) = (HashMap::new(), HashMap::new());
    for pair in files {
        let (key, names) = certified_key(pair, provider)?;
        let key = Arc::new(key);
        for name in names {
            match name.strip_prefix("*.") {
                Some(parent) => below.entry(parent.to_owned()),
                None => exact.entry(name),
            }
            .or_insert_with(|| Arc::clone(&key));
        }
        all.push(key);
    }
    if all.is_empty() {
        return Err(TlsError::File {
            path: PathBuf::new(),
            what: "no certificate is named".to_owned(),
        });
    }
    Ok(Loaded { all, exact, below })
}

fn end_of(key: &CertifiedKey) -> Option<i64> {
    not_after(key.cert.first()?)
}

fn certified_key(
    files: &CertificatePaths,
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Vec<String>), TlsError> {
    certified(files, &read(&files.chain)?, &read(&files.key)?, provider)
}

/// A certificate with its key, of the content of the two `files`, and the names that it is for.
pub(crate) fn certified(
    files: &CertificatePaths,
    chain: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<(CertifiedKey, Vec<String>), TlsError> {
    let wrong = |path: &Path, what: &str| TlsError::File {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&files.chain, &format!("is no PEM file: {}", fault(&error))))?;
    let Some(end_entity) = chain.first() else {
        return Err(wrong(&files.chain, "holds no certificate"));
    };
    let certificate = webpki::EndEntityCert::try_from(end_entity)
        .map_err(|error| wrong(&files.chain, &format!("holds a bad certificate: {error}")))?;
    let names = certificate
        .valid_dns_names()
        .map(str::to_ascii_lowercase)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        wrong(
            &files.key,
            &format!("holds no private key: {}", fault(&error)),
        )
    })?;
    let certified =
        CertifiedKey::from_der(chain, key, provider).map_err(|source| TlsError::Pair {
            chain: files.chain.clone(),
            key: files.key.clone(),
            source,
        })?;
    Ok((certified, names))
}

/// What is wrong with a PEM file, without the lines of it that `error` would quote as bytes.
fn fault(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => {
            "a line that begins a section is broken".to_owned()
        }
        other => other.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let error = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(error)?.len();
    if length > FILE_BYTES_MAX {
        return Err(TlsError::File {
            path: path.to_owned(),
            what: format!("has {length} bytes, which no certificate or key has"),
        });
    }
    std::fs::read(path).map_err(error)
}
