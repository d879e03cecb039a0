//! Requests as bytes over a socket, so that every header can be wrong; answers as they come.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// One request; `host` and everything else is what the test says.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// One whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Call {
    /// One that names this host.
    pub fn new(method: &str, target: &str) -> Call {
        Call { method: method.into(), target: target.into(), headers: Vec::new(), body: Vec::new() }
            .with("host", "localhost")
    }

    /// With a header more.
    pub fn with(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With that header alone instead of those of the same name.
    pub fn instead(mut self, name: &str, value: &str) -> Call {
        self.headers.retain(|(there, _)| there != name);
        self.with(name, value)
    }

    /// With a JSON body and the token.
    pub fn asking(self, token: &str, body: &str) -> Call {
        let mut call = self.with("authorization", &format!("Bearer {token}")).with("content-type", "application/json");
        call.body = body.as_bytes().to_vec();
        call
    }

    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let measured = self.headers.iter().any(|(name, _)| name == "transfer-encoding");
        if !measured && (!self.body.is_empty() || self.method == "POST") {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// Sends it on a connection of its own and reads the whole answer.
    pub async fn send(&self, to: SocketAddr) -> Answer {
        let mut open = self.clone().with("connection", "close").open(to).await;
        let mut body = Vec::new();
        if open.is_chunked() {
            while let Some(chunk) = open.chunk().await {
                body.extend(chunk);
            }
        } else {
            open.stream.read_to_end(&mut body).await.expect("a body");
        }
        Answer { status: open.status, headers: open.headers, body }
    }

    /// Sends it and reads the head of the answer.
    pub async fn open(&self, to: SocketAddr) -> Open {
        self.open_on(TcpStream::connect(to).await.expect("a connection")).await
    }

    /// The same over a connection that takes only a few kilobytes at a time.
    pub async fn open_narrow(&self, to: SocketAddr) -> Open {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 * 1024).expect("a small buffer");
        self.open_on(socket.connect(to).await.expect("a connection")).await
    }

    async fn open_on(&self, mut stream: TcpStream) -> Open {
        // A server that refuses early may close before it has read everything.
        let _ = stream.write_all(&self.bytes()).await;
        let mut stream = BufReader::with_capacity(4 * 1024, stream);
        let mut line = String::new();
        stream.read_line(&mut line).await.expect("a status line");
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{line:?} answers {self:?}"));
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.expect("a header");
            match line.trim_end().split_once(": ") {
                Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.to_owned())),
                None => break,
            }
        }
        Open { status, headers, stream, text: String::new() }
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer whose body still comes.
pub struct Open {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    stream: BufReader<TcpStream>,
    text: String,
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub id: Option<i64>,
    pub name: Option<String>,
    pub data: Option<String>,
}

impl Open {
    fn is_chunked(&self) -> bool {
        self.headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked")
    }

    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let size = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("no chunk: {line:?}"));
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).await.ok()?;
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    /// The next server-sent event; `None` at the end.
    pub async fn message(&mut self) -> Option<Message> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut message = Message::default();
                for (name, value) in block.lines().filter_map(|line| line.split_once(": ")) {
                    match name {
                        "id" => message.id = value.parse().ok(),
                        "event" => message.name = Some(value.to_owned()),
                        "data" => message.data = Some(value.to_owned()),
                        _ => {}
                    }
                }
                self.text = rest.to_owned();
                return Some(message);
            }
            let chunk = self.chunk().await?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    /// The next event that carries something.
    pub async fn event(&mut self) -> Option<Message> {
        loop {
            match self.message().await? {
                message if message.data.is_some() => return Some(message),
                _ => {}
            }
        }
    }
}
