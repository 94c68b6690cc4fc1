//! Whom the transport trusts, and what it says when it does not.

use std::time::Duration;

use http::StatusCode;
use postrider::TransportError;
use postrider_tests::{Authority, Identity, Receiver, TlsSettings, tls::Kind};

use crate::{Failed, builder, error_of, post, transport, words};

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

async fn receiver(settings: TlsSettings) -> Result<Receiver, Failed> {
    Ok(Receiver::builder().tls(settings).start().await?)
}

/// The words of the failure to connect.
async fn refusal(settings: TlsSettings, extra_roots: &[&str]) -> Result<String, Failed> {
    let receiver = receiver(settings).await?;
    let transport = extra_roots.iter().fold(builder(), |it, pem| it.extra_root_certificates(pem.as_bytes())).build()?;
    let error = error_of(&transport, &receiver.url_as("localhost", "/ok")).await;
    assert_eq!(receiver.requests().len(), 0, "nothing was sent");
    assert!(matches!(error, TransportError::Connect(_)), "{error:?}");
    Ok(words(&error))
}

// Row 52.
#[tokio::test]
async fn a_self_signed_certificate_is_refused_until_it_is_added() -> Result<(), Failed> {
    let identity = Identity::self_signed(&NAMES, Kind::Plain)?;
    let pem = identity.pem().to_owned();
    let receiver = receiver(TlsSettings::new(identity)).await?;
    let url = receiver.url_as("localhost", "/ok");
    let error = error_of(&transport()?, &url).await;
    assert!(matches!(error, TransportError::Connect(_)), "{error:?}");
    assert!(words(&error).starts_with("certificate is not trusted: its issuer is unknown"), "{}", words(&error));
    assert_eq!(receiver.requests().len(), 0);

    let trusting = builder().extra_root_certificates(pem.as_bytes()).build()?;
    assert_eq!(post(&trusting, &url).await?.status, StatusCode::OK);
    assert_eq!(post(&trusting, &receiver.url("/ok")).await?.status, StatusCode::OK, "by address too");
    Ok(())
}

// Row 52.
#[tokio::test]
async fn a_private_authority_is_refused_until_it_is_added() -> Result<(), Failed> {
    let authority = Authority::new()?;
    let receiver = receiver(TlsSettings::new(authority.issue(&NAMES, Kind::Plain)?)).await?;
    let url = receiver.url_as("localhost", "/ok");
    assert!(words(&error_of(&transport()?, &url).await).contains("issuer is unknown"));
    let trusting = builder().extra_root_certificates(authority.root_pem().as_bytes()).build()?;
    assert_eq!(post(&trusting, &url).await?.status, StatusCode::OK);
    Ok(())
}

// Row 52: what `openssl req -x509` makes.
#[tokio::test]
async fn an_authority_that_shows_itself_is_refused_in_words() -> Result<(), Failed> {
    let identity = Identity::self_signed(&NAMES, Kind::Authority)?;
    let pem = identity.pem().to_owned();
    let words = refusal(TlsSettings::new(identity), &[&pem]).await?;
    assert!(words.contains("CA:TRUE"), "{words}");
    Ok(())
}

// Row 54.
#[tokio::test]
async fn an_incomplete_chain_is_refused_as_an_unknown_issuer() -> Result<(), Failed> {
    let authority = Authority::new()?;
    let leaf_only = authority.issue(&NAMES, Kind::Plain)?.without_intermediates();
    let words = refusal(TlsSettings::new(leaf_only), &[&authority.root_pem()]).await?;
    assert!(words.contains("issuer is unknown") && words.contains("in between"), "{words}");
    Ok(())
}

