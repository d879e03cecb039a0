//! The live display: a line for each client that says what it does and what it waits for, events above.
//!
//! It reads the state alone, so it shows what a restart would find. On a terminal the lines stay in place and change; elsewhere
//! each change is one line.

pub mod board;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::api::view::Lens;
use crate::api::view::{Overview, overview};
use crate::cli::progress::board::{Board, Changes};
use crate::cli::{events, session, terminal};
use crate::store::{Event, Store};

/// How often the state is looked at: the spinner turns at this pace.
const POLL: Duration = Duration::from_millis(200);
/// A look is followed by a rest of this many times its length: showing a large fleet never takes more than a twentieth of
/// the processor from the work that is shown.
const REST_FACTOR: u32 = 19;
/// Draws a second at most; more is not seen.
const DRAWS_PER_SECOND: u8 = 15;
/// Events taken in one look; after a long stall the rest follows in the next ones.
const EVENTS_A_LOOK: usize = 50;

/// Columns left free at the right: the terminal echoes `^C` there, and a full line would wrap and shift the board.
const ECHO_COLUMNS: usize = 3;

/// A display under way.
pub struct Progress {
    stop: watch::Sender<bool>,
    messages: mpsc::UnboundedSender<String>,
    task: JoinHandle<()>,
}

impl Progress {
    /// Begins to show the clients of a state; events from now on.
    pub fn start(store: Arc<dyn Store>, lens: Lens) -> Self {
        Self::with(store, lens, Face::new())
    }

    /// A display that says messages alone: the clients are told of by the log.
    pub fn messages_alone(store: Arc<dyn Store>, lens: Lens) -> Self {
        Self::with(store, lens, Face::Silent)
    }

    fn with(store: Arc<dyn Store>, lens: Lens, face: Face) -> Self {
        let (stop, stopped) = watch::channel(false);
        // Only our own few sentences go through it, so it needs no limit.
        let (messages, inbox) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            // Not to be able to show something ends nothing but the display.
            if let Err(error) = show(&*store, &lens, face, inbox, stopped).await {
                terminal::warn(&format!("the display ended: {error:#}"));
            }
        });
        Progress { stop, messages, task }
    }

    /// Says something above the board. Written to the terminal beside it, it would tear the board apart.
    pub fn say(&self, text: impl Into<String>) {
        if let Err(unsent) = self.messages.send(text.into()) {
            terminal::say(&unsent.0);
        }
    }

    /// Shows the last state once more and gives the terminal back.
    pub async fn finish(self) {
        let _ = self.stop.send(true); // it may have ended by itself
        let _ = self.task.await; // a display that broke is none to wait for
    }
}

async fn show(
    store: &dyn Store,
    lens: &Lens,
    mut face: Face,
    mut inbox: mpsc::UnboundedReceiver<String>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut after = events::newest(store, None, 1).await?.last().map_or(0, |event| event.id);
    loop {
        let last = *stopped.borrow();
        while let Ok(message) = inbox.try_recv() {
            face.say(&message);
        }
        let begun = Instant::now();
        let news = store.events(None, after, EVENTS_A_LOOK).await?;
        after = news.last().map_or(after, |event| event.id);
        face.show(&overview(store, lens).await?, &news);
        if last {
            face.end();
            return Ok(());
        }
        tokio::select! {
            () = sleep(POLL.max(begun.elapsed() * REST_FACTOR)) => {}
            _ = stopped.wait_for(|stopped| *stopped) => {} // a dropped sender means stop as well
        }
    }
}

enum Face {
    Lines(Changes),
    Live(Live),
    Silent,
}

impl Face {
    fn new() -> Self {
        if std::io::stderr().is_terminal() { Face::Live(Live::new()) } else { Face::Lines(Changes::default()) }
    }

    fn say(&mut self, message: &str) {
        match self {
            Face::Live(live) => live.above(message.to_owned()),
            Face::Lines(_) => terminal::say(message),
            Face::Silent => tracing::info!("{message}"),
        }
    }

    fn show(&mut self, overview: &Overview, news: &[Event]) {
        match self {
            Face::Lines(changes) => changes.of(overview).iter().for_each(|line| terminal::say(line)),
            Face::Live(live) => live.show(overview, news),
            Face::Silent => {}
        }
    }

    fn end(self) {
        if let Face::Live(live) = self {
            live.bars.iter().for_each(|bar| bar.abandon());
        }
    }
}

struct Live {
    screen: MultiProgress,
    style: ProgressStyle,
    bars: Vec<ProgressBar>,
    board: Board,
    colour: bool,
}

impl Live {
    fn new() -> Self {
        let choice = anstream::AutoStream::choice(&std::io::stderr());
        Live {
            screen: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)),
            style: ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()),
            bars: Vec::new(),
            board: Board::default(),
            colour: choice != anstream::ColorChoice::Never,
        }
    }

    fn show(&mut self, overview: &Overview, news: &[Event]) {
        for event in news {
            self.above(board::event(event));
        }
        let mut lines = self.board.lines(overview, session::now());
        lines.insert(0, " ".to_owned()); // air between what happened and what is
        let columns =
            comfy_table::Table::new().use_stderr().width().map(|width| usize::from(width).saturating_sub(ECHO_COLUMNS));
        while self.bars.len() < lines.len() {
            let bar = self.screen.add(ProgressBar::no_length());
            bar.set_style(self.style.clone());
            self.bars.push(bar);
        }
        while self.bars.len() > lines.len() {
            if let Some(bar) = self.bars.pop() {
                self.screen.remove(&bar);
            }
        }
        for (bar, line) in self.bars.iter().zip(lines) {
            let line = self.tint(columns.map_or_else(|| line.clone(), |columns| board::cut(&line, columns)));
            // Only what changed is drawn: nothing moves on a line that says the same.
            if bar.message() != line {
                bar.set_message(line);
            }
        }
    }

    fn above(&self, line: String) {
        let _ = self.screen.println(self.tint(line)); // a terminal that is gone shows nothing
    }

    fn tint(&self, line: String) -> String {
        if self.colour { line } else { anstream::adapter::strip_str(&line).to_string() }
    }
}
