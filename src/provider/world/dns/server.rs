//! The name server of the simulated world: authoritative answers over UDP and TCP on loopback, from [`DnsTable`].

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, SOA, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::{DnsTable, Entry, Found};

/// Largest answer over UDP without EDNS (RFC 1035); a larger one is cut and asked for again over TCP.
const UDP_BYTES_MAX: usize = 512;
/// Largest question we read.
const QUESTION_BYTES_MAX: usize = 4096;
/// How long a TCP connection may stand idle.
const TCP_IDLE_MAX: Duration = Duration::from_secs(10);
/// Negative answers may be kept this long, in seconds.
const NEGATIVE_TTL: u32 = 60;
/// Time to live of SOA and NS, in seconds.
const ZONE_TTL: u32 = 3600;
/// Longest character-string (RFC 1035).
const STRING_BYTES_MAX: usize = 255;

/// Answers on both sockets until the task is dropped. Fails when a socket fails for good.
pub async fn serve(table: Arc<DnsTable>, udp: UdpSocket, tcp: TcpListener) -> std::io::Result<()> {
    let datagrams = async {
        let mut buffer = vec![0; QUESTION_BYTES_MAX];
        loop {
            let (length, peer) = udp.recv_from(&mut buffer).await?;
            let question = buffer.get(..length).unwrap_or_default();
            if let Some(answer) = answer(&table, question, Some(UDP_BYTES_MAX)) {
                udp.send_to(&answer, peer).await.ok();
            }
        }
    };
    let streams = async {
        loop {
            let (stream, _) = tcp.accept().await?;
            tokio::spawn(converse(table.clone(), stream));
        }
    };
    let ended: std::io::Result<()> = tokio::select! { end = datagrams => end, end = streams => end };
    ended
}

/// Binds UDP and TCP to one loopback port (0: any) and gives the address.
pub async fn bind(port: u16) -> std::io::Result<(UdpSocket, TcpListener, SocketAddr)> {
    let tcp = TcpListener::bind(("127.0.0.1", port)).await?;
    let address = tcp.local_addr()?;
    Ok((UdpSocket::bind(address).await?, tcp, address))
}

async fn converse(table: Arc<DnsTable>, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let Ok(length) = tokio::time::timeout(TCP_IDLE_MAX, stream.read_u16()).await else { return Ok(()) };
        let mut question = vec![0; usize::from(length?)];
        stream.read_exact(&mut question).await?;
        let Some(answer) = answer(&table, &question, None) else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
        stream.write_u16(length).await?;
        stream.write_all(&answer).await?;
    }
}

/// The answer to one message as bytes; `None` for what is not a question.
fn answer(table: &DnsTable, question: &[u8], bytes_max: Option<usize>) -> Option<Vec<u8>> {
    let request = Message::from_vec(question).ok()?;
    if request.metadata.message_type != MessageType::Query {
        return None;
    }
    let mut reply = Message::response(request.metadata.id, request.metadata.op_code);
    reply.metadata.recursion_desired = request.metadata.recursion_desired;
    match request.queries.first() {
        Some(query) if request.metadata.op_code == OpCode::Query => {
            reply.add_query(query.clone());
            fill(table, query.name(), query.query_type(), &mut reply);
        }
        _ => reply.metadata.response_code = ResponseCode::NotImp,
    }
    let bytes = reply.to_vec().ok()?;
    if bytes_max.is_some_and(|max| bytes.len() > max) {
        let mut short = reply.truncate();
        short.answers.clear();
        short.authorities.clear();
        short.metadata.truncation = true;
        return short.to_vec().ok();
    }
    Some(bytes)
}

fn fill(table: &DnsTable, name: &Name, kind: RecordType, reply: &mut Message) {
    let host = name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let found = table.find(&host, &kind.to_string());
    let zone = match &found {
        Found::NoZone => {
            reply.metadata.response_code = ResponseCode::Refused;
            return;
        }
        Found::NoName { zone } | Found::Entries { zone, .. } => zone.clone(),
    };
    reply.metadata.authoritative = true;
    if let Found::Entries { entries, .. } = &found {
        reply.add_answers(entries.iter().filter_map(record));
    }
    if host == zone && kind == RecordType::SOA {
        reply.add_answers(soa(table, &zone));
    }
    if host == zone && kind == RecordType::NS {
        let servers = table.name_servers(&zone);
        let records = servers.iter().filter_map(|server| Name::from_str(&format!("{server}.")).ok());
        reply.add_answers(records.map(|server| Record::from_rdata(name.clone(), ZONE_TTL, RData::NS(NS(server)))));
    }
    if matches!(found, Found::NoName { .. }) {
        reply.metadata.response_code = ResponseCode::NXDomain;
    }
    if reply.answers.is_empty() {
        reply.add_authorities(soa(table, &zone));
    }
}

fn soa(table: &DnsTable, zone: &str) -> Option<Record> {
    let first = table.name_servers(zone).into_iter().next().unwrap_or_else(|| format!("ns.{zone}"));
    let name = |text: &str| Name::from_str(&format!("{text}.")).ok();
    let soa = SOA::new(name(&first)?, name(&format!("dns.{zone}"))?, 1, 10_000, 2_400, 604_800, NEGATIVE_TTL);
    Some(Record::from_rdata(name(zone)?, ZONE_TTL, RData::SOA(soa)))
}

/// A published record as an answer; `None` for a type this server does not know.
fn record(entry: &Entry) -> Option<Record> {
    let host = |text: &str| Name::from_str(&format!("{}.", text.trim_end_matches('.'))).ok();
    let data = match entry.kind.as_str() {
        "A" => RData::A(A(entry.content.parse().ok()?)),
        "AAAA" => RData::AAAA(AAAA(entry.content.parse().ok()?)),
        "CNAME" => RData::CNAME(CNAME(host(&entry.content)?)),
        "NS" => RData::NS(NS(host(&entry.content)?)),
        "MX" => RData::MX(MX::new(entry.priority, host(&entry.content)?)),
        "TXT" => RData::TXT(TXT::from_bytes(entry.content.as_bytes().chunks(STRING_BYTES_MAX).collect())),
        "CAA" => RData::Unknown { code: RecordType::CAA, rdata: NULL::with(caa_bytes(&entry.content)?) },
        _ => return None,
    };
    Some(Record::from_rdata(host(&entry.name)?, entry.ttl, data))
}

/// `0 issue "letsencrypt.org"` as it travels: flags, length of the tag, tag, value (RFC 8659).
fn caa_bytes(content: &str) -> Option<Vec<u8>> {
    let mut words = content.splitn(3, ' ');
    let flags: u8 = words.next()?.parse().ok()?;
    let tag = words.next()?;
    let value = words.next()?.trim_matches('"');
    let mut bytes = vec![flags, u8::try_from(tag.len()).ok()?];
    bytes.extend_from_slice(tag.as_bytes());
    bytes.extend_from_slice(value.as_bytes());
    Some(bytes)
}
