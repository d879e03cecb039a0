//! `/providers`: how full each account's window is, when it is free again, and what the newest cycle asked.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::dashboard::frame::{Page, Tempo};
use crate::api::dashboard::html::{Html, counted, text, time};
use crate::api::dashboard::standing::{Standing, chip};
use crate::api::moment::relative;
use crate::api::view::{CallsView, ProviderView};
use crate::controller::accounts::Standing as Account;
use crate::plan::draft::later;
use crate::provider::http::budget::BudgetState;

/// Steps of a forecast that are shown.
const STEPS_MAX: usize = 4;

/// An account as it is shown, and the budget it was told from.
#[derive(Debug)]
pub struct Gauge {
    /// As `status` shows it.
    pub view: ProviderView,
    /// As the daemon last noted it.
    pub noted: Account,
}

/// The page.
pub fn render(gauges: &[Gauge], calls: Option<&CallsView>, now: Timestamp) -> String {
    let mut body = Html::default();
    body.put(format_args!("<div class=\"head\"><h1>Providers</h1></div>\n"));
    if gauges.is_empty() {
        body.put(format_args!(
            "<p class=\"empty\">Nothing is known of any account yet: no provider with a budget is set up, or no cycle has begun.</p>\n"
        ));
    }
    body.put(format_args!("<div class=\"gauges\">\n"));
    for one in gauges {
        gauge(one, now, &mut body);
    }
    body.put(format_args!("</div>\n"));
    cycle(calls, now, &mut body);
    Page { title: "Providers", place: "/providers", tempo: Tempo::Moving, json: Some("/api/v1/providers"), body }
        .render(now)
}

fn gauge(gauge: &Gauge, now: Timestamp, out: &mut Html) {
    let view = &gauge.view;
    let used = view.limit.saturating_sub(view.remaining);
    let window = humantime::format_duration(gauge.noted.budget.window);
    let closed = view.circuit == "closed";
    let (standing, word) = if closed { (Standing::Ready, "calls pass") } else { (Standing::Broken, "no calls pass") };
    let class = match (closed, u64::from(used) * 100 / u64::from(view.limit.max(1))) {
        (false, _) => "broken",
        (true, 85..) => "waiting",
        (true, _) => "calm",
    };
    let name = text(&view.name);
    out.put(format_args!(
        "<section class=\"gauge {class}\" aria-labelledby=\"g-{name}\"><div class=\"name\"><h2 id=\"g-{name}\">{name}</h2>{chip}</div>\n\
         <p class=\"figure\"><b>{remaining}</b> of {limit} calls free <span class=\"soft\">in a window of {window}</span></p>\n\
         <svg class=\"bar\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{used} of {limit} calls used\">\
         <rect class=\"track\" width=\"100\" height=\"6\" rx=\"1\"/><rect class=\"fill\" width=\"{share}\" height=\"6\" rx=\"1\"/></svg>\n",
        chip = chip(standing, word),
        remaining = view.remaining,
        limit = view.limit,
        share = f64::from(used.min(view.limit) * 1000 / view.limit.max(1)) / 10.0,
    ));
    forecast(gauge, now, out);
    out.put(format_args!("<p class=\"soft\">As noted {}.</p></section>\n", time(gauge.noted.at, now)));
}

/// When calls come free: moments ahead, and how many are free from then on if nobody calls.
pub fn free_again(noted: &Account, now: Timestamp) -> Vec<(Timestamp, u32)> {
    let BudgetState { limit, used, closed_for, .. } = &noted.budget;
    let opens = later(noted.at, *closed_for);
    let mut ahead: Vec<(Timestamp, u32)> = used
        .iter()
        .map(|(milliseconds, calls)| (later(noted.at, Duration::from_millis(*milliseconds)), *calls))
        .filter(|(at, _)| *at > now)
        .collect();
    ahead.sort();
    let mut taken: u32 = ahead.iter().map(|(_, calls)| calls).sum();
    let mut steps: Vec<(Timestamp, u32)> = Vec::new();
    for (at, calls) in ahead {
        taken = taken.saturating_sub(calls);
        let at = at.max(opens);
        match steps.last_mut() {
            Some(step) if step.0 == at => step.1 = limit.saturating_sub(taken),
            _ => steps.push((at, limit.saturating_sub(taken))),
        }
    }
    if steps.is_empty() && opens > now {
        steps.push((opens, *limit));
    }
    steps
}

/// The last step and some before it, evenly.
fn forecast(gauge: &Gauge, now: Timestamp, out: &mut Html) {
    let steps = free_again(&gauge.noted, now);
    if steps.is_empty() {
        out.put(format_args!("<p>Every call of the window is free now.</p>\n"));
        return;
    }
    let shown = STEPS_MAX.min(steps.len());
    out.put(format_args!("<table class=\"forecast\"><caption>Free again, if nothing more is asked</caption><tbody>"));
    for step in (1..=shown).filter_map(|number| steps.get(number * steps.len() / shown - 1)) {
        let (at, free) = step;
        out.put(format_args!(
            "<tr><th scope=\"row\"><time datetime=\"{at}\" title=\"{at:.0}\">{}</time></th><td>{free} free</td></tr>",
            relative(*at, now)
        ));
    }
    out.put(format_args!("</tbody></table>\n"));
}

fn cycle(calls: Option<&CallsView>, now: Timestamp, out: &mut Html) {
    out.put(format_args!("<section aria-labelledby=\"cycle\"><h2 id=\"cycle\">The newest cycle</h2>\n"));
    let Some(CallsView { since, calls }) = calls else {
        out.put(format_args!("<p class=\"empty\">Not known: no cycle has begun yet.</p></section>\n"));
        return;
    };
    let rows = [
        ("Pages of site listings", calls.site_listings),
        ("Pages of record listings", calls.record_listings),
        ("Catalog statements", calls.catalog_statements),
        ("Audit of what no listing shows", calls.audit),
        ("Besides: writes, and looks that follow them", calls.besides),
    ];
    let total: u64 = rows.iter().map(|(_, number)| number).sum();
    out.put(format_args!(
        "<p class=\"soft\">Begun {}; {} so far.</p>\n<dl class=\"facts\">\n",
        time(*since, now),
        counted(usize::try_from(total).unwrap_or(usize::MAX), "call")
    ));
    for (name, number) in rows {
        out.put(format_args!("<div><dt>{name}</dt><dd>{number}</dd></div>\n"));
    }
    out.put(format_args!("</dl></section>\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_counts_what_comes_free_and_waits_for_a_block_to_end() {
        let at: Timestamp = "2026-11-20T12:00:00Z".parse().expect("a timestamp");
        let second = Duration::from_secs;
        let budget = BudgetState {
            limit: 60,
            window: second(60),
            remaining: 10,
            resets_in: second(30),
            closed_for: Duration::ZERO,
            used: vec![(10_000, 20), (20_000, 20), (30_000, 10)],
            reserved: 0,
        };
        let noted = Account { at, budget };
        let ahead = |seconds| later(at, second(seconds));
        assert_eq!(free_again(&noted, at), [(ahead(10), 30), (ahead(20), 50), (ahead(30), 60)]);
        assert_eq!(free_again(&noted, ahead(25)), [(ahead(30), 60)]);
        assert_eq!(free_again(&noted, ahead(31)), []);
        let blocked = Account { budget: BudgetState { closed_for: second(25), ..noted.budget.clone() }, ..noted };
        assert_eq!(free_again(&blocked, at), [(ahead(25), 50), (ahead(30), 60)], "nothing is free while it is closed");
    }
}
