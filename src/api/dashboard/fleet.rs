//! `/`: the fleet at a glance. What holds everything back comes first, with the way out; then how many stand how; then the
//! clients, a window of them at a time, so that a thousand cost what a hundred cost.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use crate::api::dashboard::frame::{Page, Tempo};
use crate::api::dashboard::html::{Html, absent, breakable, counted, link, text, time, time_or};
use crate::api::dashboard::standing::{self, ALL, Standing};
use crate::api::deletions::Deletions;
use crate::api::view::{self, ClientView, Lens, Overview, is_gone};
use crate::store::ClientRecord;

/// Clients on one page.
pub const WINDOW: usize = 100;
/// Longest text that is searched for, in characters.
const SEARCH_CHARS_MAX: usize = 100;

/// What is asked for.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FleetQuery {
    /// A part of a name or a domain.
    pub q: String,
    /// Labels: `tier=gold,region=eu`.
    pub selector: String,
    /// One of the five words.
    pub standing: String,
    /// Which window, from 1.
    pub page: usize,
}

impl FleetQuery {
    fn address(&self, page: usize) -> String {
        let mut query = Serializer::new(String::new());
        for (key, value) in [("q", &self.q), ("selector", &self.selector), ("standing", &self.standing)] {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        if page > 1 {
            query.append_pair("page", &page.to_string());
        }
        let query = query.finish();
        if query.is_empty() { "/".to_owned() } else { format!("/?{query}") }
    }

    fn is_open(&self) -> bool {
        self.q.is_empty() && self.selector.is_empty() && self.standing.is_empty()
    }
}

/// The fleet as far as it is shown.
#[derive(Debug)]
pub struct Fleet {
    /// How many clients stand how, in the order of [`ALL`].
    pub counts: [usize; 5],
    /// Clients that fit what is asked for.
    pub matching: usize,
    /// Which window is shown, from 1.
    pub page: usize,
    /// What is wrong with what is asked for.
    pub problem: Option<String>,
    /// The window, and what concerns all.
    pub overview: Overview,
}

/// Counts all, and picks the window. Only the specs that must be read are read.
pub fn pick(records: &[ClientRecord], around: Overview, query: &FleetQuery, lens: &Lens) -> Fleet {
    let there: Vec<&ClientRecord> = records.iter().filter(|record| !is_gone(record)).collect();
    let counts = ALL.map(|standing| there.iter().filter(|record| Standing::of(&record.status) == standing).count());
    let filter = Filter::of(query);
    let matching: Vec<&ClientRecord> = there.into_iter().filter(|record| filter.fits(record, lens)).collect();
    let pages = matching.len().div_ceil(WINDOW).max(1);
    let page = query.page.clamp(1, pages);
    let window = matching.iter().skip((page - 1) * WINDOW).take(WINDOW);
    let clients = window.map(|record| view::client(record, lens)).collect();
    Fleet { counts, matching: matching.len(), page, problem: filter.problem, overview: Overview { clients, ..around } }
}

/// What is asked for, read.
struct Filter {
    search: String,
    labels: Vec<(String, String)>,
    standing: Option<Standing>,
    problem: Option<String>,
}

impl Filter {
    fn of(query: &FleetQuery) -> Filter {
        let mut labels = Vec::new();
        let mut problem = None;
        for part in query.selector.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((key, value)) if !key.is_empty() => labels.push((key.to_owned(), value.to_owned())),
                _ => problem = Some("a selector is made of labels such as tier=gold, with commas between them".into()),
            }
        }
        let search = query.q.trim().to_lowercase().chars().take(SEARCH_CHARS_MAX).collect();
        Filter { search, labels, standing: Standing::parse(&query.standing), problem }
    }

    fn fits(&self, record: &ClientRecord, lens: &Lens) -> bool {
        if self.standing.is_some_and(|standing| Standing::of(&record.status) != standing) {
            return false;
        }
        let named = self.search.is_empty() || record.name.as_str().contains(&self.search);
        if named && self.labels.is_empty() {
            return true;
        }
        let client = view::client(record, lens);
        let found = named || client.domain.as_ref().is_some_and(|domain| domain.contains(&self.search));
        found && self.labels.iter().all(|(key, value)| client.labels.get(key) == Some(value))
    }
}

