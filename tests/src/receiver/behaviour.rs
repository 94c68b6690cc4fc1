//! What a path makes the receiver do.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use url::form_urlencoded;

/// What a request is answered with. The first segment of the path chooses; whatever follows it is free.
///
/// | path | what happens |
/// |---|---|
/// | `/ok` | 200, `?body=` |
/// | `/201`, `/429` … | that status, `?body=`; no body and no length with 1xx, 204 and 304 |
/// | `/html` | 200 with a page instead of JSON |
/// | `/gzip` | 200, a gzip body whether it was offered or not |
/// | `/redirect?to=&status=` | `Location` with that status (302) |
/// | `/retry-after?value=&status=` | the header as given, once for each `value`; `date=-60` is the HTTP date 60 s ago; status 503 |
/// | `/big-body?bytes=` | 200 with so many bytes |
/// | `/endless-body` | 200, and bytes until the peer closes |
/// | `/slow-body?seconds=` | 200 at once, its 10 bytes spread over that time |
/// | `/cut-body?bytes=&of=` | 200 with length `of` (100), closed after `bytes` (10) |
/// | `/slow-head?seconds=&status=` | nothing for that time, then that status (200) |
/// | `/hang` | nothing, until the peer closes |
/// | `/reset` | the connection is reset once the request is there |
/// | `/early-close` | the connection is closed once the request is there |
/// | `/close` | 200, and closed without having said so |
/// | `/not-http` | a greeting of another protocol |
/// | `/status-line-garbage` | `HTTP/1.1 abc` |
/// | `/http09` | a page without any head |
/// | `/early-hints` | 103 first, then 200 |
/// | `/flood?of=` | without end: `hints` (103), `headers`, one `header`, `trailers`, a chunk's `extension` |
/// | `/big-head?bytes=` | 200 with a header of so many bytes |
/// | `/flap?ok=&fail=&first=&status=` | `ok` (1) successes, `fail` (1) failures with status (503), and again; `first=fail` begins with these |
/// | `/script?do=/429&do=/ok&per=` | one after the other, the last one for ever; counted by target, or by `per=id` for each `webhook-id` |
/// | anything else | 404 |
///
/// Everywhere: `header=Name: value` adds a header to the answer, more than once if wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers, and keeps the connection unless said otherwise.
    Answer(Answer),
    /// Writes these bytes and closes.
    Raw(Bytes),
    /// Writes the first of these, and then the second without end.
    Flood(&'static str, &'static str),
    /// Never answers.
    Hang,
    /// Resets the connection.
    Reset,
    /// Closes the connection.
    Close,
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Before anything is written.
    pub head_after: Duration,
    /// The code.
    pub status: u16,
    /// Besides the length.
    pub headers: Vec<(String, String)>,
    /// What follows the head.
    pub body: Body,
    /// Whether another request is waited for.
    pub then_close: bool,
}

/// What follows the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// All of it at once.
    Whole(Bytes),
    /// A byte at a time, all of them over this time.
    Slow(Bytes, Duration),
    /// `bytes` of the length that was announced.
    Cut {
        /// Sent.
        bytes: usize,
        /// Announced.
        of: usize,
    },
    /// Without end.
    Endless,
}

const GZIP: [u8; 36] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xab, 0x56, 0xca, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xb2,
    0x52, 0x4a, 0xaf, 0xca, 0x2c, 0x50, 0xaa, 0x05, 0x00, 0xf6, 0x4f, 0x05, 0x6f, 0x10, 0x00, 0x00, 0x00,
];

