//! Asks name servers themselves: from a top-level domain down, along the referrals, never a resolver that would remember
//! that a name was not there yet (decisions 18).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use futures::future::join_all;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::provider::outside::address::is_global;
use crate::resource::owned::Published;

/// How long one question to one server may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// Questions to one server before it counts as silent: datagrams get lost.
const TRIES_MAX: usize = 2;
/// Largest answer over UDP that we read.
const DATAGRAM_BYTES_MAX: usize = 4096;
/// Referrals that are followed: more is a circle.
const REFERRALS_MAX: usize = 12;
/// Aliases that are followed: more is a circle.
const ALIASES_MAX: usize = 8;
/// The port of name servers.
const DNS_PORT: u16 = 53;
/// Where this system says which resolvers it uses.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why nothing can be said; one clause for people.
type Problem = String;

/// Where questions go.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// One server stands in for all name servers (`dns.server`).
    StandIn(SocketAddr),
    /// The name servers of each zone.
    Authorities(Start),
}

/// From where name servers are found.
#[derive(Debug, Clone)]
pub(super) struct Start {
    /// Resolvers that know the top-level domains; `None`: the system's.
    resolvers: Option<Vec<SocketAddr>>,
    /// The port of name servers.
    port: u16,
    /// Which of them may be asked: who owns a zone says where its name servers are.
    may_ask: fn(IpAddr) -> bool,
}

impl Default for Start {
    fn default() -> Self {
        Start { resolvers: None, port: DNS_PORT, may_ask: is_global }
    }
}

/// One name server: its name for people, and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    name: String,
    addresses: Vec<SocketAddr>,
}

/// What one server says about the addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Addresses(BTreeSet<IpAddr>),
    Alias(String),
}

/// What a server makes of a question.
enum Reply {
    Here(Said),
    Below(Vec<Server>),
}

/// What all name servers of a host say; an error when nobody could be asked.
pub(super) async fn published(source: &Source, host: &str) -> Result<Published, Problem> {
    let mut name = host.to_owned();
    for _ in 0..ALIASES_MAX {
        let servers = match source {
            Source::StandIn(address) => vec![Server { name: address.to_string(), addresses: vec![*address] }],
            Source::Authorities(start) => authorities(start, &name).await?,
        };
        match agreement(&servers, &name).await? {
            Err(difference) => return Ok(Published::Disagree(difference)),
            Ok(Said::Addresses(addresses)) => return Ok(Published::Addresses(addresses.into_iter().collect())),
            Ok(Said::Alias(target)) => name = target,
        }
    }
    Err(format!("{host} is an alias of an alias, more than {ALIASES_MAX} times"))
}

/// Asks every server; all must say the same.
async fn agreement(servers: &[Server], name: &str) -> Result<Result<Said, String>, Problem> {
    let replies = join_all(servers.iter().map(|server| ask(server, name))).await;
    let mut said: Vec<(&Server, Said)> = Vec::new();
    let mut silent: Vec<(&Server, Problem)> = Vec::new();
    for (server, reply) in servers.iter().zip(replies) {
        match reply {
            Ok(Reply::Here(here)) => said.push((server, here)),
            Ok(Reply::Below(_)) => silent.push((server, "refers to other servers".into())),
            Err(problem) => silent.push((server, problem)),
        }
    }
    let Some(((first, says), others)) = said.split_first() else {
        let reasons: Vec<String> =
            silent.iter().map(|(server, problem)| format!("{} {problem}", server.name)).collect();
        return Err(format!("no name server of {name} answers: {}", reasons.join(", ")));
    };
    if let Some((other, differs)) = others.iter().find(|(_, other)| other != says) {
        let difference = format!("{} says {}, {} says {}", first.name, words(says), other.name, words(differs));
        return Ok(Err(difference));
    }
    if let Some((server, problem)) = silent.first() {
        return Ok(Err(format!("{} says {}, {} {problem}", first.name, words(says), server.name)));
    }
    Ok(Ok(says.clone()))
}

fn words(said: &Said) -> String {
    match said {
        Said::Alias(target) => format!("an alias of {target}"),
        Said::Addresses(addresses) if addresses.is_empty() => "no address".into(),
        Said::Addresses(addresses) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
    }
}

