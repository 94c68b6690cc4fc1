//! Real connections over loopback; where somebody waits, time is paused and passes at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{body::Body, http::Version, routing::get};
use http_body_util::BodyExt;
use hyper::{Request, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::{connection::FIRST_BYTES_MAX, *};

mod encrypted;

type Failed = Box<dyn std::error::Error>;

const PATIENCE: Duration = Duration::from_secs(20);
/// More than all that lies between takes up by itself.
const LARGE_BYTES: usize = 64 << 20;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test]
async fn one_port_speaks_both_versions() -> Result<(), Failed> {
    let server = Server::start(None).await?;
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut client = Client::over(server.connect().await?, version).await?;
        for _ in 0..2 {
            assert_eq!(client.get("/version").await?, format!("{version:?}"));
        }
    }
    server.stop().await
}

#[tokio::test]
async fn a_request_that_runs_is_answered_before_the_end() -> Result<(), Failed> {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let server = Server::start(None).await?;
        let mut client = Client::over(server.connect().await?, version).await?;
        let idle = Client::over(server.connect().await?, version).await?;
        let asked = tokio::spawn(async move { client.get("/slow").await.map_err(|error| error.to_string()) });
        timeout(PATIENCE, server.begun.notified()).await?;
        drop(server.stop);
        timeout(PATIENCE, async { while TcpStream::connect(server.address).await.is_ok() {} }).await?;
        server.go_on.notify_one();
        assert_eq!(timeout(PATIENCE, asked).await???, "done", "{version:?}");
        timeout(PATIENCE, server.task).await???;
        drop(idle);
    }
    Ok(())
}

/// Whoever opens connections and says nothing, or half of something, takes places from others for a while only.
#[tokio::test(start_paused = true)]
async fn a_client_that_stands_still_is_let_go() -> Result<(), Failed> {
    let idle_http2 = [PREFACE, EMPTY_SETTINGS].concat();
    for said in [b"".as_slice(), &PREFACE[..9], PREFACE, &idle_http2, b"GET / HTTP/1.1\r\nHost", b"GE"] {
        let server = Server::start(None).await?;
        let mut silent = server.connect().await?;
        silent.write_all(said).await?;
        let mut other = Client::over(server.connect().await?, Version::HTTP_2).await?;
        assert_eq!(other.get("/version").await?, "HTTP/2.0");
        // Without a byte it has less time than with half of something.
        let within = Duration::from_secs(if said.is_empty() { 11 } else { 100 });
        timeout(within, read_to_end(&mut silent)).await?;
        server.stop().await?;
    }
    Ok(())
}

/// Ten thousand connections without a byte kept everybody else out, for as long as they liked.
#[tokio::test]
async fn connections_that_say_nothing_keep_none_out() -> Result<(), Failed> {
    let server = Server::start_in(Places { in_all: 3, of_address: 100 }, None).await?;
    let mut used = Client::over(server.connect().await?, Version::HTTP_11).await?;
    assert_eq!(used.get("/version").await?, "HTTP/1.1");
    // Silent from the start, and after half of a request, which has more time as long as there is room.
    let (mut silent, mut half) = (server.connect().await?, server.connect().await?);
    half.write_all(b"GET / HTTP/1.1\r\nHost").await?;
    let mut others = Vec::new();
    for number in 0..10 {
        let mut client = Client::over(server.connect().await?, Version::HTTP_11).await?;
        let answer = timeout(PATIENCE, client.get("/version")).await;
        assert_eq!(answer.map_err(|_| format!("{number} waits"))??, "HTTP/1.1");
        others.push(client);
    }
    for gone in [&mut silent, &mut half] {
        timeout(PATIENCE, read_to_end(gone)).await?;
    }
    server.stop().await
}

