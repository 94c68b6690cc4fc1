//! One connection: reads requests byte by byte as they came, and answers as told.

use std::{fmt::Write, io, net::SocketAddr, sync::Arc, time::Duration, time::Instant};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::server::TlsStream;

use super::{
    ReceivedRequest,
    behaviour::{Answer, Behaviour, Body},
    request::not_http,
    seen::Seen,
};

const HEAD_BYTES_MAX: usize = 256 << 10;
const BODY_BYTES_MAX: usize = 64 << 20;

pub(super) struct Connection<S> {
    stream: S,
    number: usize,
    local: SocketAddr,
    seen: Arc<Seen>,
    /// Read and not used yet.
    buffer: BytesMut,
}

/// A stream that can be reset.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

enum Next {
    Request,
    Close,
}

impl<S: Wire> Connection<S> {
    pub(super) fn new(stream: S, number: usize, local: SocketAddr, seen: Arc<Seen>) -> Self {
        Self { stream, number, local, seen, buffer: BytesMut::new() }
    }

    pub(super) async fn serve(mut self) -> io::Result<()> {
        loop {
            let request = match self.request().await {
                Ok(Some(request)) => Arc::new(request),
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return self.refuse().await,
                Err(error) => return Err(error),
            };
            let seen = Arc::clone(&self.seen);
            let _answering = seen.arrived(&request)?;
            let behaviour = Behaviour::of(&request.target, request.id(), &mut |script| seen.turn(script));
            match self.perform(behaviour).await? {
                Next::Request => {}
                Next::Close => return self.stream.shutdown().await,
            }
        }
    }

    async fn refuse(&mut self) -> io::Result<()> {
        self.seen.could_not_read(&self.buffer);
        self.stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
        self.stream.shutdown().await
    }

    /// The next request; none when the peer closed.
    async fn request(&mut self) -> io::Result<Option<ReceivedRequest>> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            // Anything but a method: no need to wait for a line that will not come.
            if self.buffer.first().is_some_and(|byte| !byte.is_ascii_uppercase()) || self.buffer.len() > HEAD_BYTES_MAX
            {
                return Err(not_http());
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        };
        let mut request = ReceivedRequest::parse_head(&self.buffer[..end], self.number, self.local)?;
        let _head = self.buffer.split_to(end + 4);
        request.body = match (request.header("transfer-encoding"), request.header("content-length")) {
            (Some("chunked"), None) => self.chunks().await?,
            (None, Some(length)) => self.exactly(length.parse().map_err(|_| not_http())?).await?,
            (None, None) => Bytes::new(),
            (Some(_), _) => return Err(not_http()),
        };
        request.at = Instant::now();
        Ok(Some(request))
    }

    async fn exactly(&mut self, bytes: usize) -> io::Result<Bytes> {
        if bytes > BODY_BYTES_MAX {
            return Err(not_http());
        }
        while self.buffer.len() < bytes {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.split_to(bytes).freeze())
    }

    async fn line(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(end) = self.buffer.windows(2).position(|bytes| bytes == b"\r\n") {
                break end;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let line = self.exactly(end + 2).await?;
        Ok(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    async fn chunks(&mut self) -> io::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let size = usize::from_str_radix(&self.line().await?, 16).map_err(|_| not_http())?;
            body.extend_from_slice(&self.exactly(size).await?);
            if !self.line().await?.is_empty() {
                return Err(not_http());
            }
            if size == 0 {
                return Ok(body.freeze());
            }
        }
    }

    async fn perform(&mut self, behaviour: Behaviour) -> io::Result<Next> {
        match behaviour {
            Behaviour::Answer(answer) => self.answer(answer).await,
            Behaviour::Raw(bytes) => {
                self.stream.write_all(&bytes).await?;
                Ok(Next::Close)
            }
            Behaviour::Flood(first, then) => {
                self.stream.write_all(first.as_bytes()).await?;
                let many = then.repeat(1024);
                loop {
                    self.stream.write_all(many.as_bytes()).await?;
                }
            }
            Behaviour::Hang => loop {
                self.peer_stays(Duration::from_secs(3600)).await?;
            },
            Behaviour::Reset => {
                self.stream.tcp().set_zero_linger()?;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Behaviour::Close => Ok(Next::Close),
        }
    }

    async fn answer(&mut self, answer: Answer) -> io::Result<Next> {
        self.peer_stays(answer.head_after).await?;
        let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        for (name, value) in &answer.headers {
            // Writing to a string does not fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let bodiless = matches!(answer.status, 100..200 | 204 | 304);
        let length = match &answer.body {
            Body::Whole(_) if bodiless => None,
            Body::Whole(bytes) | Body::Slow(bytes, _) => Some(bytes.len()),
            Body::Cut { of, .. } => Some(*of),
            Body::Endless => None,
        };
        if let Some(length) = length {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        head.push_str("\r\n");
        let mut first = head.into_bytes();
        match answer.body {
            Body::Whole(_) if bodiless => self.stream.write_all(&first).await?,
            Body::Whole(bytes) => {
                first.extend_from_slice(&bytes);
                self.stream.write_all(&first).await?;
            }
            Body::Slow(bytes, over) => {
                self.stream.write_all(&first).await?;
                for byte in &bytes {
                    self.peer_stays(over / u32::try_from(bytes.len()).unwrap_or(u32::MAX)).await?;
                    self.stream.write_all(&[*byte]).await?;
                }
            }
            Body::Cut { bytes, .. } => {
                first.extend(std::iter::repeat_n(b'x', bytes));
                self.stream.write_all(&first).await?;
                return Ok(Next::Close);
            }
            Body::Endless => {
                self.stream.write_all(&first).await?;
                loop {
                    self.stream.write_all(&[b'x'; 8192]).await?;
                }
            }
        }
        Ok(if answer.then_close { Next::Close } else { Next::Request })
    }

    /// Waits this long, or fails as soon as the peer is gone.
    async fn peer_stays(&mut self, time: Duration) -> io::Result<()> {
        if time.is_zero() {
            return Ok(());
        }
        let gone = async {
            while self.stream.read_buf(&mut self.buffer).await? > 0 {}
            Err(io::ErrorKind::UnexpectedEof.into())
        };
        tokio::select! {
            gone = gone => gone,
            () = sleep(time) => Ok(()),
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200..300 => "OK",
        300..400 => "Elsewhere",
        400..500 => "Your Fault",
        500..600 => "My Fault",
        _ => "Unheard Of",
    }
}
