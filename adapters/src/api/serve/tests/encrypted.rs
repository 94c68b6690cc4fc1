//! The listener with TLS, with certificates of the tests' own.

use std::{fs, time::SystemTime};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tempfile::TempDir;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

#[tokio::test]
async fn a_client_and_the_listener_agree_on_a_version() -> Result<(), Failed> {
    let files = Files::new()?;
    let shown = files.write(&Identity::new()?)?;
    let server = Server::start(Some(files.tls()?)).await?;
    for (offered, agreed, version) in [
        (["h2", "http/1.1"].as_slice(), Some("h2"), Version::HTTP_2),
        (&["http/1.1"], Some("http/1.1"), Version::HTTP_11),
        (&[], None, Version::HTTP_11),
    ] {
        let stream = connect(&server, &shown, offered).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes));
        let mut client = Client::over(stream, version).await?;
        assert_eq!(client.get("/version").await?, format!("{version:?}"));
    }
    server.stop().await
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_and_a_broken_one_never() -> Result<(), Failed> {
    let files = Files::new()?;
    let (first, second) = (Identity::new()?, Identity::new()?);
    let shown = files.write(&first)?;
    let server = Server::start(Some(files.tls()?)).await?;
    let mut before = Client::over(connect(&server, &shown, &["h2"]).await?, Version::HTTP_2).await?;
    before.get("/version").await?;

    let shown = files.write(&second)?;
    let seen = async {
        // It is not trusted before it is shown.
        while connect(&server, &shown, &["h2"]).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, seen).await?;
    assert_eq!(before.get("/version").await?, "HTTP/2.0", "a connection outlives the certificate that it began with");
    server.stop().await
}

#[test]
fn what_is_wrong_with_new_files_leaves_the_old_certificate_in_use() -> Result<(), Failed> {
    let files = Files::new()?;
    let (first, second) = (Identity::new()?, Identity::new()?);
    files.write(&first)?;
    let certificate = tls::Certificate::read(files.names())?;
    let shows = |identity: &Identity| certificate.shows(&identity.der);
    assert!(matches!(certificate.look()?, tls::Look::Same));
    for (chain, key, expected) in [
        (second.chain.as_str(), first.key.as_str(), "cannot be used together: keys may not be consistent"),
        (&first.chain, &second.key, "cannot be used together"),
        ("", &second.key, "chain.pem holds no PEM of the right kind"),
        (&second.key, &second.key, "chain.pem holds no PEM of the right kind"),
        (&second.chain, "-----BEGIN PRIVATE KEY-----", "key.pem holds no PEM of the right kind"),
        (&second.chain, &second.chain, "key.pem holds no PEM of the right kind"),
        (&second.chain[..200], &second.key, "chain.pem holds no PEM of the right kind"),
    ] {
        files.put("chain.pem", chain)?;
        files.put("key.pem", key)?;
        let told = certificate.look().map_or_else(|error| tls::in_words(&error), |_| "taken".to_owned());
        assert!(told.contains(expected), "{told}\nshould say\n{expected}");
        assert!(key.lines().skip(1).all(|line| !told.contains(line)), "no key is told");
        assert!(shows(&first));
    }
    fs::remove_file(files.folder.path().join("key.pem"))?;
    let told = certificate.look().map_or_else(|error| tls::in_words(&error), |_| "taken".to_owned());
    assert!(told.starts_with("could not read ") && told.contains("key.pem"), "{told}");
    assert!(shows(&first));
    files.write(&second)?;
    assert!(matches!(certificate.look()?, tls::Look::Renewed));
    assert!(shows(&second));
    Ok(())
}

/// The accepting loop did not wait for them, or the second client would not have been answered.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_shake_hands_holds_nobody_up_and_is_let_go() -> Result<(), Failed> {
    let files = Files::new()?;
    let shown = files.write(&Identity::new()?)?;
    let server = Server::start(Some(files.tls()?)).await?;
    // A record of a handshake that does not go on, and nothing at all.
    for said in [[0x16, 3, 1, 2].as_slice(), &[]] {
        let mut silent = server.connect().await?;
        silent.write_all(said).await?;
        let mut other = Client::over(connect(&server, &shown, &["h2"]).await?, Version::HTTP_2).await?;
        assert_eq!(other.get("/version").await?, "HTTP/2.0");
        timeout(HANDSHAKE_WITHIN + Duration::from_secs(1), read_to_end(&mut silent)).await?;
    }
    let mut plain = server.connect().await?;
    plain.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await?;
    read_to_end(&mut plain).await;
    let _shaking = server.connect().await?;
    server.stop().await
}

#[tokio::test]
async fn a_request_that_runs_over_tls_is_answered_before_the_end() -> Result<(), Failed> {
    let files = Files::new()?;
    let shown = files.write(&Identity::new()?)?;
    let server = Server::start(Some(files.tls()?)).await?;
    let mut client = Client::over(connect(&server, &shown, &["h2"]).await?, Version::HTTP_2).await?;
    let asked = tokio::spawn(async move { client.get("/slow").await.map_err(|error| error.to_string()) });
    timeout(PATIENCE, server.begun.notified()).await?;
    drop(server.stop);
    timeout(PATIENCE, async { while TcpStream::connect(server.address).await.is_ok() {} }).await?;
    server.go_on.notify_one();
    assert_eq!(timeout(PATIENCE, asked).await???, "done");
    timeout(PATIENCE, server.task).await???;
    Ok(())
}

async fn connect(
    server: &Server,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> Result<TlsStream<TcpStream>, Failed> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone())?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost")?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name, server.connect().await?).await?)
}

/// A certificate that signs itself, and its key.
struct Identity {
    der: CertificateDer<'static>,
    chain: String,
    key: String,
}

impl Identity {
    fn new() -> Result<Self, Failed> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
        Ok(Self { der: certificate.der().clone(), chain: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Where the listener reads its certificate.
struct Files {
    folder: TempDir,
    writes: std::cell::Cell<u64>,
}

impl Files {
    fn new() -> Result<Self, Failed> {
        Ok(Self { folder: TempDir::new()?, writes: 0.into() })
    }

    fn names(&self) -> tls::Files {
        let of = |name| self.folder.path().join(name);
        tls::Files { chain: of("chain.pem"), key: of("key.pem") }
    }

    fn tls(&self) -> Result<Tls, TlsError> {
        let tls::Files { chain, key } = self.names();
        Tls::from_files(chain, key)
    }

    /// What a client must trust from now on.
    fn write(&self, identity: &Identity) -> Result<CertificateDer<'static>, Failed> {
        self.put("key.pem", &identity.key)?;
        self.put("chain.pem", &identity.chain)?;
        Ok(identity.der.clone())
    }

    /// Each later than the one before, however coarse the clock of the file system is.
    fn put(&self, name: &str, text: &str) -> Result<(), Failed> {
        let path = self.folder.path().join(name);
        fs::write(&path, text)?;
        self.writes.set(self.writes.get() + 1);
        let time = SystemTime::now() + Duration::from_secs(self.writes.get());
        Ok(fs::File::options().write(true).open(path)?.set_modified(time)?)
    }
}