/// The page.
pub fn render(fleet: &Fleet, query: &FleetQuery, deletions: &Deletions, now: Timestamp) -> String {
    let total: usize = fleet.counts.iter().sum();
    let [ready, waiting, ..] = fleet.counts;
    let mut body = Html::default();
    body.put(format_args!(
        "<div class=\"head\"><h1>Fleet</h1><p class=\"sum\" id=\"sum\">{ready} of {total} ready</p></div>\n"
    ));
    notices(&fleet.overview, deletions, now, &mut body);
    tiles(fleet, query, &mut body);
    if total == 0 {
        body.put(format_args!(
            "<div class=\"empty\"><h2>No clients yet</h2><p>Put a file into the specs directory, or \
             <a href=\"/new\">write one with the wizard</a>.</p></div>\n"
        ));
    } else {
        search(fleet, query, &mut body);
        table(fleet, query, now, &mut body);
    }
    let tempo = if waiting > 0 { Tempo::Moving } else { Tempo::Still };
    let title = format!("{ready} of {total} ready");
    Page { title: &title, place: "/", tempo, json: Some("/api/v1/clients"), body }.render(now)
}

/// What holds everything back, each with what to do.
fn notices(overview: &Overview, deletions: &Deletions, now: Timestamp, out: &mut Html) {
    let mut notice = |class: &str, head: &str, text: String| {
        out.put(format_args!("<li class=\"notice {class}\"><strong>{head}</strong> <span>{text}</span></li>\n"));
    };
    if let Some(problem) = &overview.directory {
        let way = "No client is removed because of it; mend the directory, the next scan sees it.";
        notice("broken", "The specs directory tells nothing.", format!("{}. {way}", text(problem)));
    }
    if let Some(recovery) = &overview.recovery {
        let way = "<a href=\"/deletions#recovery\">Look, and approve</a>";
        notice("paused", "Nothing is written: recovery.", format!("{} {way}", text(&recovery.message)));
    }
    if let Some(pause) = &overview.pause {
        let until = pause.until.map(|at| format!(", until {}", time(at, now))).unwrap_or_default();
        let way = "From a terminal: <code>sitewright resume --all</code>";
        let said = format!("{}, set {}{until}. {way}", text(&pause.reason), time(pause.since, now));
        notice("paused", "All clients are paused.", said);
    }
    if let Some(held) = &deletions.held {
        let head = format!("{} held.", counted(held.names.len(), "removal"));
        let way = "<a href=\"/deletions#held\">Look, and approve</a>, or put the files back.";
        notice("paused", &head, format!("{} {way}", text(&held.reason)));
    }
    for provider in overview.providers.iter().filter(|provider| provider.circuit != "closed") {
        let until = time_or(provider.resets_at, now, "not known");
        let head = format!("{} takes no calls.", text(&provider.name));
        notice(
            "waiting",
            &head,
            format!("Open again {until}; what needs it waits. <a href=\"/providers\">Budgets</a>"),
        );
    }
    for file in &overview.files {
        let head = format!("{} is not in force.", text(&file.file));
        notice("broken", &head, format!("<pre>{}</pre>", text(&file.problem.message)));
    }
}

fn tiles(fleet: &Fleet, query: &FleetQuery, out: &mut Html) {
    out.put(format_args!("<ul class=\"tiles\" aria-label=\"How many stand how\">\n"));
    for (standing, count) in ALL.into_iter().zip(fleet.counts) {
        let chosen = query.standing == standing.key();
        let key = if chosen { String::new() } else { standing.key().to_owned() };
        let address = FleetQuery { standing: key, ..query.clone() }.address(1);
        let current = if chosen { " aria-current=\"true\"" } else { "" };
        let zero = if count == 0 { " zero" } else { "" };
        out.put(format_args!(
            "<li><a class=\"tile {key}{zero}\" href=\"{address}\"{current}><b data-count=\"{key}\">{count}</b> <span>{word}</span></a></li>\n",
            key = standing.key(),
            address = text(&address),
            word = standing.word(),
        ));
    }
    out.put(format_args!("</ul>\n"));
}

