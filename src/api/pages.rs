//! The status page and its style sheet, served.

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use jiff::Timestamp;

use crate::api::problem::Problem;
use crate::api::{Api, deletions, page, view};

/// The page, as things stand.
pub async fn status_page(State(api): State<Api>) -> Result<Html<String>, Problem> {
    let overview = view::overview(&*api.store, &api.lens).await?;
    let deletions = deletions::deletions(&*api.store, &api.lens).await?;
    Ok(Html(page::render(&overview, &deletions, Timestamp::now())))
}

/// Its style sheet.
pub async fn style() -> impl IntoResponse {
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600, must-revalidate")];
    (headers, page::STYLE)
}
