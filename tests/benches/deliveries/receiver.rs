//! The other side, in a process of its own: answers every request with 200, as cheaply as it can.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::Failed;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// This program in another process and role. Ends with its owner.
pub(crate) struct Other {
    child: Child,
    /// What it had to say first.
    pub(crate) first_line: String,
}

impl Other {
    pub(crate) fn start(role: &[&str]) -> Result<Self, Failed> {
        let mut child = Command::new(std::env::current_exe()?).args(role).stdout(Stdio::piped()).spawn()?;
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().ok_or("it has a standard output")?).read_line(&mut first_line)?;
        Ok(Self { child, first_line: first_line.trim().to_owned() })
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

/// Prints its port, then answers until it is killed.
pub(crate) fn run() -> Result<(), Failed> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        crate::raise_open_files();
        let listener = TcpListener::bind("0.0.0.0:0").await?;
        println!("{}", listener.local_addr()?.port());
        std::io::stdout().flush()?;
        loop {
            let (connection, _) = listener.accept().await?;
            tokio::spawn(async move {
                let _closed = answer(connection).await;
            });
        }
    })
}

async fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut came = Vec::with_capacity(8 << 10);
    loop {
        if connection.read_buf(&mut came).await? == 0 {
            return Ok(());
        }
        while let Some(length) = whole_request(&came) {
            came.drain(..length);
            connection.write_all(ANSWER).await?;
        }
    }
}

/// Bytes of the request that it begins with, once all of it is there.
fn whole_request(came: &[u8]) -> Option<usize> {
    let head = came.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(&came[..head]).ok()?;
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"))?;
    let body: usize = std::str::from_utf8(length.value).ok()?.parse().ok()?;
    (came.len() >= head + body).then_some(head + body)
}