fn search(fleet: &Fleet, query: &FleetQuery, out: &mut Html) {
    out.put(format_args!(
        "<form class=\"filter\" role=\"search\" action=\"/\" method=\"get\">\
         <div><label for=\"q\">Name or domain</label><input id=\"q\" name=\"q\" type=\"search\" value=\"{}\" autocomplete=\"off\"></div>\
         <div><label for=\"selector\">Labels</label><input id=\"selector\" name=\"selector\" value=\"{}\" placeholder=\"tier=gold\" autocomplete=\"off\" spellcheck=\"false\"></div>\
         <div><label for=\"standing\">Stands</label><select id=\"standing\" name=\"standing\"><option value=\"\">in any way</option>",
        text(&query.q),
        text(&query.selector),
    ));
    for standing in ALL {
        let chosen = if query.standing == standing.key() { " selected" } else { "" };
        out.put(format_args!("<option value=\"{}\"{chosen}>{}</option>", standing.key(), standing.word()));
    }
    out.put(format_args!("</select></div><button>Filter</button></form>\n"));
    if let Some(problem) = &fleet.problem {
        out.put(format_args!("<p class=\"problem\" role=\"alert\">{}</p>\n", text(problem)));
    }
}

fn table(fleet: &Fleet, query: &FleetQuery, now: Timestamp, out: &mut Html) {
    if fleet.overview.clients.is_empty() {
        out.put(format_args!("<p class=\"empty\">No client fits that. <a href=\"/\">Show all</a></p>\n"));
        return;
    }
    out.put(format_args!(
        "<div class=\"card\"><table class=\"fleet\">\n<caption class=\"unseen\">Clients</caption>\n<thead><tr>\
         <th scope=\"col\">Client</th><th scope=\"col\">Phase</th><th scope=\"col\">What it says</th>\
         <th scope=\"col\">Last deploy</th><th scope=\"col\">Next look</th></tr></thead>\n<tbody>\n"
    ));
    for client in &fleet.overview.clients {
        row(client, now, out);
    }
    out.put(format_args!("</tbody>\n</table></div>\n"));
    windows(fleet, query, out);
}

fn row(client: &ClientView, now: Timestamp, out: &mut Html) {
    let name = text(&client.name);
    let domain = match (&client.url, &client.domain) {
        (Some(url), Some(domain)) => link(url, domain),
        _ => absent("no domain is known: its spec cannot be read"),
    };
    let deployed = client.last_deployment.as_ref().map(|last| {
        let at = time_or(last.finished_at.or(last.started_at), now, "time not known");
        format!("{} <span class=\"soft\">#{} {at}</span>", standing::deployment(last.state), last.number)
    });
    out.put(format_args!(
        "<tr id=\"c-{name}\"><th scope=\"row\"><a href=\"/clients/{name}\">{}</a><span class=\"domain\">{domain}</span></th>\
         <td data-label=\"Phase\">{}</td><td class=\"message\" data-label=\"Says\">{}</td>\
         <td data-label=\"Last deploy\">{}</td><td data-label=\"Next look\">{}</td></tr>\n",
        breakable(&client.name),
        standing::phase(client),
        text(&client.message),
        deployed.unwrap_or_else(|| absent("nothing was deployed yet")),
        time_or(client.next_attempt, now, "none is set"),
    ));
}

/// Which window this is, and the ways to the others.
fn windows(fleet: &Fleet, query: &FleetQuery, out: &mut Html) {
    let pages = fleet.matching.div_ceil(WINDOW);
    let first = (fleet.page - 1) * WINDOW + 1;
    let last = first + fleet.overview.clients.len() - 1;
    let of = if query.is_open() { "" } else { " that fit" };
    out.put(format_args!(
        "<nav class=\"windows\" aria-label=\"Windows\"><p>{first}–{last} of {}{of}</p>",
        fleet.matching
    ));
    if fleet.page > 1 {
        out.put(format_args!("<a rel=\"prev\" href=\"{}\">Previous</a>", text(&query.address(fleet.page - 1))));
    }
    if fleet.page < pages {
        out.put(format_args!("<a rel=\"next\" href=\"{}\">Next</a>", text(&query.address(fleet.page + 1))));
    }
    out.put(format_args!("</nav>\n"));
}
