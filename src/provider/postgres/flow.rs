//! The statements that make a client's database and login, in order; every one can be run again
//! (contracts/postgres.md 2).

use postgres_protocol::password::scram_sha_256;

use crate::provider::error::ErrorClass;
use crate::provider::postgres::found::Found;
use crate::provider::postgres::sql::{self, Identifier, Literal, Statement};
use crate::resource::database::{Database, DatabaseState};
use crate::resource::secret::Secret;

/// Where a statement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The maintenance database.
    Maintenance,
    /// The client's own database.
    Client,
}

/// One statement and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub place: Place,
    /// What.
    pub statement: Statement,
}

fn here(statement: Statement) -> Step {
    Step { place: Place::Maintenance, statement }
}

fn inside(statement: Statement) -> Step {
    Step { place: Place::Client, statement }
}

/// Group role, database, marks and isolation, up to but without the mark `ready`: what is there already is not created
/// again, everything else is sent again because it does no harm.
pub fn database_steps(wanted: &Database, found: &Found) -> Result<Vec<Step>, ErrorClass> {
    let name = Identifier::new(&wanted.name)?;
    let mut steps = Vec::new();
    if found.role(&wanted.name).is_none() {
        steps.push(here(sql::create_group(&name)));
    }
    steps.push(here(sql::mark_role(&name, &wanted.mark_in(DatabaseState::Ready))));
    steps.push(here(sql::join_self(&name)));
    if found.database.is_none() {
        steps.push(here(sql::create_database(&name)));
    }
    if !found.is_marked(&wanted.mark) {
        steps.push(here(sql::mark_database(&name, &wanted.mark_in(DatabaseState::Creating))));
    }
    if found.database.as_ref().is_some_and(|database| !database.allow_connections) {
        // A drop was begun and stopped; the client is back.
        steps.push(here(sql::allow_connections(&name)));
    }
    steps.push(here(sql::isolate(&name)));
    steps.push(here(sql::let_group_in(&name, &name)));
    steps.push(inside(sql::close_schema()));
    steps.push(inside(sql::open_schema(&name)));
    Ok(steps)
}

/// The login role with a verifier made here: the password itself does not leave this process.
pub fn login_steps(wanted: &Database, found: &Found, password: &Secret) -> Result<Vec<Step>, ErrorClass> {
    let (group, login) = (Identifier::new(&wanted.name)?, Identifier::new(&wanted.login)?);
    let verifier = Literal::new(&scram_sha_256(password.expose().as_bytes()));
    let first = match found.role(&wanted.login) {
        None => sql::create_login(&login, &verifier),
        Some(_) => sql::open_login(&login, &verifier),
    };
    Ok([
        first,
        sql::mark_role(&login, &wanted.mark_in(DatabaseState::Ready)),
        sql::join_group(&group, &login),
        sql::join_self(&login),
        sql::act_as_group(&login, &group),
    ]
    .map(here)
    .into())
}