/// Three times as much was kept of a head that did not end, for each of ten thousand connections that nobody had to have a
/// token for.
#[tokio::test]
async fn a_head_without_end_is_read_as_far_as_any_may_go() -> Result<(), Failed> {
    let server = Server::start(None).await?;
    let mut endless = server.connect().await?;
    let field = format!("x: {}\r\n", "v".repeat(4_000));
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", field.repeat(FIRST_BYTES_MAX / field.len() + 2));
    // It may be cut off while it writes.
    let _written = endless.write_all(head.as_bytes()).await;
    timeout(PATIENCE, read_to_end(&mut endless)).await?;
    let mut other = Client::over(server.connect().await?, Version::HTTP_11).await?;
    assert_eq!(other.get("/version").await?, "HTTP/1.1");
    server.stop().await
}

/// Of two hosts a proxy may have taken the one, and we the other.
#[tokio::test]
async fn a_request_names_one_host() -> Result<(), Failed> {
    let server = Server::start(None).await?;
    for (head, status) in [
        ("GET /version HTTP/1.1\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: a\r\nhost: a\r\n", 400),
        ("GET /version HTTP/1.1\r\nHost: a\r\n", 200),
        ("GET /version HTTP/1.0\r\n", 200),
        ("GET /version HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
    ] {
        let mut stream = server.connect().await?;
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await??;
        assert!(answer.split(' ').nth(1) == Some(&status.to_string()), "{head:?}: {answer}");
        if status == 400 {
            assert!(answer.contains("one Host header"), "{answer}");
            for guard in ["cache-control: no-store", "x-content-type-options: nosniff", "x-frame-options: DENY"] {
                assert!(answer.contains(guard), "{guard}: {answer}");
            }
        }
    }
    server.stop().await
}

/// A client asked for a long answer and read nothing: the answer lay in memory for eleven minutes, and for ever once the place of
/// its connection was needed.
#[tokio::test]
async fn an_answer_that_is_not_taken_is_dropped() -> Result<(), Failed> {
    let server = Server::start(None).await?;
    let mut silent = server.connect().await?;
    silent.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let mut taker = Client::over(server.connect().await?, Version::HTTP_11).await?;
    assert_eq!(taker.get("/large").await?.len(), LARGE_BYTES, "who takes it gets all of it");
    let mut other = Client::over(server.connect().await?, Version::HTTP_2).await?;
    assert_eq!(other.get("/large").await?.len(), LARGE_BYTES);
    tokio::time::pause();
    sleep(Duration::from_secs(300)).await;
    let mut taken = Vec::new();
    // Closed or reset: either is an end.
    let _how = silent.read_to_end(&mut taken).await;
    assert!(taken.len() < LARGE_BYTES, "{} bytes were kept for it", taken.len());
    drop((taker, other));
    server.stop().await
}

#[tokio::test(start_paused = true)]
async fn a_request_may_run_for_longer_than_a_connection_may_be_silent() -> Result<(), Failed> {
    let server = Server::start(None).await?;
    let mut client = Client::over(server.connect().await?, Version::HTTP_11).await?;
    assert_eq!(client.get("/hour").await?, "an hour later");
    server.stop().await
}

#[tokio::test(start_paused = true)]
async fn silence_begins_when_the_last_request_has_ended() -> Result<(), Failed> {
    let (count, watched) = watch::channel(0);
    let began = tokio::time::Instant::now();
    let silent = tokio::spawn(connection::silence(watched));
    let (first, second) = (connection::Running::new(count.clone()), connection::Running::new(count.clone()));
    sleep(Duration::from_secs(3600)).await;
    drop(first);
    sleep(Duration::from_secs(3600)).await;
    drop(second);
    sleep(Duration::from_secs(59)).await;
    // One that is over before anybody looks counts, too.
    drop(connection::Running::new(count.clone()));
    silent.await?;
    assert_eq!(began.elapsed().as_secs(), 2 * 3600 + 59 + 60);
    drop(count);
    Ok(())
}

#[tokio::test]
async fn an_http2_client_has_a_bounded_number_of_requests_at_once() -> Result<(), Failed> {
    let server = Server::start(None).await?;
    let client = Client::over(server.connect().await?, Version::HTTP_2).await?;
    let mut asked = JoinSet::new();
    for _ in 0..150 {
        let mut client = client.clone();
        asked.spawn(async move { client.get("/counted").await.map_err(|error| error.to_string()) });
    }
    timeout(PATIENCE, async {
        while server.counted.load(Ordering::SeqCst) < 100 {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    server.go_on.notify_waiters();
    // The first hundred are gone, or there would be no place for these.
    timeout(PATIENCE, async {
        while server.counted.load(Ordering::SeqCst) < 150 {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    server.go_on.notify_waiters();
    while let Some(answer) = asked.join_next().await {
        let running: usize = answer??.parse()?;
        assert!(running <= 100, "{running} at once");
    }
    server.stop().await
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) {
    // Closed or reset: either is an end.
    let _how = stream.read_to_end(&mut Vec::new()).await;
}

struct Server {
    address: SocketAddr,
    /// `/slow` has begun, and may end.
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
    /// Requests of `/counted` that have begun.
    counted: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(tls: Option<Tls>) -> Result<Self, Failed> {
        Self::start_in(PLACES, tls).await
    }

    async fn start_in(places: Places, tls: Option<Tls>) -> Result<Self, Failed> {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        let address = tcp.local_addr()?;
        let (begun, go_on, counted) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let slow = {
            let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
            async move || {
                begun.notify_one();
                go_on.notified().await;
                "done"
            }
        };
        let running = Arc::new(AtomicUsize::new(0));
        let count = {
            let (go_on, counted) = (Arc::clone(&go_on), Arc::clone(&counted));
            async move || {
                let go_on = go_on.notified();
                let most = running.fetch_add(1, Ordering::SeqCst) + 1;
                counted.fetch_add(1, Ordering::SeqCst);
                go_on.await;
                running.fetch_sub(1, Ordering::SeqCst);
                most.to_string()
            }
        };
        let hour = async || {
            sleep(Duration::from_secs(3600)).await;
            "an hour later"
        };
        let router = Router::new()
            .route("/version", get(async |version: Version| format!("{version:?}")))
            .route("/slow", get(slow))
            .route("/counted", get(count))
            .route("/hour", get(hour))
            .route("/large", get(async || "x".repeat(LARGE_BYTES)));
        let (stop, stopped) = oneshot::channel::<()>();
        let served = serve_in(places, Listener { tcp, tls }, router, async { drop(stopped.await) });
        Ok(Self { address, begun, go_on, counted, stop, task: tokio::spawn(served) })
    }

    async fn connect(&self) -> Result<TcpStream, Failed> {
        Ok(TcpStream::connect(self.address).await?)
    }

    async fn stop(self) -> Result<(), Failed> {
        drop(self.stop);
        Ok(timeout(PATIENCE, self.task).await???)
    }
}

#[derive(Clone)]
enum Client {
    One(Arc<tokio::sync::Mutex<conn::http1::SendRequest<Body>>>),
    Two(conn::http2::SendRequest<Body>),
}

impl Client {
    async fn over(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, version: Version) -> Result<Self, Failed> {
        if version == Version::HTTP_2 {
            let (client, connection) = conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
            tokio::spawn(connection);
            return Ok(Self::Two(client));
        }
        let (client, connection) = conn::http1::handshake(TokioIo::new(io)).await?;
        tokio::spawn(connection);
        Ok(Self::One(Arc::new(client.into())))
    }

    async fn get(&mut self, path: &str) -> Result<String, Failed> {
        let request = Request::builder().uri(format!("http://localhost{path}")).header("host", "localhost");
        let request = request.body(Body::empty())?;
        let response = match self {
            Self::One(client) => client.lock().await.send_request(request).await?,
            Self::Two(client) => {
                client.ready().await?;
                client.send_request(request).await?
            }
        };
        let bytes = response.into_body().collect().await?.to_bytes();
        Ok(String::from_utf8(bytes.to_vec())?)
    }
}
