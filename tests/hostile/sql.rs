//! SQL statements: names are refused or quoted, texts stay texts, and a real server keeps what was meant.

use fastrand::Rng;
use sitewright::provider::postgres::cluster::Cluster;
use sitewright::provider::postgres::sql::{self, Identifier, Literal, Statement};
use sitewright::resource::database::{DatabaseMark, DatabaseState};
use sitewright::resource::name::{Instance, SqlName, Uid};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::{renderings, values};

/// Values that the real server is given.
const SAMPLE: usize = 50;

/// What a statement is made of.
struct Parts {
    name: Identifier,
    login: Identifier,
    text: String,
    mark: DatabaseMark,
}

impl Parts {
    fn harmless() -> Parts {
        let of = |name: &str| Identifier::new(&SqlName::trusted(name)).unwrap();
        Parts { name: of("client_shop"), login: of("client_shop_a"), text: "text".into(), mark: mark("shop", "01UID") }
    }

    /// `None` where a name is refused.
    fn hostile(dice: &mut Rng) -> Option<Parts> {
        let mut name = |good: &str| {
            let name = if dice.u8(0..6) == 0 { values::any(dice) } else { values::nearly(good, dice) };
            Identifier::new(&SqlName::trusted(name)).ok()
        };
        let (name, login) = (name("client_shop")?, name("client_shop_a")?);
        let mark = mark(&values::any(dice), &values::any(dice));
        Some(Parts { name, login, text: values::any(dice), mark })
    }
}

fn mark(client: &str, uid: &str) -> DatabaseMark {
    let (instance, uid) = (Instance::trusted(uid), Uid::trusted(uid));
    DatabaseMark { instance, uid, client: client.to_owned(), state: DatabaseState::Ready }
}

/// Every statement that holds a name or a text.
fn statements(parts: &Parts) -> Vec<Statement> {
    let Parts { name, login, text, mark } = parts;
    let text = &Literal::new(text);
    vec![
        sql::create_group(name),
        sql::create_login(login, text),
        sql::open_login(login, text),
        sql::close_login(login),
        sql::act_as_group(login, name),
        sql::join_group(name, login),
        sql::join_self(login),
        sql::mark_role(login, mark),
        sql::create_database(name),
        sql::mark_database(name, mark),
        sql::isolate(name),
        sql::let_group_in(name, name),
        sql::open_schema(name),
        sql::allow_connections(name),
        sql::refuse_connections(name),
        sql::end_sessions(text),
        sql::drop_database(name),
        sql::drop_role(login),
    ]
}

/// The kinds of a statement's tokens, with the words of the language; and the texts and names that it carries.
fn tokens(statement: &str) -> (Vec<String>, Vec<String>) {
    let (mut kinds, mut carried) = (Vec::new(), Vec::new());
    for token in Tokenizer::new(&PostgreSqlDialect {}, statement).tokenize().expect("SQL") {
        match token {
            Token::Whitespace(Whitespace::Space | Whitespace::Newline | Whitespace::Tab) => {}
            Token::Word(word) if word.quote_style == Some('"') => {
                kinds.push("name".to_owned());
                carried.push(word.value);
            }
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => {
                kinds.push("text".to_owned());
                carried.push(text);
            }
            other => kinds.push(other.to_string()),
        }
    }
    (kinds, carried)
}

/// How many statements the text is to a parser; `None` where it does not know this kind of statement.
fn parsed(text: &str) -> Option<usize> {
    Parser::parse_sql(&PostgreSqlDialect {}, text).ok().map(|all| all.len())
}

#[test]
fn sql_statements() {
    let harmless: Vec<_> =
        statements(&Parts::harmless()).iter().map(|s| (tokens(s.text()).0, parsed(s.text()))).collect();
    assert!(harmless.iter().filter(|(_, parsed)| parsed.is_some()).count() >= 8, "the parser knows our statements");
    renderings("sql_statements", 15, |dice| {
        let Some(parts) = Parts::hostile(dice) else { return false };
        for (statement, (kinds, count)) in statements(&parts).iter().zip(&harmless) {
            let text = statement.text();
            let (seen, carried) = tokens(text);
            assert_eq!(&seen, kinds, "{text}");
            let meant = [parts.name.to_string(), parts.login.to_string()].map(|name| name.trim_matches('"').to_owned());
            let texts = [parts.text.replace('\0', ""), parts.mark.comment(), "UTF8".to_owned()];
            assert!(
                carried.iter().all(|value| meant.contains(value) || texts.contains(value)),
                "{carried:?} in {text}"
            );
            assert!(count.is_none() || parsed(text) == *count, "not one statement any more: {text}");
        }
        true
    });
}

async fn value(client: &Client, sql: &str) -> String {
    let rows = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let row = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    row.unwrap_or_default()
}

#[tokio::test]
async fn a_real_server_keeps_what_was_meant() {
    let cluster = Cluster::start(&std::env::temp_dir()).await.unwrap();
    let (client, connection) = tokio_postgres::connect(cluster.superuser_url().expose(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let run = async |statement: Statement| value(&client, statement.text()).await;
    let all = (0..).filter_map(|seed| Parts::hostile(&mut Rng::with_seed(seed)));
    let before = "SELECT count(*) FROM pg_database";
    let databases = value(&client, before).await;
    for parts in all.take(SAMPLE) {
        let Parts { name, text, mark, .. } = &parts;
        assert_eq!(value(&client, &format!("SELECT {}", Literal::new(text))).await, text.replace('\0', ""));
        run(sql::create_group(name)).await;
        run(sql::mark_role(name, mark)).await;
        let read = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname =";
        let plain = name.to_string().trim_matches('"').to_owned();
        let comment = value(&client, &format!("{read} {}", Literal::new(&plain))).await;
        assert_eq!(DatabaseMark::from_comment(&comment).as_ref(), Some(mark), "{comment}");
        run(sql::drop_role(name)).await;
    }
    assert_eq!(value(&client, before).await, databases);
    assert_eq!(value(&client, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'client%'").await, "0");
}
