//! A client that is not there, put into a copy of the state, so that a plan can be made for it before anything is saved.

use jiff::Timestamp;

use crate::resource::mark::Mark;
use crate::resource::name::ClientName;
use crate::store::{AcceptedSpec, ClientRecord, Store, Stored, seal};

/// Adds the client as the daemon would at first sight of its file.
///
/// # Errors
/// No uid can be made; the copy cannot be written.
pub async fn add(copy: &dyn Store, name: &ClientName, text: String) -> Stored<()> {
    let mark = Mark { instance: copy.instance(None).await?, uid: seal::new_uid()? };
    let file = format!("{name}.yaml");
    // The hash tells a changed spec from the one before; there is none before.
    let accepted = AcceptedSpec { text, file, spec_hash: String::new(), at: Timestamp::now() };
    let draft = ClientRecord::new(name.clone(), mark);
    copy.save(&ClientRecord { accepted: Some(accepted), generation: 1, ..draft }).await
}