/// The servers of the zone that holds a name. The system is asked for the servers of the top-level domain alone: that
/// always exists, so no resolver can remember that something was missing.
async fn authorities(start: &Start, name: &str) -> Result<Vec<Server>, Problem> {
    let top = name.rsplit('.').next().unwrap_or(name);
    let mut servers = top_level(start, top).await?;
    for _ in 0..REFERRALS_MAX {
        let mut below = None;
        let mut problem = format!("no server above {name} answers");
        for server in &servers {
            match ask(server, name).await {
                Ok(Reply::Here(_)) => return Ok(servers),
                Ok(Reply::Below(next)) => {
                    below = Some(next);
                    break;
                }
                Err(silent) => problem = format!("{} {silent}", server.name),
            }
        }
        servers = resolved(below.ok_or(problem)?, start).await;
    }
    Err(format!("the referrals for {name} do not end"))
}

/// Fills in the addresses of servers that a referral named without them, and leaves those that may be asked.
async fn resolved(servers: Vec<Server>, start: &Start) -> Vec<Server> {
    let Start { port, may_ask, .. } = *start;
    let filled = servers.into_iter().map(|mut server| async move {
        if server.addresses.is_empty() {
            let found = tokio::net::lookup_host((server.name.as_str(), port)).await;
            server.addresses = found.map(Iterator::collect).unwrap_or_default();
        }
        server.addresses.iter_mut().for_each(|address| address.set_port(port));
        server.addresses.retain(|address| may_ask(address.ip()));
        server
    });
    join_all(filled).await
}

async fn top_level(start: &Start, top: &str) -> Result<Vec<Server>, Problem> {
    let resolvers = match &start.resolvers {
        Some(resolvers) => resolvers.clone(),
        None => system_resolvers().await?,
    };
    let mut problem = "the system names no resolver".to_owned();
    for resolver in resolvers {
        match exchange(resolver, top, RecordType::NS, Wish::Recursion).await {
            Ok(reply) => {
                let servers = with_glue(reply.answers.iter(), &reply);
                if !servers.is_empty() {
                    return Ok(resolved(servers, start).await);
                }
                problem = format!("the resolver {resolver} knows no name servers of `{top}`");
            }
            Err(silent) => problem = format!("the resolver {resolver} {silent}"),
        }
    }
    Err(problem)
}

async fn system_resolvers() -> Result<Vec<SocketAddr>, Problem> {
    let text = tokio::fs::read_to_string(RESOLV_CONF).await;
    let text = text.map_err(|e| format!("{RESOLV_CONF} cannot be read ({e}); set dns.server"))?;
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next().filter(|word| *word == "nameserver").and(words.next())?.parse().ok()?;
        Some(SocketAddr::new(address, DNS_PORT))
    });
    Ok(addresses.collect())
}

fn server_name(data: &RData) -> Option<Server> {
    match data {
        RData::NS(ns) => Some(Server { name: plain(&ns.0), addresses: Vec::new() }),
        _ => None,
    }
}

fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

/// Asks one server for both kinds of addresses.
async fn ask(server: &Server, name: &str) -> Result<Reply, Problem> {
    let mut problem = "has no known public address".to_owned();
    for address in &server.addresses {
        match ask_at(*address, name).await {
            Ok(reply) => return Ok(reply),
            Err(silent) => problem = silent,
        }
    }
    Err(problem)
}

async fn ask_at(server: SocketAddr, name: &str) -> Result<Reply, Problem> {
    let mut addresses = BTreeSet::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        let reply = exchange(server, name, kind, Wish::OwnKnowledge).await?;
        if let Some(below) = referral(&reply, name) {
            return Ok(Reply::Below(below));
        }
        match reply.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => (),
            code => return Err(format!("answers {code}")),
        }
        if !reply.metadata.authoritative {
            return Err("is not authoritative".into());
        }
        match chain(&reply, name) {
            (found, _) if !found.is_empty() => addresses.extend(found),
            (_, target) if target != name => return Ok(Reply::Here(Said::Alias(target))),
            _ => (),
        }
    }
    Ok(Reply::Here(Said::Addresses(addresses)))
}

