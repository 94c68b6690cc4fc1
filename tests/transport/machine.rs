//! What our own machine causes is told apart from what the endpoint causes.

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use postrider::{ApplicationId, Carries, EndpointId, Purpose, Transport, TransportError};
use postrider_adapters::http::{Lookup, LookupError};
use postrider_tests::Receiver;

use crate::{Failed, attempt, builder, error_of, transport, words};

/// Answers with an error, or not at all.
#[derive(Debug)]
struct Broken(Option<LookupError>);

#[async_trait]
impl Lookup for Broken {
    async fn lookup(&self, _name: &str) -> Result<Vec<IpAddr>, LookupError> {
        match &self.0 {
            Some(error) => Err(error.clone()),
            None => std::future::pending().await,
        }
    }
}

fn cause() -> Arc<dyn std::error::Error + Send + Sync> {
    Arc::from(Box::from("by the test"))
}

#[tokio::test]
async fn a_name_server_that_does_not_answer_is_ours() -> Result<(), Failed> {
    let unavailable = builder().lookup(Broken(Some(LookupError::Unavailable(cause())))).build()?;
    let error = error_of(&unavailable, "http://hook.test/ok").await;
    assert!(matches!(error, TransportError::NotSent(_)), "{error:?}");
    assert_eq!(words(&error), "no name server answered for hook.test");

    let slow = builder().lookup(Broken(None)).lookup_timeout(Duration::from_millis(100)).build()?;
    let error = error_of(&slow, "http://hook.test/ok").await;
    assert!(matches!(error, TransportError::NotSent(_)), "{error:?}");
    assert_eq!(words(&error), "no name server answered for hook.test within 0.1 s");
    Ok(())
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_the_endpoints() -> Result<(), Failed> {
    let transport = builder().lookup(Broken(Some(LookupError::NotFound(cause())))).build()?;
    let error = error_of(&transport, "http://hook.test/ok").await;
    assert!(matches!(error, TransportError::Connect(_)), "{error:?}");
    assert_eq!(words(&error), "hook.test does not exist, or has no address that may be called");
    Ok(())
}

/// Does not answer for names that begin so.
#[derive(Debug)]
struct SilentFor(&'static str);

#[async_trait]
impl Lookup for SilentFor {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        if name.starts_with(self.0) { std::future::pending().await } else { Ok(vec![IpAddr::from([127, 0, 0, 1])]) }
    }
}

// All requests stood in one line for their names, whoever they were for.
#[tokio::test]
async fn requests_of_an_application_with_silent_names_hold_up_those_of_no_other() -> Result<(), Failed> {
    let (receiver, time) = (Receiver::start().await?, Duration::from_secs(600));
    let transport = builder().lookup(SilentFor("silent")).lookup_timeout(time).connect_timeout(time).build()?;
    let [one, other] = [1, 2].map(|number| ApplicationId::from_bytes([number; 20]));
    let purpose = |application| Purpose::new(application, EndpointId::from_bytes([3; 20]), Carries::Proof);
    let mut silent = tokio::task::JoinSet::new();
    for number in 0..200 {
        let request = attempt(&format!("http://silent-{number}.test/ok"))?.purpose(purpose(one)).timeout(time);
        let transport = transport.clone();
        silent.spawn(async move { transport.send(request).await.is_ok() });
    }
    // Each stands in its line, or is being looked up.
    tokio::task::yield_now().await;
    let request = attempt(&receiver.url_as("good.test", "/ok"))?.purpose(purpose(other));
    let answer = tokio::time::timeout(Duration::from_secs(20), transport.send(request)).await;
    assert_eq!(answer.expect("it has its turn")?.status.as_u16(), 200);
    assert_eq!(silent.len(), 200, "the others wait");
    Ok(())
}

/// `sh` lowers the limit for a process of its own, which runs the test below.
#[cfg(unix)]
#[tokio::test]
async fn running_out_of_descriptors_is_ours() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let mut child = tokio::process::Command::new("sh");
    child.args(["-c", "ulimit -n 40; exec \"$0\" --exact machine::with_few_descriptors --nocapture"]);
    child.arg(std::env::current_exe()?).env("POSTRIDER_TEST_FEW_DESCRIPTORS", receiver.url("/ok"));
    assert!(child.status().await?.success());
    assert_eq!(receiver.requests().len(), 0);
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn with_few_descriptors() -> Result<(), Failed> {
    let Ok(url) = std::env::var("POSTRIDER_TEST_FEW_DESCRIPTORS") else { return Ok(()) };
    let transport = transport()?;
    let mut all = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        all.push(file);
    }
    let error = error_of(&transport, &url).await;
    assert!(matches!(error, TransportError::NotSent(_)), "{error:?}");
    assert!(words(&error).starts_with("this machine could not connect"), "{}", words(&error));
    Ok(())
}
