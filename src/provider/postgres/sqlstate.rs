//! What PostgreSQL's error codes mean for a caller (contracts/postgres.md 7).

use tokio_postgres::error::{DbError, SqlState};

use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::postgres::PROVIDER;
use crate::provider::postgres::sql::{Effect, Statement};

/// Longest part of a server's message that is passed on.
const MESSAGE_CHARS_MAX: usize = 200;
/// An error of one statement.
pub(super) fn of_statement(statement: &Statement, error: &tokio_postgres::Error) -> ProviderError {
    let class = match error.as_db_error() {
        Some(db) => of_answer(db, statement.effect),
        None => lost(statement.effect, &cause(error)),
    };
    ProviderError::new(PROVIDER, statement.shown(), class)
}

/// An error while a session was being opened: nothing was sent that changes anything.
pub(super) fn of_connection(call: &str, error: &tokio_postgres::Error) -> ProviderError {
    let class = match error.as_db_error() {
        Some(db) => of_answer(db, Effect::Read),
        None => ErrorClass::Unavailable(cause(error)),
    };
    ProviderError::new(PROVIDER, call, class)
}

/// What a statement without an answer means.
pub(super) fn lost(effect: Effect, clause: &str) -> ErrorClass {
    match effect {
        Effect::Read => ErrorClass::Unavailable(clause.to_owned()),
        Effect::Change => ErrorClass::Unanswered(clause.to_owned()),
    }
}

/// The error and what is below it; tokio-postgres puts the reason into the source.
fn cause(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(below) = source {
        text = format!("{text}: {below}");
        source = below.source();
    }
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}

fn of_answer(db: &DbError, effect: Effect) -> ErrorClass {
    let code = db.code();
    let text = words(db);
    match code.code() {
        "42P04" | "42710" => ErrorClass::Exists(text),
        "3D000" | "42704" => ErrorClass::NotFound,
        "28P01" | "28000" => ErrorClass::Unauthorized(text),
        "42501" => ErrorClass::Forbidden(text),
        "53100" => ErrorClass::Quota(text),
        "55006" | "55000" | "53000" | "53200" | "53300" | "40001" | "40P01" | "55P03" => ErrorClass::Busy(text),
        // Two writers of one catalog row: the loser changed nothing.
        "XX000" if db.message().contains("tuple concurrently updated") => ErrorClass::Busy(text),
        "57P03" => ErrorClass::Unavailable(text),
        other if ["08", "57", "58", "XX"].iter().any(|class| other.starts_with(class)) => lost(effect, &text),
        _ => ErrorClass::Invalid(text),
    }
}

/// The code and the server's words; of a syntax error the code alone, because its words quote the statement.
fn words(db: &DbError) -> String {
    if db.code() == &SqlState::SYNTAX_ERROR {
        return format!("{} syntax error", db.code().code());
    }
    let message: String = db.message().chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect();
    format!("{} {message}", db.code().code())
}