/// The servers that an answer points to, when it says that somebody else knows.
fn referral(reply: &Message, name: &str) -> Option<Vec<Server>> {
    if reply.metadata.authoritative || !reply.answers.is_empty() {
        return None;
    }
    let within = |zone: &str| name == zone || name.strip_suffix(zone).is_some_and(|head| head.ends_with('.'));
    let servers = with_glue(reply.authorities.iter().filter(|record| within(&plain(&record.name))), reply);
    (!servers.is_empty()).then_some(servers)
}

/// The servers that some records name, with the addresses that the same answer gives for them.
fn with_glue<'a>(records: impl Iterator<Item = &'a Record>, reply: &Message) -> Vec<Server> {
    let mut servers: Vec<Server> = records.filter_map(|record| server_name(&record.data)).collect();
    for server in &mut servers {
        let glue = reply.additionals.iter().filter(|record| plain(&record.name) == server.name);
        server.addresses = glue.filter_map(|record| record.data.ip_addr()).map(|ip| (ip, DNS_PORT).into()).collect();
        server.addresses.sort();
    }
    servers
}

/// The addresses at the end of an answer's aliases, and the name they belong to.
fn chain(reply: &Message, name: &str) -> (BTreeSet<IpAddr>, String) {
    let mut name = name.to_owned();
    for _ in 0..ALIASES_MAX {
        let here = || reply.answers.iter().filter(|record| plain(&record.name) == name);
        let addresses: BTreeSet<IpAddr> = here().filter_map(|record| record.data.ip_addr()).collect();
        if !addresses.is_empty() {
            return (addresses, name);
        }
        let alias = here().find_map(|record| match &record.data {
            RData::CNAME(target) => Some(plain(&target.0)),
            _ => None,
        });
        match alias {
            Some(target) => name = target,
            None => break,
        }
    }
    (BTreeSet::new(), name)
}

/// What is asked of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// To find out for us.
    Recursion,
    /// To say what it knows itself.
    OwnKnowledge,
}

/// One question over UDP, again over TCP when the answer was cut.
async fn exchange(server: SocketAddr, name: &str, kind: RecordType, wish: Wish) -> Result<Message, Problem> {
    let query_name = Name::from_str(&format!("{name}.")).map_err(|_| format!("cannot be asked for `{name}`"))?;
    let query = Query::query(query_name, kind);
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| "cannot be asked: no random numbers".to_owned())?;
    let mut question = Message::new(u16::from_be_bytes(id), MessageType::Query, OpCode::Query);
    question.metadata.recursion_desired = wish == Wish::Recursion;
    question.add_query(query);
    let bytes = question.to_vec().map_err(|e| format!("cannot be asked ({e})"))?;
    let mut problem = "does not answer".to_owned();
    for _ in 0..TRIES_MAX {
        match tokio::time::timeout(ANSWER_TIMEOUT, over_udp(server, &bytes, &question)).await {
            Ok(Ok(reply)) if reply.metadata.truncation => {
                let whole = tokio::time::timeout(ANSWER_TIMEOUT, over_tcp(server, &bytes, &question)).await;
                return whole
                    .map_err(|_| "does not answer over TCP".to_owned())?
                    .map_err(|e| format!("does not answer over TCP ({e})"));
            }
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(error)) => problem = format!("does not answer ({error})"),
            Err(_) => problem = "does not answer".into(),
        }
    }
    Err(problem)
}

async fn over_udp(server: SocketAddr, bytes: &[u8], question: &Message) -> std::io::Result<Message> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let reply = Message::from_vec(buffer.get(..length).unwrap_or_default());
        // Anything else on this port is a late answer or a forged one.
        if let Some(reply) = reply.ok().filter(|reply| belongs(reply, question)) {
            return Ok(reply);
        }
    }
}

async fn over_tcp(server: SocketAddr, bytes: &[u8], question: &Message) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_u16(u16::try_from(bytes.len()).map_err(std::io::Error::other)?).await?;
    stream.write_all(bytes).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    let reply = Message::from_vec(&buffer).map_err(std::io::Error::other)?;
    belongs(&reply, question).then_some(reply).ok_or_else(|| std::io::Error::other("an answer to something else"))
}

fn belongs(reply: &Message, question: &Message) -> bool {
    reply.metadata.message_type == MessageType::Response
        && reply.metadata.id == question.metadata.id
        && reply.queries == question.queries
}

#[cfg(test)]
mod tests;
