//! Stands in front of a PostgreSQL server and looks at each statement of the admin before it goes on.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::kill_points::{Mode, Trigger};

/// Longest message that is taken: statements are short, a catalog is a few kilobytes a database.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Serves until the test ends; gives the address to connect to. Statements are labelled with the client's database as `X`.
pub async fn serve(server: SocketAddr, admin: &'static str, database: String, trigger: Arc<Trigger>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (database, trigger) = (database.clone(), trigger.clone());
            tokio::spawn(async move {
                if let Ok(server) = TcpStream::connect(server).await {
                    let _ = Pair { client, server, database, trigger }.relay(admin).await;
                }
            });
        }
    });
    address
}

struct Pair {
    client: TcpStream,
    server: TcpStream,
    database: String,
    trigger: Arc<Trigger>,
}

/// One message with its type byte; the first of a session has none.
struct Message {
    kind: u8,
    bytes: Vec<u8>,
}

async fn read(stream: &mut TcpStream, has_kind: bool) -> std::io::Result<Message> {
    let mut bytes = Vec::new();
    let kind = if has_kind { stream.read_u8().await? } else { 0 };
    if has_kind {
        bytes.push(kind);
    }
    let length = stream.read_u32().await?;
    let body = (length as usize).checked_sub(4).filter(|n| *n <= MESSAGE_BYTES_MAX);
    let body = body.ok_or_else(|| std::io::Error::other("a message of impossible length"))?;
    bytes.extend(length.to_be_bytes());
    let start = bytes.len();
    bytes.resize(start + body, 0);
    stream.read_exact(&mut bytes[start..]).await?;
    Ok(Message { kind, bytes })
}

impl Pair {
    async fn relay(mut self, admin: &str) -> std::io::Result<()> {
        let start = read(&mut self.client, false).await?;
        self.server.write_all(&start.bytes).await?;
        let text = String::from_utf8_lossy(&start.bytes).into_owned();
        let of_admin = text.contains(&format!("user\0{admin}\0")) && !text.contains("pg_dump");
        if of_admin && self.trigger.is_dark() {
            return Ok(());
        }
        if !of_admin {
            copy_bidirectional(&mut self.client, &mut self.server).await?;
            return Ok(());
        }
        self.authenticate().await?;
        loop {
            let message = tokio::select! {
                message = read(&mut self.client, true) => message?,
                ended = ended(&self.server) => return ended,
            };
            match message.kind {
                b'Q' => {
                    if self.statement(&message).await?.is_none() {
                        return Ok(());
                    }
                }
                _ => {
                    self.server.write_all(&message.bytes).await?;
                    copy_bidirectional(&mut self.client, &mut self.server).await?;
                    return Ok(());
                }
            }
        }
    }

    /// Both sides speak in turn until the server is ready.
    async fn authenticate(&mut self) -> std::io::Result<()> {
        let (mut here, mut there) = ([0], [0]);
        loop {
            tokio::select! {
                _ = self.server.peek(&mut there) => {
                    let message = read(&mut self.server, true).await?;
                    self.client.write_all(&message.bytes).await?;
                    match message.kind {
                        b'Z' => return Ok(()),
                        b'E' => return Err(std::io::Error::other("refused")),
                        _ => {}
                    }
                }
                _ = self.client.peek(&mut here) => {
                    let message = read(&mut self.client, true).await?;
                    self.server.write_all(&message.bytes).await?;
                }
            }
        }
    }

    /// `None`: the session is over.
    async fn statement(&mut self, message: &Message) -> std::io::Result<Option<()>> {
        let text = String::from_utf8_lossy(message.bytes.get(5..).unwrap_or_default()).into_owned();
        let mode = self.trigger.meet(&label(&text, &self.database));
        match mode {
            Some(Mode::Before) => {
                self.trigger.kill();
                return Ok(None);
            }
            Some(Mode::LostBefore) => {
                self.trigger.fire();
                return Ok(None);
            }
            _ => {}
        }
        self.server.write_all(&message.bytes).await?;
        let mut answer = Vec::new();
        loop {
            let part = read(&mut self.server, true).await?;
            answer.extend(part.bytes);
            if part.kind == b'Z' {
                break;
            }
        }
        match mode {
            Some(Mode::After) => {
                self.trigger.kill();
                return Ok(None);
            }
            Some(Mode::LostAfter) => {
                self.trigger.fire();
                return Ok(None);
            }
            Some(Mode::LostAfterKill) => {
                self.trigger.kill_soon();
                return Ok(None);
            }
            Some(Mode::Answered) => self.trigger.kill_soon(),
            _ => {}
        }
        self.client.write_all(&answer).await?;
        Ok(Some(()))
    }
}

/// Without a question the server speaks only to end a session.
async fn ended(server: &TcpStream) -> std::io::Result<()> {
    let mut one = [0];
    server.peek(&mut one).await.map(|_| ())
}

/// A statement without names, texts and verifiers.
fn label(text: &str, database: &str) -> String {
    let text = text.trim_end_matches('\0').replace(database, "X");
    if text.contains("'me', current_user") {
        return "sql LOOK".to_owned();
    }
    if text.starts_with("SELECT json") || text.starts_with("SELECT '") || text.starts_with("WITH") {
        return "sql CATALOG".to_owned();
    }
    if text.contains("pg_control_system") {
        return "sql SERVER".to_owned();
    }
    // A trial is called after the number of its database, which is another one in each life.
    if let Some((before, _)) = text.split_once("sitewright_trial_") {
        let verb = before.split_whitespace().next().unwrap_or_default();
        return format!("sql {verb} TRIAL");
    }
    let short = [" PASSWORD ", " IS "].iter().fold(text.as_str(), |text, end| text.split(end).next().unwrap_or(text));
    format!("sql {}", short.split_whitespace().take(9).collect::<Vec<_>>().join(" "))
}
