//! A request as it came.

use std::{fmt, fmt::Write, io, net::SocketAddr, time::Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// A request as it came: names in the case they had, bytes unchanged.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// Counted over all receivers of the process.
    pub connection: usize,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// When the last byte of it was there.
    pub at: Instant,
    /// `POST`
    pub method: String,
    /// Path and query as in the request line.
    pub target: String,
    /// `HTTP/1.1`
    pub version: String,
    /// As sent: order, case and repetition.
    pub headers: Vec<(String, String)>,
    /// Without the framing of a chunked body.
    pub body: Bytes,
}

impl ReceivedRequest {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of a header, if it is there exactly once. The name is compared in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.headers_named(name)[..] {
            [once] => Some(once),
            [] | [_, _, ..] => None,
        }
    }

    /// All values of a header, in order. The name is compared in any case.
    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(one, _)| one.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// `webhook-id`
    pub fn id(&self) -> Option<&str> {
        self.header("webhook-id")
    }

    /// SHA-256 of the body in hex.
    pub fn body_hash(&self) -> String {
        let mut hex = String::with_capacity(64);
        for byte in Sha256::digest(&self.body) {
            // Writing to a string does not fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }

    /// Tab-separated: `webhook-id` (or `-`), target, hash of the body, the first 80 bytes of the body, escaped.
    pub fn log_line(&self) -> String {
        format!("{}\t{}\t{}\t{}", self.id().unwrap_or("-"), self.target, self.body_hash(), self.prefix())
    }

    fn prefix(&self) -> String {
        self.body[..self.body.len().min(80)].escape_ascii().to_string()
    }

    /// Reads the head: everything before the empty line.
    pub(super) fn parse_head(head: &[u8], connection: usize, local: SocketAddr) -> io::Result<Self> {
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version @ ("HTTP/1.1" | "HTTP/1.0")), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(not_http());
        };
        let mut headers = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(not_http)?;
            headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        let (method, target, version) = (method.to_owned(), target.to_owned(), version.to_owned());
        Ok(Self { connection, local, at: Instant::now(), method, target, version, headers, body: Bytes::new() })
    }
}

pub(super) fn not_http() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an http/1.1 request")
}

impl fmt::Display for ReceivedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, prefix) = (self.id().unwrap_or("-"), self.prefix());
        write!(f, "{} {} on connection {}, webhook-id {id}, body {prefix}", self.method, self.target, self.connection)
    }
}
