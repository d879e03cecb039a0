//! What every page has around it: landmarks, navigation, the place where the live script speaks, the question for the token.

use jiff::Timestamp;

use crate::api::dashboard::html::{Html, text};

/// Seconds between two loads where no script runs.
const RELOAD_SECONDS: u32 = 10;

/// How often a page is looked at again besides the news that reach it, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tempo {
    /// A log grows.
    Running,
    /// Something is under way.
    Moving,
    /// Only times pass.
    Still,
    /// Without scripts never: a person fills in a form.
    OnInput,
    /// Never at all: making it spends calls.
    Once,
}

impl Tempo {
    fn milliseconds(self) -> u32 {
        match self {
            Tempo::Running => 700,
            Tempo::Moving => 3_000,
            Tempo::Still => 15_000,
            Tempo::OnInput => 3_000,
            Tempo::Once => 0,
        }
    }
}

/// One page.
#[derive(Debug)]
pub struct Page<'a> {
    /// Beside the product's name.
    pub title: &'a str,
    /// Its entry in the navigation: the address.
    pub place: &'a str,
    /// How often it is looked at again.
    pub tempo: Tempo,
    /// The same as JSON.
    pub json: Option<&'a str>,
    /// Everything inside `main`.
    pub body: Html,
}

/// The pages of the navigation.
const PLACES: [(&str, &str); 4] =
    [("/", "Fleet"), ("/deletions", "Deletions"), ("/providers", "Providers"), ("/new", "New client")];

const MARK: &str = "<svg viewBox=\"0 0 24 24\" width=\"22\" height=\"22\" aria-hidden=\"true\"><rect width=\"24\" height=\"24\" rx=\"6\"/><path d=\"M6.5 14.5 10 18l7.5-9.5M6.5 9.5 9 12\"/></svg>";

impl Page<'_> {
    /// The whole document.
    pub fn render(self, now: Timestamp) -> String {
        let reload = match self.tempo {
            Tempo::OnInput | Tempo::Once => String::new(),
            _ => format!("<noscript><meta http-equiv=\"refresh\" content=\"{RELOAD_SECONDS}\"></noscript>\n"),
        };
        let json = self.json.map(|path| format!(" · <a href=\"{}\">The same as JSON</a>", text(path)));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title} · Sitewright</title>\n\
             <link rel=\"icon\" type=\"image/svg+xml\" href=\"/dashboard.svg\">\n\
             <link rel=\"stylesheet\" href=\"/dashboard.css\">\n\
             <script type=\"module\" src=\"/dashboard.js\"></script>\n{reload}</head>\n<body>\n\
             <a class=\"skip\" href=\"#main\">Skip to content</a>\n\
             <header class=\"top\"><div class=\"bar\"><a class=\"brand\" href=\"/\">{MARK}Sitewright</a>\n{navigation}\
             <p class=\"live\" id=\"live\"><span class=\"pulse\" aria-hidden=\"true\"></span><span id=\"live-word\">Not live</span></p></div></header>\n\
             <main id=\"main\" tabindex=\"-1\" data-tempo=\"{tempo}\">\n{body}</main>\n\
             <footer id=\"foot\"><p>As of <time datetime=\"{now}\">{now:.0}</time>{json}</p></footer>\n\
             <div id=\"said\" class=\"said\" role=\"status\" aria-live=\"polite\"></div>\n{KEY}</body>\n</html>\n",
            title = text(self.title),
            navigation = navigation(self.place),
            tempo = self.tempo.milliseconds(),
            body = self.body,
            json = json.unwrap_or_default(),
        )
    }
}

/// The page that stands for every other one until the token is given; it says nothing of anybody.
pub fn locked(now: Timestamp) -> String {
    let mut body = Html::default();
    body.put(format_args!(
        "<div class=\"head\" data-locked><h1>The token is needed</h1></div>\n<p class=\"sentence\">From elsewhere than this \
         machine, pages are shown to whoever has the <code>apiToken</code>.</p>\n\
         <p class=\"needs-script\"><button type=\"button\" class=\"primary\" data-unlock>Give the token</button></p>\n\
         <p class=\"needs-no-script\">That needs scripts; without them, read through an SSH tunnel to the daemon’s machine.</p>\n"
    ));
    Page { title: "Locked", place: "", tempo: Tempo::OnInput, json: None, body }.render(now)
}

fn navigation(here: &str) -> String {
    let mut out = Html::default();
    out.put(format_args!("<nav aria-label=\"Pages\"><ul>"));
    for (place, name) in PLACES {
        let current = if place == here { " aria-current=\"page\"" } else { "" };
        out.put(format_args!("<li><a href=\"{place}\"{current}>{name}</a></li>"));
    }
    out.put(format_args!("</ul></nav>\n"));
    out.finish()
}

/// The question for the token: asked once, kept for the tab's session, never part of an address.
const KEY: &str = "<dialog id=\"key\" aria-labelledby=\"key-title\"><form method=\"dialog\">\
    <h2 id=\"key-title\">API token</h2>\
    <p>Acting needs the <code>apiToken</code> of the daemon’s settings. It is kept until this tab is closed.</p>\
    <label for=\"key-text\">Token</label>\
    <input id=\"key-text\" type=\"password\" autocomplete=\"off\" spellcheck=\"false\" required>\
    <div class=\"row end\"><button type=\"button\" class=\"quiet\" value=\"cancel\">Cancel</button>\
    <button value=\"use\" class=\"primary\">Use it</button></div></form></dialog>\n";
