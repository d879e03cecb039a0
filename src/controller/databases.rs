//! The executor's steps on databases.

use std::sync::Arc;

use crate::controller::failure::Failure;
use crate::controller::workbench::Workbench;
use crate::provider::error::ErrorClass;
use crate::provider::{Databases, DropPermit};
use crate::resource::database::{Database, DatabaseState};
use crate::resource::kind::ResourceKind;
use crate::resource::name::RemoteId;
use crate::resource::owned::{MarkState, Owned, OwnedResource};
use crate::resource::secret::Secret;

/// Name under which a client's database password is kept.
pub const DATABASE_PASSWORD: &str = "database_password";

/// PostgreSQL gives no database this oid: a permit with it lets roles go, and never a database that stands there after all.
pub const NO_DATABASE: u32 = 0;

/// The executor's hands, as far as databases go.
pub(in crate::controller) struct DatabaseSteps<'a> {
    pub(in crate::controller) bench: &'a Workbench<'a>,
}

impl DatabaseSteps<'_> {
    fn provider(&self) -> Result<Arc<dyn Databases>, Failure> {
        let found = self.bench.providers.databases.values().next().cloned();
        found.ok_or(Failure::Rule {
            reason: "ProviderNotConfigured",
            message: "no database server is configured; set PLATFORM_DATABASE_URL".into(),
        })
    }

    pub(in crate::controller) async fn ensure(&self, database: &Database) -> Result<(), Failure> {
        let name = database.name.as_str();
        let ledger = self.bench.ledger;
        // Ours already, by an earlier look: the statements may complete it even where its mark is missing yet.
        let ours = ledger
            .read(|r| {
                r.owned.resource(ResourceKind::Database, name).is_some()
                    || r.owned.intent(ResourceKind::Database, name).is_some()
            })
            .await;
        let ours = ours || self.bench.desired.adopt.contains(name);
        ledger.intend(ResourceKind::Database, &[name.to_owned()]).await?;
        let provider = self.provider()?;
        let made = provider.ensure_database(database, ours).await;
        if let Err(error) = made {
            if !error.is_ambiguous() && !ours {
                ledger.close(ResourceKind::Database, name).await?;
            }
            return Err(error.into());
        }
        let since = self.bench.clock.now();
        let provider_name = provider.name();
        ledger
            .update(|record| {
                record.owned.made_database = true;
                crate::controller::ledger::close_intent(record, ResourceKind::Database, name);
                crate::controller::ledger::put_resource(
                    record,
                    crate::resource::owned::OwnedResource {
                        kind: ResourceKind::Database,
                        provider: provider_name.into(),
                        name: name.into(),
                        id: RemoteId::trusted(name),
                        mark: MarkState::Written,
                        since,
                    },
                );
            })
            .await?;
        Ok(())
    }

    pub(in crate::controller) async fn ensure_login(&self, database: &Database) -> Result<(), Failure> {
        let name = database.login.as_str();
        let ledger = self.bench.ledger;
        let Some(password) = ledger.read(|r| r.secrets.get(DATABASE_PASSWORD).cloned()).await else {
            return Err(Failure::Rule {
                reason: "SecretLost",
                message: format!("the password of {name} is not in the state; `sitewright rotate` makes a new one"),
            });
        };
        let ours = ledger
            .read(|r| {
                r.owned.resource(ResourceKind::Role, name).is_some()
                    || r.owned.intent(ResourceKind::Role, name).is_some()
            })
            .await;
        let ours = ours || self.bench.desired.adopt.contains(name);
        ledger.intend(ResourceKind::Role, &[name.to_owned()]).await?;
        let provider = self.provider()?;
        if let Err(error) = provider.ensure_login(database, &password, ours).await {
            if !error.is_ambiguous() && !ours {
                ledger.close(ResourceKind::Role, name).await?;
            }
            return Err(error.into());
        }
        Ok(ledger
            .own(ResourceKind::Role, provider.name(), name, RemoteId::trusted(name), MarkState::Written, name)
            .await?)
    }

    pub(in crate::controller) async fn close_login(&self, database: &Database) -> Result<(), Failure> {
        Ok(self.provider()?.close_login(database).await?)
    }

    pub(in crate::controller) async fn retain(&self, database: &Database) -> Result<(), Failure> {
        let provider = self.provider()?;
        match provider.close_login(database).await {
            // A role of that name that is somebody else's is not ours to close; the database is kept all the same.
            Err(error) if matches!(error.class, ErrorClass::Exists(_)) => {}
            other => other?,
        }
        Ok(provider.mark_database(database, DatabaseState::Retained).await?)
    }

    pub(in crate::controller) async fn back_up(&self, database: &Database) -> Result<(), Failure> {
        let backup = self.provider()?.back_up(database, self.bench.backups, self.bench.clock.now()).await?;
        self.bench
            .ledger
            .update(|record| {
                if let Some(removal) = record.owned.removal.as_mut() {
                    removal.backup = Some(backup);
                }
            })
            .await?;
        Ok(())
    }

    pub(in crate::controller) async fn drop_database(&self, database: &Database, oid: u32) -> Result<(), Failure> {
        // Should its answer be lost and the client return, what is not there any more went by our own hand.
        self.bench.ledger.update(|record| doubt_database(&mut record.owned)).await?;
        self.provider()?.drop_database(&DropPermit { database: database.clone(), oid }).await?;
        self.bench
            .ledger
            .update(|record| {
                record.owned.resources.retain(|r| r.kind != ResourceKind::Database);
                record.owned.resources.retain(|r| r.kind != ResourceKind::Role);
            })
            .await?;
        Ok(())
    }

    /// The address a site uses, for its environment.
    pub(in crate::controller) fn site_url(provider: &dyn Databases, database: &Database, password: &Secret) -> Secret {
        provider.site_url(&database.name, &database.login, password)
    }
}

/// From here on a database that is not there is one that we dropped.
fn doubt_database(owned: &mut Owned) {
    let of_database = |known: &&mut OwnedResource| matches!(known.kind, ResourceKind::Database | ResourceKind::Role);
    owned.resources.iter_mut().filter(of_database).for_each(|known| known.mark = MarkState::Pending);
}
