//! A dump counts as a backup only when it could be restored: into a scratch database of our own, which goes again.

use std::time::Duration;

use tokio::time::sleep;

use crate::provider::Answer;
use crate::provider::error::{ErrorClass, ProviderError};
use crate::provider::postgres::backup::Dump;
use crate::provider::postgres::sql::{self, Identifier, Literal};
use crate::provider::postgres::{PROVIDER, Postgres};
use crate::resource::name::SqlName;

/// How often the drop of a scratch database is tried: the server needs a moment to see that the restore's session has ended.
const DROPS_MAX: u32 = 10;
/// Between two tries.
const DROP_PAUSE: Duration = Duration::from_millis(300);

impl Postgres {
    /// Restores a dump of the database with this oid. Needs as much room at the server as the database has.
    pub(super) async fn rehearse(&self, dump: &Dump, oid: u32) -> Answer<()> {
        let failed = |class| ProviderError::new(PROVIDER, format!("restore the dump of {oid} on trial"), class);
        let scratch = SqlName::parse(&format!("sitewright_trial_{oid}"))
            .map_err(|error| failed(ErrorClass::Invalid(error.to_string())))?;
        let name = Identifier::new(&scratch).map_err(failed)?;
        self.drop_trial(&scratch, &name).await?;
        {
            let mut turn = self.writer.enter().await;
            turn.run(&sql::create_database(&name)).await?;
            turn.run(&sql::isolate(&name)).await?;
        }
        let restored = dump.restore_into(&self.address, &scratch).await;
        let dropped = self.drop_trial(&scratch, &name).await;
        restored.and(dropped)
    }

    /// What an earlier trial left goes first; a database of that name that is not ours stops the trial.
    async fn drop_trial(&self, scratch: &SqlName, name: &Identifier) -> Answer<()> {
        let owner = sql::is_bare_database(&Literal::new(scratch.as_str()));
        for left in (0..DROPS_MAX).rev() {
            let rows = self.reader.enter().await.run(&owner).await?;
            match rows.into_iter().flatten().flatten().next().as_deref() {
                None => return Ok(()),
                Some("t") => {}
                Some(_) => {
                    let class = ErrorClass::Exists(format!("{scratch} belongs to somebody else; rename or remove it"));
                    return Err(ProviderError::new(PROVIDER, format!("drop {scratch}"), class));
                }
            }
            match self.writer.enter().await.run(&sql::drop_database(name)).await {
                Err(error) if left > 0 && matches!(error.class, ErrorClass::Busy(_)) => sleep(DROP_PAUSE).await,
                other => return other.map(|_| ()),
            }
        }
        Ok(())
    }
}
