//! How a URL becomes a request line and a host.

use postrider_tests::Receiver;

use crate::{Failed, post, transport};

async fn sent(path: &str) -> Result<String, Failed> {
    let receiver = Receiver::start().await?;
    post(&transport()?, &receiver.url(path)).await?;
    Ok(receiver.requests()[0].target.clone())
}

// Row 41.
#[tokio::test]
async fn escapes_in_the_query_are_kept() -> Result<(), Failed> {
    assert_eq!(sent("/ok?token=%22abc%22&u=%7B1%7D").await?, "/ok?token=%22abc%22&u=%7B1%7D");
    Ok(())
}

// Row 42.
#[tokio::test]
async fn a_blank_in_the_path_is_escaped_once() -> Result<(), Failed> {
    assert_eq!(sent("/ok/my endpoint").await?, "/ok/my%20endpoint");
    assert_eq!(sent("/ok/my%20endpoint").await?, "/ok/my%20endpoint");
    Ok(())
}

// Row 48.
#[tokio::test]
async fn the_host_has_a_port_when_it_is_not_the_default() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    post(&transport()?, &receiver.url("/ok")).await?;
    assert_eq!(receiver.requests()[0].headers_named("host"), [receiver.address().to_string()]);
    Ok(())
}

// Row 48: needs leave to bind port 80, which containers have.
#[tokio::test]
async fn the_host_has_no_port_when_it_is_the_default() -> Result<(), Failed> {
    let receiver = match Receiver::builder().bind(([127, 0, 0, 1], 80).into()).start().await {
        Ok(receiver) => receiver,
        Err(error) => {
            eprintln!("not tested: port 80 cannot be bound here ({error})");
            return Ok(());
        }
    };
    let transport = transport()?;
    post(&transport, "http://127.0.0.1/ok").await?;
    post(&transport, "http://127.0.0.1:80/ok").await?;
    for request in receiver.requests() {
        assert_eq!(request.headers_named("host"), ["127.0.0.1"]);
    }
    Ok(())
}

// Row 50, its last example.
#[tokio::test]
async fn scheme_and_host_may_be_in_upper_case() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    post(&transport()?, &receiver.url_as("LOCALHOST", "/ok").replace("http", "HTTP")).await?;
    assert_eq!(receiver.requests()[0].header("host"), Some(&*format!("localhost:{}", receiver.address().port())));
    Ok(())
}

// Row 51.
#[tokio::test]
async fn a_fragment_is_not_sent() -> Result<(), Failed> {
    assert_eq!(sent("/ok?x=1#frag").await?, "/ok?x=1");
    Ok(())
}

#[tokio::test]
async fn credentials_in_the_url_become_a_header_and_are_not_in_the_request_line() -> Result<(), Failed> {
    let receiver = Receiver::start().await?;
    let url = receiver.url("/ok").replace("http://", "http://us%40er:pa%3Ass@");
    post(&transport()?, &url).await?;
    let requests = receiver.requests();
    assert_eq!(requests[0].target, "/ok");
    assert_eq!(requests[0].headers_named("authorization"), ["Basic dXNAZXI6cGE6c3M="]);
    assert_eq!(requests[0].header("host"), Some(&*receiver.address().to_string()));
    Ok(())
}

#[tokio::test]
async fn an_empty_path_is_sent_as_a_slash() -> Result<(), Failed> {
    assert_eq!(sent("").await?, "/");
    Ok(())
}
