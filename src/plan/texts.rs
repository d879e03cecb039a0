//! The texts a release is built with: the environment file and the deploy script.

use crate::plan::change::{FieldChange, Op, Step};
use crate::plan::draft::{Draft, Input, Stage};
use crate::plan::take_over;
use crate::resource::desired::{DesiredEnvironment, DesiredSite};
use crate::resource::kind::{ResourceKind, ResourceRef};
use crate::resource::owned::EnvironmentSeen;
use crate::resource::reading::{Reading, Wanted};
use crate::resource::secret::Digest;

/// The environment file.
pub fn plan_environment(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = wanted.piece(ResourceKind::Environment, wanted.domain.as_str());
    let environment = match &wanted.environment {
        Wanted::Value(environment) => environment,
        Wanted::Missing { reason, message } => return draft.refuse(resource, reason, message),
    };
    match &input.observed.environment {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
        Reading::Known(seen) if seen.digest.as_ref() == Some(&environment.digest) => draft.settle(
            ResourceKind::Environment,
            "Ready",
            format!("{} variables are written", environment.values.len()),
        ),
        Reading::Known(seen) if let Some(left) = leave_environment(input, draft, &resource, environment, seen) => left,
        Reading::Known(seen) => {
            let op = if seen.digest.is_none() { Op::Create } else { Op::Update };
            let step = Step::WriteEnvironment { text: environment.text.clone(), digest: environment.digest.clone() };
            draft.act(op, resource, environment_changes(environment, seen), "the environment differs", step)
        }
    }
}

fn leave_environment(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    resource: &ResourceRef,
    environment: &DesiredEnvironment,
    seen: &EnvironmentSeen,
) -> Option<Stage> {
    let difference = take_over::of_environment(&environment.digest, seen);
    let difference = difference.filter(|_| take_over::leaves_installation(input))?;
    let sentence = format!("{} variables differ from the spec", environment_changes(environment, seen).len());
    take_over::accept(input, draft, resource.clone(), resource.kind.to_string(), difference, sentence)
}

/// Which variables differ; values are never shown, they may hold anything.
fn environment_changes(wanted: &DesiredEnvironment, seen: &EnvironmentSeen) -> Vec<FieldChange> {
    if seen.digest.is_none() {
        return vec![FieldChange::shown("variables", None, Some(wanted.values.len().to_string()))];
    }
    let changed = wanted
        .digests
        .iter()
        .filter(|(name, digest)| seen.digests.get(*name) != Some(digest))
        .map(|(name, _)| FieldChange::masked(format!("env.{name}")));
    let gone = seen
        .digests
        .keys()
        .filter(|name| !wanted.digests.contains_key(*name))
        .map(|name| FieldChange::shown(format!("env.{name}"), Some("(set)".into()), None));
    changed.chain(gone).collect()
}

/// The deploy script.
pub fn plan_script(input: &Input<'_>, draft: &mut Draft<'_>, wanted: &DesiredSite) -> Stage {
    let resource = wanted.piece(ResourceKind::DeployScript, wanted.domain.as_str());
    match &input.observed.script {
        Reading::Unknown { reason } => draft.unknown(resource, reason),
        Reading::Known(Some(found)) if *found == wanted.script_digest => {
            draft.settle(ResourceKind::DeployScript, "Ready", "the deploy script is ours")
        }
        Reading::Known(found) if let Some(left) = leave_script(input, draft, wanted, found) => left,
        Reading::Known(found) => {
            let op = if found.is_none() { Op::Create } else { Op::Update };
            let step = Step::WriteDeployScript { text: wanted.script.clone(), digest: wanted.script_digest.clone() };
            draft.act(op, resource, Vec::new(), "the deploy script differs", step)
        }
    }
}

fn leave_script(
    input: &Input<'_>,
    draft: &mut Draft<'_>,
    wanted: &DesiredSite,
    found: &Option<Digest>,
) -> Option<Stage> {
    let difference = take_over::of_script(wanted, found).filter(|_| take_over::leaves_installation(input))?;
    let resource = wanted.piece(ResourceKind::DeployScript, wanted.domain.as_str());
    let name = ResourceKind::DeployScript.to_string();
    take_over::accept(input, draft, resource, name, difference, "the deploy script is another one")
}
