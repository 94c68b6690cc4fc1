//! A daemon of one's own out of the library's parts: store, transport, engine, and the REST API on a listener.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postrider::{Engine, OrganisationId, TargetRules, Timestamp, storage::Fjall};
use postrider_adapters::{api, http::HttpTransport, token::TokenKey};
use postrider_examples::receiver;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // In this order, and stopped in reverse.
    let folder = tempfile::tempdir()?;
    let transport = HttpTransport::new(TargetRules::dev())?;
    let builder = Engine::builder(Fjall::at(folder.path().join("data")), transport).targets(TargetRules::dev());
    let engine = builder.start().await?;
    let key = TokenKey::new("at least 32 bytes, kept out of the code")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let router = api::router(engine.clone(), key.clone());
    let serving = tokio::spawn(api::serve(listener, router, async { drop(stopped.await) }));
    println!("listening on http://{address}");

    // A client. Any HTTP library will do, and so will an SDK that speaks this protocol.
    let (url, mut arrivals) = receiver([]).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let now = Timestamp::from_nanos(u64::try_from(now.as_nanos())?);
    let token = key.issue_organisation(OrganisationId::DEFAULT, now)?;
    for (path, body) in [
        ("/app", r#"{"name": "Acme Ltd", "uid": "acme"}"#.to_owned()),
        ("/app/acme/endpoint", format!(r#"{{"url": "{url}"}}"#)),
        ("/app/acme/msg", r#"{"eventType": "invoice.paid", "payload": {"invoice": 7}}"#.to_owned()),
    ] {
        let answer = post(&address.to_string(), path, &token, &body).await?;
        println!("POST {path}: {}", answer.lines().next().unwrap_or_default());
    }
    tokio::time::timeout(Duration::from_secs(10), arrivals.recv()).await?.ok_or("the receiver ended")?;

    drop(stop);
    serving.await??;
    engine.shutdown(Duration::from_secs(30)).await;
    Ok(())
}

async fn post(address: &str, path: &str, token: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST /api/v1{path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
