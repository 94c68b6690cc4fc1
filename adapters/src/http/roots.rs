//! Whom TLS trusts: the certificates of the operating system, and those that were added.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tracing::warn;

use super::BuildError;

/// TLS 1.2 and 1.3 with ring, HTTP/1.1 only.
///
/// Without any root the client is still built: `http` targets need none, and the warning says what is missing.
pub(super) fn tls_config(extra_pem: &[Vec<u8>]) -> Result<ClientConfig, BuildError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (found, unusable) = roots.add_parsable_certificates(native.certs);
    for error in &native.errors {
        warn!(%error, "could not read root certificates of the operating system");
    }
    if found == 0 {
        warn!(
            unusable,
            "no root certificates found on this machine: install ca-certificates, or add a root of your own"
        );
    }
    for pem in extra_pem {
        add(&mut roots, pem)?;
    }
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(BuildError::Tls)?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), BuildError> {
    let mut added = 0_usize;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| BuildError::Pem(Some(error.into())))?;
        roots.add(certificate).map_err(|error| BuildError::Pem(Some(error.into())))?;
        added += 1;
    }
    if added == 0 { Err(BuildError::Pem(None)) } else { Ok(()) }
}
