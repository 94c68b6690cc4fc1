//! Keys and certificates out of files: of tokens, and of the listener.

use std::sync::Arc;

use postrider_adapters::token::PairAlgorithm;

use super::*;

#[test]
fn tokens_are_signed_with_a_private_key_if_there_is_one() -> Result<(), Failed> {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../adapters/src/token/tests");
    let (public, private) = (keys.join("ed_public.pem"), keys.join("ed_private.pem"));
    let create = |private: Option<&Path>| {
        let mut create = postrider(&["token", "create", "--set", "tokens.algorithm=EdDSA"]);
        create.env("POSTRIDER_TOKENS_PUBLIC_KEY_FILE", &public);
        create.envs(private.map(|path| ("POSTRIDER_TOKENS_PRIVATE_KEY_FILE", path)));
        create
    };
    let token = expect_success(&mut create(Some(&private)))?;
    let key = TokenKey::of_public_key(PairAlgorithm::EdDsa, &fs::read_to_string(&public)?)?;
    assert_eq!(verify(&key, &token)?, Caller::Organisation(OrganisationId::DEFAULT));

    let told = expect_failure(&mut create(None), 2)?;
    assert!(told.contains("could not make the token") && told.contains("set `tokens.private_key_file`"), "{told}");
    let told = expect_failure(&mut create(Some(&keys.join("other_ed_private.pem"))), 2)?;
    assert!(told.contains("does not belong to the public key"), "{told}");
    let told = expect_failure(&mut create(Some("/nowhere/key".as_ref())), 2)?;
    assert!(told.contains("could not read /nowhere/key, which tokens.private_key_file names\n  because "), "{told}");
    Ok(())
}

#[test]
fn with_a_certificate_the_listener_speaks_tls() -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    fs::write(&cert, identity.cert.pem())?;
    fs::write(&key, identity.signing_key.serialize_pem())?;
    let serve = || {
        let mut serve = postrider(&["serve", "--dev", "--storage", "memory", "--listen", "127.0.0.1:0"]);
        serve.env("POSTRIDER_TLS_CERT_FILE", &cert).env("POSTRIDER_TLS_KEY_FILE", &key);
        serve
    };
    let daemon = Daemon::spawn(serve().stderr(Stdio::null()))?;
    let line = daemon.line()?;
    let address = line.strip_prefix("listening on https://").ok_or(format!("{line} instead of the ready line"))?;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(identity.cert.der().clone())?;
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let client = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
    let mut stream = rustls::StreamOwned::new(client, TcpStream::connect(address)?);
    stream.sock.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /api/v1/health/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    assert!(status.starts_with("HTTP/1.1 204"), "{status}");

    fs::write(&key, "nonsense")?;
    let told = expect_failure(&mut serve(), 2)?;
    let expected = "could not use the certificate that tls.cert_file and tls.key_file name\n  because ";
    assert!(told.contains(expected) && told.contains("key.pem holds no PEM of the right kind"), "{told}");
    Ok(())
}
