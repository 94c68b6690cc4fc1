//! What may not be called is not called.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::StatusCode;
use postrider::TransportError;
use postrider_adapters::http::{HttpTransport, Lookup, LookupError};
use postrider_tests::Receiver;

use crate::{Failed, builder, error_of, internet, post, transport, words};

/// Names of a test's own.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) BTreeMap<&'static str, Vec<&'static str>>);

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        match self.0.get(name) {
            Some(addresses) => Ok(addresses.iter().map(|it| it.parse().expect("an address")).collect()),
            None => Err(LookupError::NotFound(Arc::from(Box::from("no such name")))),
        }
    }
}

fn names<const N: usize>(names: [(&'static str, &[&'static str]); N]) -> Names {
    Names(names.into_iter().map(|(name, addresses)| (name, addresses.to_vec())).collect())
}

fn public() -> Result<HttpTransport, Failed> {
    Ok(HttpTransport::new(internet())?)
}

fn assert_blocked(error: &TransportError, about: &str) {
    assert!(matches!(error, TransportError::Blocked(_)), "{about}: {error:?}");
    assert!(words(error).contains("blocked unless allow_targets"), "{about}: {}", words(error));
}

// Row 98.
#[tokio::test]
async fn every_spelling_of_loopback_is_blocked() -> Result<(), Failed> {
    let transport = public()?;
    let spellings = [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0",
        "127.0.0.1",
        "１２７.０.０.１",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
    ];
    for host in spellings {
        assert_blocked(&error_of(&transport, &format!("http://{host}:9/ok")).await, host);
    }
    Ok(())
}

// Row 98: names are checked when they are resolved.
#[tokio::test]
async fn the_name_of_this_machine_is_blocked() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let transport = public()?;
    assert_blocked(&error_of(&transport, &receiver.url_as("localhost", "/ok")).await, "localhost");
    assert_eq!(receiver.connections(), 0);
    Ok(())
}

// Row 101. The text of an attempt, and whether it was made again, told a tenant which names there are in the network behind
// us: those that are blocked were told from those that do not exist.
#[tokio::test]
async fn a_name_that_points_inside_is_told_as_one_that_does_not_exist() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let inside =
        names([("hook.test", &["127.0.0.1"]), ("ten.test", &["10.0.0.1"]), ("both.test", &["10.0.0.1", "::1"])]);
    let inside = HttpTransport::builder().targets(internet()).lookup(inside).build()?;
    let nobody = HttpTransport::builder().targets(internet()).lookup(names([])).build()?;
    for name in ["hook.test", "ten.test", "both.test"] {
        let blocked = error_of(&inside, &receiver.url_as(name, "/ok")).await;
        let unknown = error_of(&nobody, &receiver.url_as(name, "/ok")).await;
        for error in [&blocked, &unknown] {
            assert!(matches!(error, TransportError::Connect(_)), "{error:?}");
        }
        assert_eq!(words(&blocked), words(&unknown));
        assert!(words(&blocked).contains(name), "{}", words(&blocked));
    }
    assert_eq!(receiver.connections(), 0);
    Ok(())
}

#[tokio::test]
async fn only_the_allowed_addresses_of_a_name_are_called() -> Result<(), Failed> {
    let both = Receiver::builder().bind(([127, 0, 0, 1], 0).into()).bind(([127, 0, 0, 2], 0).into()).start().await?;
    let transport = builder().lookup(names([("hook.test", &["127.0.0.2", "10.0.0.1", "127.0.0.1"])])).build()?;
    assert_eq!(post(&transport, &both.url_as("hook.test", "/ok")).await?.status, StatusCode::OK);
    assert_eq!(both.requests()[0].local.ip(), IpAddr::from([127, 0, 0, 1]));
    assert_eq!(both.connections(), 1);
    Ok(())
}

/// Says something else each time it is asked.
#[derive(Debug)]
struct Rebinding(std::sync::atomic::AtomicUsize);

#[async_trait]
impl Lookup for Rebinding {
    async fn lookup(&self, _name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let asked = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(vec![IpAddr::from([127, 0, 0, if asked == 0 { 1 } else { 2 }])])
    }
}

// Row 101: a name that points elsewhere later.
#[tokio::test]
async fn a_name_is_checked_each_time_it_is_resolved() -> Result<(), Failed> {
    let both = Receiver::builder().bind(([127, 0, 0, 1], 0).into()).bind(([127, 0, 0, 2], 0).into()).start().await?;
    let transport = builder().lookup(Rebinding(0.into())).idle_timeout(Duration::ZERO).build()?;
    let url = both.url_as("hook.test", "/ok?header=connection:close");
    assert_eq!(post(&transport, &url).await?.status, StatusCode::OK);
    let second = error_of(&transport, &url).await;
    assert!(words(&second).contains("no address that may be called"), "{}", words(&second));
    assert_eq!(both.connections(), 1);
    Ok(())
}

// Row 104.
#[tokio::test]
async fn a_redirect_inside_is_not_followed() -> Result<(), Failed> {
    let both = Receiver::builder().bind(([127, 0, 0, 1], 0).into()).bind(([127, 0, 0, 2], 0).into()).start().await?;
    let path = format!("/redirect?to={}", both.url_at(1, "/ok"));
    assert_eq!(post(&transport()?, &both.url(&path)).await?.status, StatusCode::FOUND);
    assert_eq!(both.connections(), 1);
    Ok(())
}

// Row 105.
#[tokio::test]
async fn every_reserved_range_is_blocked() -> Result<(), Failed> {
    let transport = public()?;
    let reserved = [
        "0.0.0.0",
        "10.255.255.255",
        "100.64.0.1",
        "169.254.169.254",
        "172.31.0.1",
        "192.0.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[2001:db8::1]",
        "[::ffff:10.0.0.1]",
        "[2002:7f00:1::]",
    ];
    for host in reserved {
        assert_blocked(&error_of(&transport, &format!("https://{host}/ok")).await, host);
    }
    Ok(())
}

#[test]
fn addresses_of_the_internet_are_not_blocked() {
    for address in ["1.1.1.1", "100.63.255.255", "172.32.0.1", "198.20.0.1", "223.255.255.255", "2606:4700::1111"] {
        let address = address.parse().expect("an address");
        assert_eq!(internet().check_address(address), Ok(()));
    }
}

// Row 106.
#[tokio::test]
async fn what_was_blocked_works_once_it_is_allowed() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let url = receiver.url("/ok");
    assert_blocked(&error_of(&public()?, &url).await, "before");
    assert_eq!(post(&transport()?, &url).await?.status, StatusCode::OK);
    Ok(())
}
