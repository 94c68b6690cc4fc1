//! Certificates for a receiver, right and wrong ones.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256,
};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{ResolvesServerCertUsingSni, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

/// A certificate authority of a test's own: a root, and an authority below it.
#[derive(Debug)]
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// What a server shows: its certificate, those between it and the root, and its key.
#[derive(Debug)]
pub struct Identity {
    names: Vec<String>,
    chain: Vec<CertificateDer<'static>>,
    pem: String,
    key: PrivateKeyDer<'static>,
}

/// What is unusual about a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: ECDSA with P-256, valid.
    #[default]
    Plain,
    /// RSA with 2048 bits.
    Rsa,
    /// Valid until yesterday.
    Expired,
    /// Says that it is one of an authority, as `openssl req -x509` does.
    Authority,
}

/// How a receiver speaks TLS.
#[derive(Debug)]
#[must_use]
pub struct TlsSettings {
    identity: Identity,
    versions: Vec<&'static SupportedProtocolVersion>,
    needs_sni: bool,
    client_root: Option<CertificateDer<'static>>,
}

/// Made for these tests, and used nowhere else: ring makes no RSA keys.
const RSA_KEY: &str = include_str!("tls/rsa_test_key.pem");

impl Authority {
    /// Makes new keys.
    pub fn new() -> Result<Self, rcgen::Error> {
        let root = CertifiedIssuer::self_signed(authority("Postrider tests root")?, KeyPair::generate()?)?;
        let below = authority("Postrider tests intermediate")?;
        let intermediate = CertifiedIssuer::signed_by(below, KeyPair::generate()?, &root)?;
        Ok(Self { root, intermediate })
    }

    /// What a client must trust.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// A server certificate signed by the authority below the root, which is sent along.
    pub fn issue(&self, names: &[&str], kind: Kind) -> Result<Identity, rcgen::Error> {
        let (params, key) = leaf(names, kind)?;
        let certificate = params.signed_by(&key, &self.intermediate)?;
        let chain = vec![certificate.der().clone(), self.intermediate.der().clone()];
        Ok(Identity::new(names, chain, certificate.pem(), &key))
    }
}

impl Identity {
    /// A certificate that signs itself.
    pub fn self_signed(names: &[&str], kind: Kind) -> Result<Self, rcgen::Error> {
        let (params, key) = leaf(names, kind)?;
        let certificate = params.self_signed(&key)?;
        Ok(Self::new(names, vec![certificate.der().clone()], certificate.pem(), &key))
    }

    /// Forgets to send the certificates in between.
    #[must_use]
    pub fn without_intermediates(mut self) -> Self {
        self.chain.truncate(1);
        self
    }

    /// The server's own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn new(names: &[&str], chain: Vec<CertificateDer<'static>>, pem: String, key: &KeyPair) -> Self {
        let names = names.iter().map(ToString::to_string).collect();
        Self { names, chain, pem, key: PrivateKeyDer::Pkcs8(key.serialize_der().into()) }
    }
}

impl TlsSettings {
    /// TLS 1.2 and 1.3, any name.
    pub fn new(identity: Identity) -> Self {
        Self { identity, versions: vec![&TLS12, &TLS13], needs_sni: false, client_root: None }
    }

    /// TLS 1.2 only.
    pub fn only_1_2(self) -> Self {
        Self { versions: vec![&TLS12], ..self }
    }

    /// TLS 1.3 only.
    pub fn only_1_3(self) -> Self {
        Self { versions: vec![&TLS13], ..self }
    }

    /// Refuses whoever does not ask for one of the certificate's names.
    pub fn needs_sni(self) -> Self {
        Self { needs_sni: true, ..self }
    }

    /// Refuses whoever shows no certificate of this authority.
    pub fn needs_client_certificate(self, authority: &Authority) -> Self {
        Self { client_root: Some(authority.root.der().clone()), ..self }
    }

    pub(crate) fn acceptor(self) -> io::Result<TlsAcceptor> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&self.versions).map_err(io::Error::other)?;
        let builder = match self.client_root {
            None => builder.with_no_client_auth(),
            Some(root) => {
                let mut roots = RootCertStore::empty();
                roots.add(root).map_err(io::Error::other)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
                builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
            }
        };
        let Identity { names, chain, key, .. } = self.identity;
        let config = if self.needs_sni {
            let certified = CertifiedKey::from_der(chain, key, &provider).map_err(io::Error::other)?;
            let mut resolver = ResolvesServerCertUsingSni::new();
            for name in names {
                resolver.add(&name, certified.clone()).map_err(io::Error::other)?;
            }
            builder.with_cert_resolver(Arc::new(resolver))
        } else {
            builder.with_single_cert(chain, key).map_err(io::Error::other)?
        };
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn authority(name: &str) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok(params)
}

fn leaf(names: &[&str], kind: Kind) -> Result<(CertificateParams, KeyPair), rcgen::Error> {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let key = match kind {
        Kind::Rsa => KeyPair::from_pkcs8_pem_and_sign_algo(RSA_KEY, &PKCS_RSA_SHA256)?,
        Kind::Plain | Kind::Expired | Kind::Authority => KeyPair::generate()?,
    };
    match kind {
        Kind::Expired => params.not_after = (SystemTime::now() - Duration::from_secs(86_400)).into(),
        Kind::Authority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        Kind::Plain | Kind::Rsa => {}
    }
    Ok((params, key))
}
