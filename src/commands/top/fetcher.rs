//! Impure. A thread of `top` that asks the server, so that keys have their effect while it does not answer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use super::super::running::{explain, unexpected_answer};
use super::render::TopContent;
use super::state::CurveSpan;
use crate::census::CensusWanted;
use crate::control::client::send_request;
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::history::curves::Curves;
use crate::host::clock;
use crate::observe::clients_text;
use crate::observe::screen::{Line, ScreenWanted, Tone, TonedText};

/// A request to the server, for a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TopRequest {
    /// The lines.
    pub(super) screen: ScreenWanted,
    /// Whether the census is shown.
    pub(super) clients: bool,
    /// The time of the curves.
    pub(super) curves: CurveSpan,
}

/// The curves of the last answer, their time, and when they were asked for, by the raw counter.
#[derive(Default)]
struct LastCurves(Option<(CurveSpan, Duration, Curves)>);

/// The thread's other side.
pub(super) struct TopFetcher {
    wanted: Sender<TopRequest>,
    answers: Receiver<Result<TopContent, String>>,
}

impl TopFetcher {
    /// Starts the thread; it ends with this process.
    ///
    /// # Errors
    /// There can't be one more thread.
    pub(super) fn start(socket: PathBuf) -> io::Result<Self> {
        let (wanted, asked) = mpsc::channel::<TopRequest>();
        let (answer, answers) = mpsc::channel();
        let ask = move || {
            let mut last = LastCurves::default();
            while let Ok(first) = asked.recv() {
                let newest = asked.try_iter().last().unwrap_or(first);
                if answer.send(fetch(&socket, newest, &mut last)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("fetcher".to_owned()).spawn(ask)?;
        Ok(Self { wanted, answers })
    }

    /// Asks without a thread, and waits for the answer.
    pub(super) fn first(socket: &Path, wanted: TopRequest) -> Result<TopContent, String> {
        fetch(socket, wanted, &mut LastCurves::default())
    }

    /// Asks; the answer comes later.
    pub(super) fn ask(&self, wanted: TopRequest) {
        // The thread ends only with this one.
        let _sent = self.wanted.send(wanted);
    }

    /// Returns the newest answer that has come, if one has.
    pub(super) fn answer(&self) -> Option<Result<TopContent, String>> {
        self.answers.try_iter().last()
    }
}

impl LastCurves {
    /// Returns the curves of this time, which are asked for again only after a while.
    fn newest(
        &mut self,
        span: CurveSpan,
        ask: impl FnOnce(u32) -> Result<Curves, String>,
    ) -> Result<Curves, String> {
        let now = clock::raw();
        let refresh = Duration::from_secs(span.refresh().into());
        if let Some((of, at, curves)) = &self.0
            && *of == span
            && now.saturating_sub(*at) < refresh
        {
            return Ok(curves.clone());
        }
        let curves = ask(span.seconds())?;
        self.0 = Some((span, now, curves.clone()));
        Ok(curves)
    }
}

/// Asks the server behind the socket, and waits for its answer.
fn fetch(socket: &Path, wanted: TopRequest, last: &mut LastCurves) -> Result<TopContent, String> {
    let ask = |request| send_request(socket, request).map_err(|error| explain(&error));
    let ControlAnswer::Screen(screen) = ask(ControlRequest::Screen(wanted.screen))? else {
        return Err(unexpected_answer());
    };
    let curves = last.newest(wanted.curves, |seconds| {
        let ControlAnswer::Report { text } = ask(ControlRequest::Curves { seconds })? else {
            return Err(unexpected_answer());
        };
        serde_json::from_str(&text).map_err(|error| error.to_string())
    })?;
    let first = CensusWanted::first(clients_text::ROWS);
    let clients = match wanted
        .clients
        .then(|| ask(ControlRequest::Clients(first.clone())))
    {
        None => Vec::new(),
        Some(Ok(ControlAnswer::Clients(report))) => {
            clients_text::lines(&report, &first, wanted.screen.columns())
        }
        Some(Ok(_)) => return Err(unexpected_answer()),
        // It may be off.
        Some(Err(why)) => vec![plain(&why)],
    };
    Ok(TopContent {
        screen,
        curves,
        clients,
    })
}

fn plain(text: &str) -> Line {
    vec![TonedText {
        text: text.to_owned(),
        tone: Tone::Plain,
    }]
}
