//! Referrals, servers that differ, servers that may not be asked: over name servers of our own on loopback.

use std::sync::Arc;

use hickory_proto::rr::rdata::{A, CNAME, NS};
use parking_lot::Mutex;

use super::*;

/// A name server on an address of its own that answers by a function and notes what it was asked.
struct Fake {
    asked: Arc<Mutex<Vec<String>>>,
}

fn name(text: &str) -> Name {
    Name::from_str(text).expect("a name")
}

fn fake(socket: UdpSocket, answer: impl Fn(&str, RecordType, &mut Message) + Send + 'static) -> Fake {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let Ok(question) = Message::from_vec(&buffer[..length]) else { continue };
            let query = question.queries[0].clone();
            let mut reply = Message::response(question.metadata.id, OpCode::Query);
            reply.add_query(query.clone());
            let host = plain(query.name());
            log.lock().push(format!("{} {host}", query.query_type()));
            answer(&host, query.query_type(), &mut reply);
            socket.send_to(&reply.to_vec().expect("bytes"), peer).await.ok();
        }
    });
    Fake { asked }
}

fn refer(zone: &'static str, servers: [(&'static str, u8); 2]) -> impl Fn(&mut Message) + Send + 'static {
    move |reply| {
        for (server, last) in servers {
            reply.add_authority(Record::from_rdata(name(zone), 60, RData::NS(NS(name(server)))));
            let address = RData::A(A::new(127, 0, 0, last));
            reply.add_additional(Record::from_rdata(name(server), 60, address));
        }
    }
}

fn serves(last: u8) -> impl Fn(&str, RecordType, &mut Message) + Send + 'static {
    move |host, kind, reply| {
        reply.metadata.authoritative = true;
        let data = match (host, kind) {
            ("www.agency.example", _) => RData::CNAME(CNAME(name("shop.agency.example."))),
            ("shop.agency.example", RecordType::A) => RData::A(A::new(192, 0, 2, last)),
            ("new.agency.example", _) => {
                reply.metadata.response_code = ResponseCode::NXDomain;
                return;
            }
            _ => return,
        };
        reply.add_answer(Record::from_rdata(name(&format!("{host}.")), 60, data));
    }
}

/// Sockets on 127.0.0.1 to .4 with one port; another one where somebody holds it on one of them.
async fn neighbours() -> [UdpSocket; 4] {
    loop {
        let first = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let port = first.local_addr().expect("an address").port();
        let bind = |last| UdpSocket::bind(SocketAddr::from(([127, 0, 0, last], port)));
        if let (Ok(two), Ok(three), Ok(four)) = (bind(2).await, bind(3).await, bind(4).await) {
            return [first, two, three, four];
        }
    }
}

/// A resolver, a top-level server and two servers of one zone, on one port of 127.0.0.1 to .4.
struct Hierarchy {
    source: Source,
    resolver: Fake,
    others: Vec<Fake>,
}

async fn hierarchy(second: impl Fn(&str, RecordType, &mut Message) + Send + 'static) -> Hierarchy {
    let [first, top, one, two] = neighbours().await;
    let port = first.local_addr().expect("an address").port();
    let resolver = fake(first, |_, _, reply| {
        let server = name("a.nic.example.");
        reply.add_answer(Record::from_rdata(name("example."), 60, RData::NS(NS(server.clone()))));
        reply.add_additional(Record::from_rdata(server, 60, RData::A(A::new(127, 0, 0, 2))));
    });
    let below = refer("agency.example.", [("ns1.host.example.", 3), ("ns2.host.example.", 4)]);
    let others = vec![fake(top, move |_, _, reply| below(reply)), fake(one, serves(1)), fake(two, second)];
    let resolvers = Some(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
    let start = Start { resolvers, port, may_ask: |_| true };
    Hierarchy { source: Source::Authorities(start), resolver, others }
}

#[tokio::test]
async fn name_servers_are_found_from_the_top_and_no_resolver_hears_the_name() {
    let world = hierarchy(serves(1)).await;
    let address: IpAddr = "192.0.2.1".parse().expect("an address");
    for host in ["shop.agency.example", "www.agency.example"] {
        let said = published(&world.source, host).await.expect("an answer");
        assert_eq!(said, Published::Addresses(vec![address]), "{host}");
    }
    let said = published(&world.source, "new.agency.example").await.expect("an answer");
    assert_eq!(said, Published::Addresses(Vec::new()), "a name that is not there yet has no address");
    let asked = world.resolver.asked.lock().clone();
    assert!(asked.iter().all(|question| question == "NS example"), "{asked:?}");
}

#[tokio::test]
async fn name_servers_in_our_own_network_are_not_asked() {
    let mut world = hierarchy(serves(1)).await;
    let Source::Authorities(start) = &mut world.source else { panic!("authorities") };
    start.may_ask = Start::default().may_ask;
    let problem = published(&world.source, "shop.agency.example").await.expect_err("127.0.0.2 is not asked");
    assert!(problem.contains("a.nic.example has no known public address"), "{problem}");
    assert!(world.others.iter().all(|server| server.asked.lock().is_empty()));
}

#[tokio::test]
async fn servers_that_differ_are_named() {
    let world = hierarchy(serves(9)).await;
    let said = published(&world.source, "shop.agency.example").await.expect("an answer");
    let text = "ns1.host.example says 192.0.2.1, ns2.host.example says 192.0.2.9";
    assert_eq!(said, Published::Disagree(text.into()));
}

#[tokio::test]
async fn a_server_without_the_zone_is_no_agreement() {
    let refuses = |_: &str, _: RecordType, reply: &mut Message| reply.metadata.response_code = ResponseCode::Refused;
    let world = hierarchy(refuses).await;
    let said = published(&world.source, "shop.agency.example").await.expect("an answer");
    let Published::Disagree(text) = said else { panic!("{said:?}") };
    assert!(text.contains("ns1.host.example says 192.0.2.1") && text.contains("ns2.host.example answers"), "{text}");
}
