//! The table of all operations: router and OpenAPI document are both made of it, so neither knows what the other does not.

use axum::http::{Method, StatusCode};
use axum::routing::{MethodRouter, get, post};
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};

use crate::api::plan::PlanDocument;
use crate::api::view::ClientView;
use crate::api::{
    Api, clients, deletions, deployments, document, health, metrics, pages, provisioning, requests, stream,
};
use crate::store::history::Deployment;

/// The shape of a part of a request or an answer.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// What an operation answers when all is well.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// JSON of this shape.
    Json(Shape),
    /// Text of this media type.
    Text(&'static str),
    /// Any JSON object.
    Object,
}

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Loopback, and whoever has the token.
    Read,
    /// Whoever has the token.
    Write,
    /// The same; the token may also come as the replaced system sent its secret.
    WriteAsBefore,
}

/// One method of one path.
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path, parameters in braces.
    pub path: &'static str,
    /// Its name.
    pub id: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What its query may hold.
    pub query: Option<Shape>,
    /// What its body must be.
    pub body: Option<Shape>,
    /// Its status when all is well.
    pub status: StatusCode,
    /// What it answers then.
    pub answer: Answer,
    /// Further statuses, each a problem document.
    pub problems: Vec<StatusCode>,
    /// Who does it.
    pub handler: MethodRouter<Api>,
}

fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Operation {
    fn new(
        method: Method,
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        let mut problems = vec![StatusCode::INTERNAL_SERVER_ERROR];
        if path.contains('{') {
            problems.push(StatusCode::NOT_FOUND);
        }
        Operation {
            method,
            path,
            id,
            summary,
            access: Access::Open,
            query: None,
            body: None,
            status: StatusCode::OK,
            answer: Answer::Object,
            problems,
            handler,
        }
    }

    /// One that everybody may read.
    fn open(path: &'static str, id: &'static str, summary: &'static str, handler: MethodRouter<Api>) -> Self {
        Operation::new(Method::GET, path, id, summary, handler)
    }

    /// One that reads.
    fn read(path: &'static str, id: &'static str, summary: &'static str, handler: MethodRouter<Api>) -> Self {
        let read = Operation { access: Access::Read, ..Operation::open(path, id, summary, handler) };
        read.fails(&[400, 401, 403, 421])
    }

    /// One that asks for something: a body of that shape, and `202` with where its fate can be read.
    fn ask<B: JsonSchema>(
        path: &'static str,
        id: &'static str,
        summary: &'static str,
        handler: MethodRouter<Api>,
    ) -> Self {
        let ask = Operation {
            access: Access::Write,
            body: Some(shape::<B>),
            status: StatusCode::ACCEPTED,
            answer: Answer::Json(shape::<requests::RequestView>),
            ..Operation::new(Method::POST, path, id, summary, handler)
        };
        ask.fails(&[400, 401, 403, 408, 413, 415, 421, 422])
    }

    fn gives<T: JsonSchema>(self) -> Self {
        Operation { answer: Answer::Json(shape::<T>), ..self }
    }

    fn text(self, media_type: &'static str) -> Self {
        Operation { answer: Answer::Text(media_type), ..self }
    }

    fn query<T: JsonSchema>(self) -> Self {
        Operation { query: Some(shape::<T>), ..self }
    }

    fn fails(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses.iter().filter_map(|status| StatusCode::from_u16(*status).ok()));
        self.problems.sort();
        self.problems.dedup();
        self
    }
}

/// Everything that is served.
pub fn operations() -> Vec<Operation> {
    [pages(), reading(), asking(), former()].into_iter().flatten().collect()
}

fn pages() -> Vec<Operation> {
    vec![
        Operation::read("/", "page", "The status page", get(pages::status_page)).text("text/html; charset=utf-8"),
        Operation::read("/style.css", "pageStyle", "Its style sheet", get(pages::style))
            .text("text/css; charset=utf-8"),
        Operation::open("/healthz", "healthz", "Whether the process answers", get(health::healthy))
            .text("text/plain; charset=utf-8"),
        Operation::open("/readyz", "readyz", "Whether the loop turns and the state answers", get(health::ready))
            .text("text/plain; charset=utf-8")
            .fails(&[503]),
        Operation::read("/metrics", "metrics", "What the loop counted, for a scraper", get(health::measured))
            .text(metrics::CONTENT_TYPE),
        Operation::read("/version", "version", "Name and version of the program", get(health::version))
            .gives::<health::Version>(),
        Operation::read("/openapi.json", "openapi", "This document", get(document::serve)),
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
