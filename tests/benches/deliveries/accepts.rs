//! Accepts over HTTP: one event a request, answered once it is durable.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use postrider::{
    ApplicationSpec, EndpointSpec, Engine, OrganisationId, Timestamp,
    storage::{Fjall, testing::InTempDir},
    testing::NullTransport,
};
use postrider_adapters::{api, token::TokenKey};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    Failed,
    measure::{Measured, Watch},
    receiver::Other,
};

const CONNECTIONS: usize = 64;

/// A run, in words.
pub(crate) struct Accepts {
    bytes: usize,
    measured: Measured,
}

impl fmt::Display for Accepts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, measured: Measured { rate, cpu } } = self;
        write!(
            f,
            "{rate:>9.0} accepts/s, {:.1} CPU µs each in the server, bodies of {bytes} bytes",
            cpu.as_secs_f64() * 1e6
        )
    }
}

pub(crate) async fn run(events: usize) -> Result<Accepts, Failed> {
    let engine = Engine::builder(InTempDir::new(|path| Fjall::at(path)), NullTransport::new()).start().await?;
    let key = TokenKey::new("a secret of the bench, which signs nothing else")?;
    let now = Timestamp::from_nanos(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos())?);
    let token = key.issue_organisation(OrganisationId::DEFAULT, now)?;
    engine.applications().upsert("bench", ApplicationSpec::new("Bench")).await?;
    engine.endpoints("bench").create(EndpointSpec::new("https://example.com/hook")).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let server = tokio::spawn(axum::serve(listener, api::router(engine.clone(), key)).into_future());
    let watch = Watch::start();
    let publisher = tokio::task::spawn_blocking(move || {
        Other::start(&["publish", &address, &token, &events.to_string()]).map(|other| other.first_line.clone())
    });
    let accepted: usize = publisher.await??.parse()?;
    let measured = watch.measured(accepted);
    server.abort();
    engine.shutdown(Duration::from_secs(10)).await;
    if accepted != events {
        return Err(format!("{accepted} of {events} events were accepted").into());
    }
    Ok(Accepts { bytes: body().len(), measured })
}

fn body() -> String {
    format!(r#"{{"eventType":"bench.accepted","payload":{{"text":"{}"}}}}"#, "x".repeat(960))
}

/// In a process of its own: prints how many were accepted.
pub(crate) fn publish(address: SocketAddr, token: &str, events: usize) -> Result<(), Failed> {
    let body = body();
    let request = format!(
        "POST /api/v1/app/bench/msg HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (request, next) = (Arc::<[u8]>::from(request.into_bytes()), Arc::new(AtomicUsize::new(0)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let accepted = runtime.block_on(async {
        let publishers: Vec<_> = (0..CONNECTIONS)
            .map(|_| tokio::spawn(connection(address, Arc::clone(&request), Arc::clone(&next), events)))
            .collect();
        let mut accepted = 0;
        for publisher in publishers {
            accepted += publisher.await??;
        }
        Ok::<usize, Failed>(accepted)
    })?;
    println!("{accepted}");
    Ok(())
}

async fn connection(
    address: SocketAddr,
    request: Arc<[u8]>,
    next: Arc<AtomicUsize>,
    events: usize,
) -> Result<usize, Failed> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut accepted, mut answer) = (0, Vec::with_capacity(4 << 10));
    while next.fetch_add(1, Ordering::Relaxed) < events {
        stream.write_all(&request).await?;
        answer.clear();
        while !is_whole(&answer) {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err("the connection was closed before an answer came".into());
            }
        }
        accepted += usize::from(answer.starts_with(b"HTTP/1.1 202 "));
    }
    Ok(accepted)
}

fn is_whole(answer: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(answer) else { return false };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    answer.len() >= head + length.unwrap_or_default()
}