impl Behaviour {
    /// What `target` says. `turn` tells how often its argument, the name of a counter, was asked for before.
    pub fn of(target: &str, id: Option<&str>, turn: &mut dyn FnMut(String) -> usize) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = Query(form_urlencoded::parse(query.as_bytes()).into_owned().collect());
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let mut behaviour = match first {
            "ok" => Self::status(200, &query),
            "html" => Self::answer(200, "<!doctype html><p>hello</p>").header("content-type", "text/html"),
            "gzip" => Self::answer(200, GZIP.to_vec()).header("content-encoding", "gzip"),
            "redirect" => Self::answer(query.status(302), "").header("location", query.get("to").unwrap_or("/ok")),
            "retry-after" => Self::retry_after(&query),
            "big-body" => Self::answer(200, vec![b'x'; query.number("bytes", 1 << 20)]),
            "endless-body" => Self::body(Body::Endless),
            "slow-body" => Self::body(Body::Slow(Bytes::from_static(b"0123456789"), query.seconds())),
            "cut-body" => Self::body(Body::Cut { bytes: query.number("bytes", 10), of: query.number("of", 100) }),
            "slow-head" => Self::status(query.status(200), &query).after(query.seconds()),
            "hang" => Self::Hang,
            "reset" => Self::Reset,
            "early-close" => Self::Close,
            "close" => Self::status(200, &query).then_close(),
            "not-http" => Self::Raw(Bytes::from_static(b"SSH-2.0-OpenSSH_9.6\r\n")),
            "status-line-garbage" => Self::Raw(Bytes::from_static(b"HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n")),
            "http09" => Self::Raw(Bytes::from_static(b"<html><p>hello</p></html>\n")),
            "early-hints" => Self::Raw(Bytes::from_static(
                b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            )),
            "flood" => Self::flood(query.get("of").unwrap_or_default()),
            "big-head" => Self::answer(200, "").header("x-big", &"x".repeat(query.number("bytes", 1 << 20))),
            "flap" => Self::flap(&query, turn(target.to_owned())),
            "script" => return Self::script(target, &query, id, turn),
            code => match code.parse() {
                Ok(status @ 100..=999) => Self::status(status, &query),
                Ok(_) | Err(_) => Self::answer(404, "no such path at this receiver"),
            },
        };
        for added in query.all("header") {
            let (name, value) = added.split_once(':').unwrap_or((added, ""));
            behaviour = behaviour.header(name.trim(), value.trim());
        }
        behaviour
    }

    fn script(target: &str, query: &Query, id: Option<&str>, turn: &mut dyn FnMut(String) -> usize) -> Self {
        let counter = match query.get("per") {
            Some("id") => format!("{target} {}", id.unwrap_or("-")),
            Some(_) | None => target.to_owned(),
        };
        let steps: Vec<_> = query.all("do").collect();
        let step = steps.get(turn(counter)).or(steps.last()).copied().unwrap_or("/ok");
        Self::of(step, id, turn)
    }

    fn flood(of: &str) -> Self {
        const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n";
        match of {
            "headers" => Self::Flood("HTTP/1.1 200 OK\r\n", "a: b\r\n"),
            "header" => Self::Flood("HTTP/1.1 200 OK\r\na: ", "b"),
            "trailers" => Self::Flood(CHUNKED, "a: b\r\n"),
            "extension" => Self::Flood("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", "a"),
            _hints => Self::Flood("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        }
    }

    fn flap(query: &Query, turn: usize) -> Self {
        let (ok, fail) = (query.number("ok", 1), query.number("fail", 1));
        let place = turn % (ok + fail).max(1);
        let succeeds = if query.get("first") == Some("fail") { place >= fail } else { place < ok };
        Self::status(if succeeds { 200 } else { query.status(503) }, query)
    }

    fn retry_after(query: &Query) -> Self {
        let mut behaviour = Self::status(query.status(503), query);
        for value in query.all("value") {
            behaviour = behaviour.header("retry-after", value);
        }
        for offset in query.all("date").filter_map(|offset| offset.parse::<i64>().ok()) {
            let (now, by) = (SystemTime::now(), Duration::from_secs(offset.unsigned_abs()));
            let date = if offset < 0 { now - by } else { now + by };
            behaviour = behaviour.header("retry-after", &httpdate::fmt_http_date(date));
        }
        behaviour
    }

    fn status(status: u16, query: &Query) -> Self {
        Self::answer(status, query.get("body").unwrap_or_default().to_owned())
    }

    fn answer(status: u16, body: impl Into<Bytes>) -> Self {
        let body = Body::Whole(body.into());
        Self::Answer(Answer { head_after: Duration::ZERO, status, headers: Vec::new(), body, then_close: false })
    }

    fn body(body: Body) -> Self {
        Self::answer(200, "").change(|answer| answer.body = body)
    }

    fn header(self, name: &str, value: &str) -> Self {
        self.change(|answer| answer.headers.push((name.to_owned(), value.to_owned())))
    }

    fn after(self, head_after: Duration) -> Self {
        self.change(|answer| answer.head_after = head_after)
    }

    fn then_close(self) -> Self {
        self.change(|answer| answer.then_close = true)
    }

    fn change(mut self, change: impl FnOnce(&mut Answer)) -> Self {
        match &mut self {
            Self::Answer(answer) => change(answer),
            Self::Raw(_) | Self::Flood(..) | Self::Hang | Self::Reset | Self::Close => {}
        }
        self
    }
}

struct Query(Vec<(String, String)>);

impl Query {
    fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn get<'q>(&'q self, name: &'q str) -> Option<&'q str> {
        self.all(name).next()
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn status(&self, default: u16) -> u16 {
        self.get("status").and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn seconds(&self) -> Duration {
        let seconds = self.get("seconds").and_then(|value| value.parse().ok()).unwrap_or(1.0);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests;
