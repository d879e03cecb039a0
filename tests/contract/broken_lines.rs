//! A provider whose answers break off, dribble, or come from somebody with another certificate: nothing is guessed, nothing
//! waits for ever, nothing is sent in the clear.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use sitewright::provider::error::ErrorClass;
use sitewright::provider::http::{Budget, HttpClient, HttpLimits};
use sitewright::resource::secret::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Nothing here takes this long, whatever the machine does besides; without an end of its own a call would.
const FOR_EVER: Duration = Duration::from_secs(60);
const ANSWER: &str =
    "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 22\r\n\r\n{\"data\":{\"id\":\"7101\"}}";

fn client(base: &str, read: Duration) -> HttpClient {
    let budget = Arc::new(Budget::new(100_000, Duration::from_secs(60)));
    let http = HttpClient::new("test", base.parse().unwrap(), Secret::new("hidden"), budget).unwrap();
    let limits = HttpLimits {
        retry_delay: Duration::from_millis(1),
        read_timeout: read,
        write_timeout: read,
        ..HttpLimits::default()
    };
    http.with_limits(limits)
}

/// Reads a request's head.
async fn heard(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => head.extend_from_slice(&buffer[..count]),
            _ => return false,
        }
    }
    true
}

/// Answers every request with so many bytes of the answer, then closes.
async fn breaks_off(length: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let end = length.load(Ordering::Relaxed);
            tokio::spawn(async move {
                if heard(&mut stream).await {
                    let _ = stream.write_all(&ANSWER.as_bytes()[..end]).await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    base
}

/// B10.
#[tokio::test]
async fn a_connection_that_breaks_at_any_byte_leaves_the_outcome_open() {
    let length = Arc::new(AtomicUsize::new(ANSWER.len()));
    let http = client(&breaks_off(length.clone()).await, FOR_EVER);
    let whole = http.send(Method::POST, "things", None).await.unwrap().unwrap();
    assert_eq!(whole.json::<serde_json::Value>(&Method::POST).unwrap()["data"]["id"], "7101");
    for end in 0..ANSWER.len() {
        length.store(end, Ordering::Relaxed);
        let write = http.send(Method::POST, "things", None).await.expect_err("a part of an answer");
        assert!(matches!(write.class, ErrorClass::Unanswered(_)), "{end}: {write}");
        let read = http.get("things", &[]).await.expect_err("a part of an answer");
        assert!(matches!(read.class, ErrorClass::Unavailable(_)), "{end}: {read}");
    }
}

/// An answer of one byte after the other, without end.
async fn dribbles() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n[";
                if !heard(&mut stream).await || stream.write_all(head).await.is_err() {
                    return;
                }
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        }
    });
    base
}

/// B35.
#[tokio::test]
async fn an_answer_that_dribbles_has_an_end() {
    let http = client(&dribbles().await, Duration::from_millis(200));
    let read = tokio::time::timeout(FOR_EVER, http.get("things", &[])).await.expect("an end").expect_err("no answer");
    assert!(matches!(read.class, ErrorClass::Unavailable(_)), "{read}");
    let write = tokio::time::timeout(FOR_EVER, http.send(Method::POST, "things", None)).await.expect("an end");
    let write = write.expect_err("no answer");
    assert!(matches!(write.class, ErrorClass::Unanswered(_)), "{write}");
}

/// Speaks TLS with a certificate that nobody signed; gives its port and how many requests it could read.
async fn impostor(not_after: Option<(i32, u8, u8)>) -> (u16, Arc<AtomicUsize>) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    if let Some((year, month, day)) = not_after {
        params.not_after = rcgen::date_time_ymd(year, month, day);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let der = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], der)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, read) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let count = read.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, count) = (acceptor.clone(), count.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 64];
                if stream.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    (port, read)
}

/// B37.
#[tokio::test]
async fn a_stranger_with_another_certificate_hears_nothing() {
    for not_after in [None, Some((2020, 1, 1))] {
        let (port, read) = impostor(not_after).await;
        let http = client(&format!("https://localhost:{port}/"), FOR_EVER);
        let look = http.get("things", &[]).await.expect_err("no trust");
        assert!(matches!(look.class, ErrorClass::Unavailable(_)), "{look}");
        let write = http.send(Method::POST, "things", None).await.expect_err("no trust");
        assert!(matches!(write.class, ErrorClass::Unavailable(_)), "nothing was sent: {write}");
        assert_eq!(read.load(Ordering::Relaxed), 0, "not a byte of a request was read");
    }
}

/// B38. A name that does not resolve, said by the resolver of this machine alone: no label of a host name is that long.
#[tokio::test]
async fn a_provider_whose_name_does_not_resolve_was_sent_nothing() {
    let http = client(&format!("https://{}.example/", "a".repeat(70)), FOR_EVER);
    let look = http.get("things", &[]).await.expect_err("nobody is called that");
    assert!(matches!(look.class, ErrorClass::Unavailable(_)), "{look}");
    let write = http.send(Method::POST, "things", None).await.expect_err("nobody is called that");
    assert!(matches!(write.class, ErrorClass::Unavailable(_)), "nothing was sent: {write}");
}

/// B38. A network that swallows what is sent: the queue of this listener is full and the machine answers nobody else.
#[tokio::test]
async fn a_connection_that_is_never_answered_is_given_up_and_was_sent_nothing() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        held.push(stream.unwrap());
        assert!(held.len() < 100, "the queue has an end");
    }
    let http = client(&format!("http://{address}/"), FOR_EVER);
    let write = tokio::time::timeout(FOR_EVER, http.send(Method::POST, "things", None)).await.expect("an end");
    let write = write.expect_err("no answer");
    assert!(matches!(write.class, ErrorClass::Unavailable(_)), "nothing was sent: {write}");
}

/// H7. Small on the line, larger than any answer may be once it is unpacked.
#[tokio::test]
async fn a_packed_answer_counts_by_what_it_holds() {
    let pack = "head -c 100000000 /dev/zero | gzip -9";
    let packed = tokio::process::Command::new("sh").args(["-c", pack]).output().await.unwrap().stdout;
    let limit = sitewright::provider::http::BODY_BYTES_MAX;
    assert!(packed.len() < limit / 100 && limit < 100_000_000, "{} bytes", packed.len());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if heard(&mut stream).await {
                let length = packed.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&packed).await;
            }
        }
    });
    let error = client(&base, FOR_EVER).get("things", &[]).await.expect_err("too much");
    assert!(error.to_string().contains(&format!("more than {limit} bytes")), "{error}");
}
