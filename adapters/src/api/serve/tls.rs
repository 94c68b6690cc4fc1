//! TLS of the listener: a certificate out of two files, renewed when they change.
//!
//! A file that is wrong never takes the place of a certificate that works: the old one stays, and somebody is told.

use std::{
    convert::Infallible,
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    net::TcpStream,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{info, warn};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// TLS 1.2 and 1.3, with a certificate that is renewed while it serves. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

impl Tls {
    /// With the certificate in `chain_file` (PEM; those between it and the root after it) and its key in `key_file`
    /// (PEM, without a password). While the listener serves, both are read again when they have changed.
    pub fn from_files(chain_file: PathBuf, key_file: PathBuf) -> Result<Self, TlsError> {
        let certificate = Arc::new(Certificate::read(Files { chain: chain_file, key: key_file })?);
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Unusable)?;
        let resolver = Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>;
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate })
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }

    /// Looks at the files now and then. What is wrong is told once, and tried again all the same: permissions, say,
    /// may be put right without a change to the file.
    pub(super) async fn renew(&self) -> Infallible {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = String::new();
        loop {
            looks.tick().await;
            let certificate = Arc::clone(&self.certificate);
            // It does not come back if the runtime ends.
            let Ok(looked) = spawn_blocking(move || certificate.look()).await else { continue };
            let Files { chain, key } = &self.certificate.files;
            match looked {
                Ok(Look::Same) => told.clear(),
                Ok(Look::Renewed) => {
                    told.clear();
                    info!(certificate = %chain.display(), "the certificate of the listener is renewed");
                }
                Err(error) if told == in_words(&error) => {}
                Err(error) => {
                    told = in_words(&error);
                    warn!(
                        certificate = %chain.display(), key = %key.display(), error = told,
                        "the certificate of the listener is not renewed, and the old one stays in use; put a chain and \
                         the key of its first certificate into these files",
                    );
                }
            }
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The certificate that is shown to clients.
pub(super) struct Certificate {
    files: Files,
    current: RwLock<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    stamps: [Stamp; 2],
}

/// What became of a look at the files.
pub(super) enum Look {
    Same,
    Renewed,
}

impl Certificate {
    pub(super) fn read(files: Files) -> Result<Self, TlsError> {
        let current = RwLock::new(files.read(files.stamps()?)?);
        Ok(Self { files, current })
    }

    /// Reads the files again if they have changed.
    pub(super) fn look(&self) -> Result<Look, TlsError> {
        let stamps = self.files.stamps()?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).stamps == stamps {
            return Ok(Look::Same);
        }
        let renewed = self.files.read(stamps)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = renewed;
        Ok(Look::Renewed)
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).key)
    }

    #[cfg(test)]
    pub(super) fn shows(&self, certificate: &CertificateDer<'_>) -> bool {
        self.current().cert.first() == Some(certificate)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Files {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
}

/// By what a file is seen to have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    bytes: u64,
}

impl Files {
    /// Taken before the files are read: a change in between is seen at the next look.
    fn stamps(&self) -> Result<[Stamp; 2], TlsError> {
        let stamp = |path: &Path| {
            let metadata = fs::metadata(path)?;
            Ok(Stamp { modified: metadata.modified()?, bytes: metadata.len() })
        };
        let of = |path: &Path| stamp(path).map_err(|error| TlsError::Unreadable { path: path.to_owned(), error });
        Ok([of(&self.chain)?, of(&self.key)?])
    }

    fn read(&self, stamps: [Stamp; 2]) -> Result<Current, TlsError> {
        let text = |path: &Path| fs::read(path).map_err(|error| TlsError::Unreadable { path: path.to_owned(), error });
        let pem = |path: &Path, error| TlsError::Pem { path: path.to_owned(), error };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(&self.chain)?).collect();
        let chain = chain.map_err(|error| pem(&self.chain, error))?;
        if chain.is_empty() {
            return Err(pem(&self.chain, PemError::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(&text(&self.key)?).map_err(|error| pem(&self.key, error))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(TlsError::Unusable)?;
        Ok(Current { key: Arc::new(key), stamps })
    }
}

/// There is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Correct the name or the permissions.
    #[error("could not read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Put certificates, or a key without a password, into the file, as PEM.
    #[error("{} holds no PEM of the right kind", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: PemError,
    },
    /// Take the key of the first certificate: RSA, ECDSA or Ed25519.
    #[error("the certificate and the key cannot be used together")]
    Unusable(#[source] rustls::Error),
}

pub(super) fn in_words(error: &TlsError) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}
