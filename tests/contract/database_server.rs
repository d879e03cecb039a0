//! The way to a real PostgreSQL server: lost answers, broken sessions, TLS, and the throw-away server itself.

use std::path::{Path, PathBuf};

use sitewright::provider::Databases;
use sitewright::provider::error::ErrorClass;
use sitewright::provider::postgres::cluster::Cluster;
use sitewright::provider::postgres::{Postgres, PostgresSettings};
use sitewright::resource::secret::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::databases::{admin, cluster, connect, database, password, server, superuser, value};

/// Passes bytes on until the client sends `trigger`; that goes to the server, and no answer comes back.
async fn cutting_proxy(target: u16, trigger: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let (mut up, mut down) = ([0; 8192], [0; 8192]);
                loop {
                    tokio::select! {
                        Ok(n) = client.read(&mut up) => {
                            if n == 0 { return }
                            server.write_all(&up[..n]).await.unwrap();
                            if String::from_utf8_lossy(&up[..n]).contains(trigger) {
                                // It happens: the server's answer is waited for, and kept.
                                let _ = server.read(&mut down).await;
                                return;
                            }
                        }
                        Ok(n) = server.read(&mut down) => {
                            if n == 0 || client.write_all(&down[..n]).await.is_err() { return }
                        }
                    }
                }
            });
        }
    });
    port
}

/// B39.
#[tokio::test]
async fn a_lost_answer_says_so_and_the_next_run_finds_what_happened() {
    let cluster = cluster().await;
    let port = cutting_proxy(cluster.port(), "CREATE DATABASE").await;
    let url = cluster.admin_url().expose().replace(&cluster.port().to_string(), &port.to_string());
    let (through, wanted) = (server(Secret::new(url)), database("lost"));
    let error = through.ensure_database(&wanted, false).await.unwrap_err();
    assert!(error.is_ambiguous(), "{error}");
    through.catalog().await.unwrap();
    assert!(matches!(admin().await.ensure_database(&wanted, false).await.unwrap_err().class, ErrorClass::Exists(_)));
    admin().await.ensure_database(&wanted, true).await.unwrap();
}

#[tokio::test]
async fn a_broken_session_is_remade_and_an_unreachable_server_is_not_an_answer() {
    let cluster = cluster().await;
    let url = Secret::new(format!("{}&application_name=cut_me", cluster.admin_url().expose()));
    let cut = server(url);
    cut.catalog().await.unwrap();
    let root = superuser("postgres").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut_me'";
    root.simple_query(end).await.unwrap();
    cut.catalog().await.unwrap();

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nowhere = server(Secret::new(format!("postgres://adm:canary@127.0.0.1:{closed}/postgres")));
    let error = nowhere.catalog().await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("canary"));
    let database = database("nowhere");
    let error = nowhere.ensure_database(&database, false).await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Unavailable(_)), "nothing was sent: {error}");
    assert!(nowhere.can_log_in(&database, &password("x")).await.is_err(), "unreachable is not a wrong password");

    let wrong = cluster.admin_url().expose().replace("sitewright_admin:", "sitewright_admin:x");
    let error = server(Secret::new(wrong)).catalog().await.unwrap_err();
    assert!(matches!(error.class, ErrorClass::Unauthorized(_)), "{error}");
}