// Row 58.
#[tokio::test]
async fn every_ordinary_set_up_is_delivered_to() -> Result<(), Failed> {
    let authority = Authority::new()?;
    let trusting = builder().extra_root_certificates(authority.root_pem().as_bytes()).build()?;
    for kind in [Kind::Plain, Kind::Rsa] {
        let set_ups = [TlsSettings::new, |it| TlsSettings::new(it).only_1_2(), |it| TlsSettings::new(it).only_1_3()];
        for (n, set_up) in set_ups.into_iter().enumerate() {
            let receiver = receiver(set_up(authority.issue(&["localhost"], kind)?).needs_sni()).await?;
            let answer = post(&trusting, &receiver.url_as("localhost", "/ok")).await?;
            assert_eq!(answer.status, StatusCode::OK, "{kind:?} {n}");
        }
    }
    Ok(())
}

// Row 58.
#[tokio::test]
async fn a_failed_handshake_says_why() -> Result<(), Failed> {
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let root = authority.root_pem();
    let expired = TlsSettings::new(authority.issue(&NAMES, Kind::Expired)?);
    assert_eq!(refusal(expired, &[&root]).await?, "certificate has expired");
    let named_otherwise = TlsSettings::new(authority.issue(&["hook.test"], Kind::Plain)?);
    assert_eq!(refusal(named_otherwise, &[&root]).await?, "certificate is for another name");
    let sni = TlsSettings::new(authority.issue(&["hook.test"], Kind::Plain)?).needs_sni();
    assert!(refusal(sni, &[&root]).await?.starts_with("tls handshake failed: the receiver"));
    let client = TlsSettings::new(authority.issue(&NAMES, Kind::Plain)?).only_1_2().needs_client_certificate(&other);
    assert!(refusal(client, &[&root]).await?.starts_with("tls handshake failed: the receiver"));
    Ok(())
}

// Row 58: with TLS 1.3 the refusal comes only after our side is done.
#[tokio::test]
async fn a_client_certificate_asked_for_late_is_named_in_the_failure() -> Result<(), Failed> {
    let authority = Authority::new()?;
    let settings = TlsSettings::new(authority.issue(&NAMES, Kind::Plain)?).only_1_3();
    let receiver = receiver(settings.needs_client_certificate(&authority)).await?;
    let trusting = builder().extra_root_certificates(authority.root_pem().as_bytes()).build()?;
    let error = error_of(&trusting, &receiver.url_as("localhost", "/ok")).await;
    assert_eq!(words(&error), "tls handshake failed: the receiver asks for a client certificate");
    Ok(())
}

// Row 68.
#[tokio::test]
async fn tls_spoken_to_a_plain_port_fails_in_words() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let error = error_of(&transport()?, &receiver.url("/ok").replace("http:", "https:")).await;
    assert!(words(&error).contains("is not tls"), "{}", words(&error));
    assert_eq!(receiver.unreadable().len(), 1);
    Ok(())
}

// Row 68.
#[tokio::test]
async fn plain_text_spoken_to_a_tls_port_fails_in_words() -> Result<(), Failed> {
    let receiver = receiver(TlsSettings::new(Identity::self_signed(&NAMES, Kind::Plain)?)).await?;
    let error = error_of(&transport()?, &receiver.url("/ok").replace("https:", "http:")).await;
    assert!(matches!(error, TransportError::Exchange(_)), "{error:?}");
    assert!(words(&error).contains("should it be https?"), "{}", words(&error));
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_accepts_and_says_nothing_is_given_up_after_the_time_to_connect() -> Result<(), Failed> {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let transport = builder().connect_timeout(Duration::from_millis(300)).build()?;
    let error = error_of(&transport, &format!("https://{}/ok", silent.local_addr()?)).await;
    assert!(matches!(error, TransportError::Connect(_)), "{error:?}");
    assert_eq!(words(&error), "no connection within 0.3 s");
    Ok(())
}

#[test]
fn text_without_a_certificate_is_refused_when_building() {
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let error = builder().extra_root_certificates(pem.as_bytes()).build().expect_err("refused");
        assert!(error.to_string().contains("at least one certificate"), "{pem}: {error}");
    }
}
