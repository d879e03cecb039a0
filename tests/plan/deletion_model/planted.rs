//! Bugs that are planted on purpose: each makes the decisions blind to one protection.

use std::time::Duration;

use jiff::Timestamp;
use sitewright::controller::absence::{AbsenceRules, Absences, Presence};
use sitewright::plan::draft::Policy;
use sitewright::resource::database::DatabaseState;
use sitewright::resource::observed::Observed;
use sitewright::resource::owned::Owned;
use sitewright::resource::reading::Reading;

use crate::case::database_comment;

/// One protection that is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    IgnoresTtl,
    IgnoresGrace,
    IgnoresDatabaseGrace,
    IgnoresSessions,
    IgnoresOid,
    IgnoresBackupAge,
    IgnoresMark,
    IgnoresReclaimPolicy,
    IgnoresSite,
    IgnoresApproval,
    IgnoresTheDay,
    IgnoresFirstScan,
    IgnoresEvidence,
    /// The file that came back does not stop what is under way.
    KeepsGoing,
}

impl Planted {
    pub const ALL: [Planted; 14] = [
        Planted::IgnoresTtl,
        Planted::IgnoresGrace,
        Planted::IgnoresDatabaseGrace,
        Planted::IgnoresSessions,
        Planted::IgnoresOid,
        Planted::IgnoresBackupAge,
        Planted::IgnoresMark,
        Planted::IgnoresReclaimPolicy,
        Planted::IgnoresSite,
        Planted::IgnoresApproval,
        Planted::IgnoresTheDay,
        Planted::IgnoresFirstScan,
        Planted::IgnoresEvidence,
        Planted::KeepsGoing,
    ];

    pub fn tamper_with_scan(
        planted: Option<Planted>,
        scan: &mut Presence<'_>,
        rules: &mut AbsenceRules,
        absences: &mut Absences,
    ) {
        match planted {
            Some(Planted::IgnoresApproval) => absences.approved = absences.held.as_ref().map(|held| held.hash.clone()),
            Some(Planted::IgnoresTheDay) => absences.begun.clear(),
            Some(Planted::IgnoresFirstScan) => scan.first = false,
            Some(Planted::IgnoresEvidence) => rules.window = Duration::ZERO,
            _ => {}
        }
    }

    pub fn tamper_with_look(
        planted: Option<Planted>,
        observed: &mut Observed,
        policy: &mut Policy,
        owned: &mut Owned,
        now: Timestamp,
    ) {
        match planted {
            Some(Planted::IgnoresTtl) => policy.drain = Some(Duration::ZERO),
            Some(Planted::IgnoresGrace) => policy.deletion_grace = Duration::ZERO,
            Some(Planted::IgnoresDatabaseGrace) => policy.database_grace = Duration::ZERO,
            Some(Planted::IgnoresSite) => {
                if let Some(removal) = owned.removal.as_mut() {
                    removal.site_gone_at = Some(now);
                }
            }
            _ => {}
        }
        let Reading::Known(catalog) = &mut observed.catalog else { return };
        let Some(row) = catalog.databases.first_mut() else { return };
        let backup = owned.removal.as_mut().and_then(|removal| removal.backup.as_mut());
        match planted {
            Some(Planted::IgnoresSessions) => row.sessions = 0,
            Some(Planted::IgnoresMark) => row.comment = Some(database_comment(DatabaseState::Ready)),
            Some(Planted::IgnoresOid) => backup.into_iter().for_each(|backup| backup.oid = row.oid),
            Some(Planted::IgnoresBackupAge) => backup.into_iter().for_each(|backup| backup.verified_at = now),
            _ => {}
        }
    }
}