#[tokio::test]
async fn many_at_once_are_made_one_after_the_other() {
    let server = std::sync::Arc::new(admin().await);
    let calls = (0..6).map(|n| {
        let server = std::sync::Arc::clone(&server);
        tokio::spawn(async move { server.ensure_database(&database(&format!("crowd_{n}")), false).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap().unwrap();
    }
    let catalog = server.catalog().await.unwrap();
    assert_eq!(catalog.databases.iter().filter(|row| row.name.starts_with("client_crowd_")).count(), 6);
}

/// Gives the shared server a certificate for `localhost` and the root that signed it; written by the server itself, which
/// must own its key.
async fn with_tls(dir: &Path) -> (PathBuf, PathBuf) {
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = rcgen::KeyPair::generate().unwrap();
        let path = dir.join(format!("{name}.pem"));
        std::fs::write(&path, params.self_signed(&key).unwrap().pem()).unwrap();
        (rcgen::Issuer::new(params, key), path)
    };
    let (ours, root) = authority("ours");
    let (_, stranger) = authority("stranger");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, &ours).unwrap();
    let session = superuser("postgres").await;
    for (file, pem) in [("server.key", key.serialize_pem()), ("server.crt", certificate.pem())] {
        let lines = pem.trim().replace('\n', "|");
        let sql = format!("COPY (SELECT unnest(string_to_array('{lines}', '|'))) TO PROGRAM 'umask 077; cat > {file}'");
        session.simple_query(&sql).await.unwrap();
    }
    session.simple_query("ALTER SYSTEM SET ssl = on").await.unwrap();
    session.simple_query("SELECT pg_reload_conf()").await.unwrap();
    while value(&superuser("postgres").await, "SHOW ssl").await.as_deref() != Some("on") {
        tokio::task::yield_now().await;
    }
    (root, stranger)
}

#[tokio::test]
async fn sslmode_means_what_libpq_means() {
    let dir = tempfile::tempdir().unwrap();
    let (root, stranger) = with_tls(dir.path()).await;
    let base = cluster().await.admin_url();
    let outcome = async |host: &str, mode: &str, ca: Option<&PathBuf>| {
        let url = base.expose().replace("127.0.0.1", host).replace("sslmode=disable", &format!("sslmode={mode}"));
        let settings =
            PostgresSettings { url: Secret::new(url), site_host: None, site_parameters: None, ca: ca.cloned() };
        Postgres::new(&settings).unwrap().catalog().await.is_ok()
    };
    for (host, mode, ca, works) in [
        ("127.0.0.1", "disable", None, true),
        ("127.0.0.1", "prefer", None, true),
        ("127.0.0.1", "require", None, true),
        ("127.0.0.1", "require", Some(&stranger), false),
        ("127.0.0.1", "verify-ca", Some(&root), true),
        ("127.0.0.1", "verify-ca", Some(&stranger), false),
        ("127.0.0.1", "verify-full", Some(&root), false),
        ("localhost", "verify-full", Some(&root), true),
        ("localhost", "verify-full", Some(&stranger), false),
    ] {
        assert_eq!(outcome(host, mode, ca).await, works, "{host} {mode} {ca:?}");
    }
}

#[tokio::test]
async fn a_cluster_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(dir.path()).await.unwrap();
    let (log, port) = (cluster.log(), cluster.port());
    let url = cluster.admin_url();
    let rights =
        "SELECT rolsuper::text || rolcreatedb::text || rolcreaterole::text FROM pg_roles WHERE rolname = current_user";
    assert_eq!(value(&connect(&url).await.unwrap(), rights).await.as_deref(), Some("falsetruetrue"));
    drop(cluster);
    assert!(!log.parent().unwrap().exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// What a server says at once, each message with its type byte and without its length.
type Turn = Vec<Vec<u8>>;

/// Takes its turns, one for each time that it hears something, and says nothing more after the last.
async fn hostile_server(turns: Vec<Turn>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let turns = turns.clone();
            tokio::spawn(async move {
                let mut heard = vec![0; 8192];
                for turn in turns {
                    let Ok(length @ 1..) = client.read(&mut heard).await else { return };
                    for message in turn {
                        let _ = client.write_all(&framed(&message, &heard[..length])).await;
                    }
                }
                let _ = client.read(&mut heard).await;
            });
        }
    });
    port
}

/// A message with its length; `NONCE` stands for the one of what was heard.
fn framed(message: &[u8], heard: &[u8]) -> Vec<u8> {
    let heard = String::from_utf8_lossy(heard);
    let body = match String::from_utf8(message[1..].to_vec()) {
        Ok(text) => text.replace("NONCE", heard.rsplit("r=").next().unwrap_or_default()).into_bytes(),
        Err(_) => message[1..].to_vec(),
    };
    let length = u32::try_from(body.len() + 4).unwrap();
    [&message[..1], &length.to_be_bytes(), &body].concat()
}

/// H8. A server that wants to keep us busy for hours, or that lies about what it sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_server_costs_an_error_and_no_more() {
    let sasl = vec![b"R\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec()];
    let endless = vec![b"R\0\0\0\x0br=NONCEmore,s=c2FsdHNhbHRzYWx0c2FsdA==,i=2147483647".to_vec()];
    let ready = vec![b"R\0\0\0\0".to_vec(), b"ZI".to_vec()];
    let column = [b"T\0\x01a\0".as_slice(), &[0; 18]].concat();
    let row = |row: &[u8]| vec![column.clone(), row.to_vec(), b"CSELECT 1\0".to_vec(), b"ZI".to_vec()];
    for (what, turns) in [
        ("a key that takes hours", vec![sasl, endless]),
        ("a value of two gigabytes", vec![ready.clone(), row(b"D\0\x01\x7f\xff\xff\xffx")]),
        ("values that are not there", vec![ready.clone(), row(b"D\x7f\xff")]),
        ("a message of no known kind", vec![ready, vec![b"?\xff\xff".to_vec()]]),
    ] {
        let port = hostile_server(turns).await;
        let url = format!("postgres://adm:canary@127.0.0.1:{port}/postgres?sslmode=disable");
        let hostile = server(Secret::new(url));
        let asked = tokio::time::timeout(std::time::Duration::from_secs(60), hostile.catalog()).await;
        let error = asked.unwrap_or_else(|_| panic!("{what} has no end")).expect_err(what);
        assert!(!error.to_string().contains("canary"), "{error}");
        println!("{what}: {error}");
    }
}
