//! A receiver of webhooks that remembers what it got, and answers as it is told to.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{Failed, check::until};

#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Known {
    received: Vec<(String, Received)>,
    failing: BTreeSet<String>,
}

#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    known: Arc<Mutex<Known>>,
}

impl Receiver {
    pub fn start() -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let receiver = Self { address: listener.local_addr()?, known: Arc::default() };
        let known = Arc::clone(&receiver.known);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let known = Arc::clone(&known);
                thread::spawn(move || serve(connection, &known));
            }
        });
        Ok(receiver)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn fail(&self, path: &str, fails: bool) {
        let mut known = self.known.lock().expect("nobody panics with it");
        if fails {
            known.failing.insert(path.to_owned());
        } else {
            known.failing.remove(path);
        }
    }

    /// What came to this path, once it is so much.
    pub async fn wait_for(&self, path: &str, count: usize) -> Result<Vec<Received>, Failed> {
        let here = async || {
            let known = self.known.lock().expect("nobody panics with it");
            Ok(known.received.iter().filter(|(at, _)| at == path).map(|(_, one)| one.clone()).collect::<Vec<_>>())
        };
        until(&format!("{count} requests to {path}"), here, |found| found.len() >= count).await
    }
}

/// Requests of one connection, until it is closed.
fn serve(connection: TcpStream, known: &Mutex<Known>) -> Option<()> {
    let mut reader = BufReader::new(connection);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = HeaderMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?);
        }
        let length = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let fails = {
            let mut known = known.lock().expect("nobody panics with it");
            let fails = known.failing.contains(&path);
            known.received.push((path, Received { headers, body }));
            fails
        };
        let (status, text) = if fails { ("500 No", "not today") } else { ("200 OK", "thank you") };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}
