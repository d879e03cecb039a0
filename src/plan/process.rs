//! The client's process, where the host lets us stop and start it.

use crate::plan::change::{Op, Step};
use crate::plan::draft::{Draft, Input, Stage};
use crate::resource::desired::DesiredSite;
use crate::resource::kind::ResourceKind;
use crate::resource::owned::ProcessState;
use crate::resource::site::Purpose;

/// A process that we ended, or may have, is started again from its release; a release that is due starts it by itself.
pub fn start(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) {
    let ended = input.owned.details.process.as_ref().is_some_and(|seen| seen.value != ProcessState::Running);
    if !ended || input.owned.releases.live.is_none() || input.owned.releases.in_flight.is_some() {
        return;
    }
    let resource = wanted.piece(ResourceKind::Process, input.desired.process.as_str());
    if let Some(why) = input.run(Purpose::StopProcess).or_else(|| input.run(Purpose::DeleteProcess)) {
        draft.wait(resource, "ProcessStopping", format!("the script that ends the process runs ({why})"), None);
        return;
    }
    match input.run(Purpose::StartProcess) {
        Some(why) => {
            draft.wait(resource, "ProcessStarting", format!("the script that starts the process runs ({why})"), None)
        }
        None => draft.act(
            Op::Run,
            resource,
            Vec::new(),
            "it was stopped and the client is wanted active",
            Step::StartRun(Purpose::StartProcess),
        ),
    };
}

/// Stops or deletes the client's process by a script, whose exit code decides (decisions 4). A deploy that we asked for may
/// have started one although nobody saw it end well: what is not known to have ended is ended.
pub fn end(input: &Input<'_>, draft: &mut Draft<'_>, site: &DesiredSite, purpose: Purpose) -> Stage {
    let has_ended = match input.owned.details.process.as_ref().map(|seen| seen.value) {
        Some(ProcessState::Gone) => true,
        Some(ProcessState::Stopped) => purpose == Purpose::StopProcess,
        Some(ProcessState::Running | ProcessState::Ending) => false,
        None => input.owned.releases.next_number == 1,
    };
    if has_ended {
        return Stage::Done;
    }
    let resource = site.piece(ResourceKind::Process, input.desired.process.as_str());
    match input.run(purpose) {
        Some(why) => {
            draft.wait(resource, "ProcessStopping", format!("the script that ends the process runs ({why})"), None)
        }
        None => draft.act(
            Op::Run,
            resource,
            Vec::new(),
            "a process left behind keeps port, memory and sessions",
            Step::StartRun(purpose),
        ),
    }
}
