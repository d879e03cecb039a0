//! The table of all operations: router and OpenAPI document are both made of it, so neither knows what the other does not.

use std::sync::LazyLock;

use axum::Json;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::Value;

use crate::api::operation::{Access, Operation};
use crate::api::plan::PlanDocument;
use crate::api::view::ClientView;
use crate::api::{
    clients, dashboard, deletions, deployments, document, health, metrics, provisioning, requests, stream,
};
use crate::store::history::Deployment;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document::build(&operations()));

/// Serves the document of all of them.
async fn serve_document() -> Json<&'static Value> {
    Json(&DOCUMENT)
}

/// Everything that is served.
pub fn operations() -> Vec<Operation> {
    [pages(), surroundings(), reading(), asking(), former()].into_iter().flatten().collect()
}

/// The dashboard: what people look at.
fn pages() -> Vec<Operation> {
    let page =
        |path, id, summary, handler| Operation::read(path, id, summary, handler).text("text/html; charset=utf-8");
    let plan = |path, id, summary, handler| page(path, id, summary, handler).fails(&[409, 503, 504]);
    vec![
        page("/", "fleetPage", "The fleet at a glance", get(dashboard::fleet)).query::<dashboard::fleet::FleetQuery>(),
        page("/clients/{name}", "clientPage", "One client", get(dashboard::client)),
        plan("/clients/{name}/plan", "planPage", "Its plan, by a fresh look", get(dashboard::client_plan)),
        page("/deployments/{id}", "deploymentPage", "One deploy", get(dashboard::deployment)),
        page("/deletions", "deletionsPage", "What goes when", get(dashboard::removals)),
        page("/providers", "providersPage", "How full the accounts are", get(dashboard::providers)),
        page("/new", "wizardPage", "The wizard: its answers are the query", get(dashboard::wizard)),
        plan("/new/plan", "draftPlanPage", "What a draft would lead to", get(dashboard::draft_plan)),
        Operation::read("/new.yaml", "draftFile", "A draft as a file", get(dashboard::draft_file))
            .text("application/yaml"),
        Operation::read("/dashboard.css", "style", "The style sheet", get(dashboard::style))
            .text("text/css; charset=utf-8"),
        Operation::read("/dashboard.js", "script", "The live script", get(dashboard::script))
            .text("text/javascript; charset=utf-8"),
        Operation::read("/dashboard.svg", "icon", "The icon", get(dashboard::icon)).text("image/svg+xml"),
    ]
}

/// What machines ask besides the data.
fn surroundings() -> Vec<Operation> {
    vec![
        Operation::open("/healthz", "healthz", "Whether the process answers", get(health::healthy))
            .text("text/plain; charset=utf-8"),
        Operation::open("/readyz", "readyz", "Whether the loop turns and the state answers", get(health::ready))
            .text("text/plain; charset=utf-8")
            .fails(&[503]),
        Operation::read("/metrics", "metrics", "What the loop counted, for a scraper", get(health::measured))
            .text(metrics::CONTENT_TYPE),
        Operation::read("/version", "version", "Name and version of the program", get(health::version))
            .gives::<health::Version>(),
        Operation::read("/openapi.json", "openapi", "This document", get(serve_document)),
    ]
}

