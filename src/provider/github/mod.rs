//! The Git host: heads of branches, by conditional requests that cost nothing while nothing changed.

use std::collections::HashMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::{Method, StatusCode, header};

use crate::provider::error::ErrorClass;
use crate::provider::http::HttpClient;
use crate::provider::{Answer, Git};
use crate::resource::name::{Commit, RepositorySlug};

/// Answers with the id alone instead of the commit with its files.
const COMMIT_ID_ONLY: &str = "application/vnd.github.sha";
/// Branches whose last answer is remembered: beyond it the memory starts afresh.
const REMEMBERED_MAX: usize = 10_000;

/// Branch heads of one GitHub account (or of anybody, without a token).
pub struct GitHub {
    http: HttpClient,
    remembered: Mutex<HashMap<String, (String, Commit)>>,
}

impl GitHub {
    /// Heads over an HTTP client whose base is `GITHUB_API_URL`.
    pub fn new(http: HttpClient) -> Self {
        GitHub { http, remembered: Mutex::default() }
    }
}

#[async_trait]
impl Git for GitHub {
    async fn head(&self, repository: &RepositorySlug, branch: &str) -> Answer<Option<Commit>> {
        let path = format!("repos/{repository}/commits/{}", escaped(branch));
        let known = self.remembered.lock().get(&path).cloned();
        let mut headers = vec![(header::ACCEPT, COMMIT_ID_ONLY.to_owned())];
        headers.extend(known.iter().map(|(tag, _)| (header::IF_NONE_MATCH, tag.clone())));
        let fail = |text: &str| self.http.error(&Method::GET, &path, ErrorClass::Unavailable(text.into()));
        let answer = match self.http.get_with(&path, &[], &headers).await? {
            Ok(answer) => answer,
            // No such repository or branch, or none that this token sees; 409 is a repository without a commit.
            Err(refusal) if matches!(refusal.status.as_u16(), 404 | 409 | 422) => {
                self.remembered.lock().remove(&path);
                return Ok(None);
            }
            Err(refusal) => return Err(self.http.error(&Method::GET, &path, refusal.class())),
        };
        if answer.status == StatusCode::NOT_MODIFIED {
            return known.map(|(_, commit)| Some(commit)).ok_or_else(|| fail("`not modified` without a question"));
        }
        let text = std::str::from_utf8(&answer.body).unwrap_or_default().trim();
        let commit = Commit::parse(text).map_err(|_| fail("an answer that is no commit id"))?;
        if let Some(tag) = answer.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()) {
            let mut remembered = self.remembered.lock();
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(path, (tag.to_owned(), commit.clone()));
        }
        Ok(Some(commit))
    }
}

/// A branch name as a path: slashes stay, everything unusual is percent-encoded.
fn escaped(branch: &str) -> String {
    branch
        .bytes()
        .map(|byte| match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
