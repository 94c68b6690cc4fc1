//! Connections that are used again: what breaks on one says nothing of the receiver, and none is used for ever.

use std::{collections::BTreeMap, time::Duration};

use postrider::{ApplicationId, Carries, EndpointId, Purpose, Transport};
use postrider_tests::{ReceivedRequest, Receiver};

use crate::{Failed, attempt, builder, error_of, post, ssrf::Names, transport, words};

// A receiver that closed a kept connection just then: a tenth of a slow stream of messages failed, and its breaker opened.
#[tokio::test]
async fn what_breaks_on_a_kept_connection_is_sent_once_more_on_a_fresh_one() -> Result<(), Failed> {
    for breaks in ["/early-close", "/reset"] {
        let (receiver, transport) = (Receiver::start().await?, transport()?);
        let url = receiver.url(&format!("/script?do=/ok&do={breaks}&do=/ok"));
        post(&transport, &url).await?;
        assert_eq!(post(&transport, &url).await?.status.as_u16(), 200, "{breaks}");
        let requests = receiver.requests();
        assert_eq!(requests.len(), 3, "{breaks}");
        assert_eq!(requests[0].connection, requests[1].connection);
        assert_ne!(requests[1].connection, requests[2].connection);
        assert_eq!((&requests[1].headers, &requests[1].body), (&requests[2].headers, &requests[2].body));
    }
    Ok(())
}

#[tokio::test]
async fn it_is_sent_no_more_than_once_again() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let url = receiver.url("/script?do=/ok&do=/early-close");
    post(&transport, &url).await?;
    let error = error_of(&transport, &url).await;
    assert_eq!(words(&error), "the connection was closed before an answer came");
    assert_eq!(receiver.requests().len(), 3);
    Ok(())
}

#[tokio::test]
async fn what_was_answered_in_part_is_not_sent_again() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let url = receiver.url("/script?do=/ok&do=/status-line-garbage&do=/ok");
    post(&transport, &url).await?;
    error_of(&transport, &url).await;
    assert_eq!(receiver.requests().len(), 2);
    Ok(())
}

// All messages went on to the address that a name had had, as long as there was one every few seconds.
#[tokio::test]
async fn no_connection_is_used_beyond_its_life() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let transport = builder().connection_life(Duration::ZERO).build()?;
    for _ in 0..3 {
        post(&transport, &receiver.url("/ok?body=x")).await?;
    }
    assert_eq!(receiver.connections(), 3);

    let (receiver, transport) = (Receiver::start().await?, builder().build()?);
    for _ in 0..3 {
        post(&transport, &receiver.url("/ok?body=x")).await?;
    }
    assert_eq!(receiver.connections(), 1, "by default it is longer than this test");
    Ok(())
}

// An endpoint at a host where another application has one, too: what its path sent unasked, a moment after its answer, was
// taken for the answer to the other one's message, and the answer to that one's for its own.
#[tokio::test]
async fn no_application_uses_a_connection_of_another_one() -> Result<(), Failed> {
    let (receiver, transport) = (Receiver::start().await?, transport()?);
    let url = receiver.url("/ok?body=x").replace("http://", "http://name:word@");
    for application in [1, 2, 1, 2, 1] {
        let application = ApplicationId::from_bytes([application; 20]);
        let purpose = Purpose::new(application, EndpointId::from_bytes([3; 20]), Carries::Proof);
        assert_eq!(transport.send(attempt(&url)?.purpose(purpose)).await?.status.as_u16(), 200);
    }
    let requests = receiver.requests();
    let connections: Vec<_> = requests.iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 1, 0, 1, 0].map(|place| connections[place]), "each has its own");
    assert_eq!(receiver.connections(), 2);
    // Nothing of it reaches the receiver.
    let head = |request: &ReceivedRequest| (request.target.clone(), request.headers.clone());
    post(&transport, &url).await?;
    assert_eq!(head(&requests[0]), head(&receiver.requests()[5]));
    Ok(())
}

/// An address where nothing answers: what comes is neither taken nor refused, because the queue of the listener is full.
#[cfg(target_os = "linux")]
struct Silent {
    _listener: tokio::net::TcpListener,
    _fills_the_queue: std::net::TcpStream,
}

#[cfg(target_os = "linux")]
impl Silent {
    fn at(address: std::net::SocketAddr) -> std::io::Result<Self> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(address)?;
        let listener = socket.listen(0)?;
        Ok(Self { _fills_the_queue: std::net::TcpStream::connect(address)?, _listener: listener })
    }
}

// With two of three addresses of a name silent, every attempt waited for the first until the time was up, and failed.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_with_addresses_that_do_not_answer_is_reached_by_the_one_that_does() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let port = receiver.address().port();
    let silent = ["127.0.0.2", "127.0.0.3"].map(|ip| Silent::at(format!("{ip}:{port}").parse().expect("an address")));
    let silent = silent.into_iter().collect::<Result<Vec<_>, _>>()?;
    let names = Names(BTreeMap::from([("hook.test", vec!["127.0.0.2", "127.0.0.3", "127.0.0.1"])]));
    let mut targets = crate::allowed();
    targets.allow = vec!["127.0.0.0/8".parse()?];
    let transport = builder().targets(targets).lookup(names).build()?;
    let request = attempt(&receiver.url_as("hook.test", "/ok"))?.timeout(Duration::from_secs(20));
    assert_eq!(transport.send(request).await?.status.as_u16(), 200);
    drop(silent);
    Ok(())
}