fn reading() -> Vec<Operation> {
    vec![
        Operation::read(
            "/api/v1/clients",
            "listClients",
            "Clients by name, page by page, and what concerns all",
            get(clients::list),
        )
        .query::<clients::ClientsQuery>()
        .gives::<clients::ClientPage>(),
        Operation::read("/api/v1/clients/{name}", "getClient", "One client", get(clients::one)).gives::<ClientView>(),
        Operation::read(
            "/api/v1/clients/{name}/plan",
            "planClient",
            "What would be done for it now, by a fresh look; writes nothing",
            get(clients::plan),
        )
        .gives::<PlanDocument>()
        .fails(&[409, 503, 504]),
        Operation::read(
            "/api/v1/clients/{name}/events",
            "listEvents",
            "What happened to it, oldest first",
            get(clients::events),
        )
        .query::<clients::EventsQuery>()
        .gives::<clients::EventPage>(),
        Operation::read(
            "/api/v1/clients/{name}/deployments",
            "listDeployments",
            "Its deploys, the newest first",
            get(deployments::list),
        )
        .query::<deployments::DeploymentsQuery>()
        .gives::<deployments::DeploymentPage>(),
        Operation::read("/api/v1/deployments/{id}", "getDeployment", "One deploy", get(deployments::one))
            .gives::<Deployment>(),
        Operation::read("/api/v1/deployments/{id}/logs", "deploymentLogs", "What it printed", get(deployments::logs))
            .gives::<deployments::DeploymentLog>(),
        Operation::read(
            "/api/v1/deletions",
            "deletions",
            "What waits to be removed, what is held, what was kept",
            get(clients::removals),
        )
        .gives::<deletions::Deletions>(),
        Operation::read("/api/v1/providers", "providers", "How the accounts stand", get(clients::providers))
            .gives::<clients::ProvidersPage>(),
        Operation::read("/api/v1/requests/{id}", "getRequest", "What became of a request", get(requests::one))
            .gives::<requests::RequestView>(),
        Operation::read(
            "/api/v1/events",
            "streamEvents",
            "What happens, as server-sent events: `data` is an EventView; `gap` and `lagged` carry a StreamNotice",
            get(stream::events),
        )
        .query::<stream::StreamQuery>()
        .text("text/event-stream")
        .fails(&[503]),
    ]
}

fn asking() -> Vec<Operation> {
    vec![
        Operation::ask::<requests::Nothing>(
            "/api/v1/clients/{name}/reconcile",
            "reconcileClient",
            "A look now, waiting times forgotten",
            post(requests::reconcile),
        ),
        Operation::ask::<requests::Nothing>(
            "/api/v1/clients/{name}/deploy",
            "deployClient",
            "One more deploy",
            post(requests::deploy),
        ),
        Operation::ask::<requests::RollbackBody>(
            "/api/v1/clients/{name}/rollback",
            "rollbackClient",
            "An earlier release once more, until the spec's source changes",
            post(requests::rollback),
        )
        .fails(&[409]),
        Operation::ask::<requests::PauseBody>(
            "/api/v1/clients/{name}/pause",
            "pauseClient",
            "Nothing is written for it until it is resumed",
            post(requests::pause),
        ),
        Operation::ask::<requests::ResumeBody>(
            "/api/v1/clients/{name}/resume",
            "resumeClient",
            "Goes on after a pause",
            post(requests::resume),
        ),
        Operation::ask::<requests::ApproveBody>(
            "/api/v1/deletions/approve",
            "approveDeletions",
            "Releases a held set of removals by its hash, or ends recovery",
            post(requests::approve),
        )
        .fails(&[409]),
        Operation {
            status: StatusCode::CREATED,
            ..Operation::ask::<dashboard::save::SpecBody>(
                "/api/v1/specs",
                "saveSpec",
                "Saves the spec of a new client into the specs directory, where dashboard.save is on; never over a file",
                post(dashboard::save::save),
            )
            .gives::<dashboard::save::Saved>()
            .fails(&[409])
        },
    ]
}

/// The replaced system's calls.
fn former() -> Vec<Operation> {
    let start = |path, id| {
        let start = Operation::ask::<provisioning::ProvisionBody>(
            path,
            id,
            "As the replaced system: a look at a client that has its spec",
            post(provisioning::start),
        );
        Operation { access: Access::WriteAsBefore, ..start.gives::<provisioning::JobAccepted>().fails(&[404]) }
    };
    let [platform, provisioning] = provisioning::PATHS;
    vec![
        start(platform, "platformProvision"),
        start(provisioning, "provisioningStart"),
        Operation::read(
            "/api/provisioning/status/{id}",
            "provisioningStatus",
            "As the replaced system: how far a job is, told from the client's conditions",
            get(provisioning::status),
        )
        .gives::<provisioning::JobStatus>(),
        Operation::read(
            "/api/provisioning/logs/{id}",
            "provisioningLogs",
            "As the replaced system: what happened to the client since",
            get(provisioning::logs),
        )
        .gives::<provisioning::JobLogs>(),
    ]
}
