//! Header names in the case in which they were given.
//!
//! Names are case-insensitive (RFC 9110, section 5.1), and a `HeaderMap` holds them in lower case; some receivers look for
//! one spelling all the same. hyper writes names as they came with the request that is sent on, for proxies, and takes
//! its note of them from nowhere else. So a request with these names goes once through its parser, in memory, and that
//! note goes along with every request to come.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Extensions, Request, Response};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

/// Different sets of names that are remembered; then all are forgotten, and noted again as they come.
const SETS_MAX: usize = 4096;
/// What the parser's answer takes.
const ANSWER_BYTES: usize = 1024;

/// What hyper noted of each set of names.
#[derive(Default)]
pub(super) struct NameCases(Mutex<HashMap<Box<[Box<str>]>, Extensions>>);

impl NameCases {
    /// What to send along with a request whose headers have these names. Nothing, if they are none that hyper takes: they
    /// then go out in lower case.
    pub(super) async fn of(&self, names: &[Box<str>]) -> Extensions {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(noted) = known().get(names) {
            return noted.clone();
        }
        let noted = noted(names).await;
        let mut known = known();
        if known.len() >= SETS_MAX {
            known.clear();
        }
        known.insert(names.into(), noted.clone());
        noted
    }
}

async fn noted(names: &[Box<str>]) -> Extensions {
    let head: String = names.iter().map(|name| format!("{name}: 1\r\n")).collect();
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{head}\r\n");
    let (mut ours, parsers) = tokio::io::duplex(head.len() + ANSWER_BYTES);
    if ours.write_all(head.as_bytes()).await.is_err() {
        return Extensions::new();
    }
    let noted = Arc::new(Mutex::new(Extensions::new()));
    let note = Arc::clone(&noted);
    let service = service_fn(move |request: Request<Incoming>| {
        *note.lock().unwrap_or_else(PoisonError::into_inner) = request.into_parts().0.extensions;
        std::future::ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let connection = http1::Builder::new().preserve_header_case(true).serve_connection(TokioIo::new(parsers), service);
    // An error says that these are no names, and nothing was noted.
    let _ended = connection.await;
    noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Without the names: they are somebody's own.
impl fmt::Debug for NameCases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameCases").finish_non_exhaustive()
    }
}
