//! Impure. A thread of `top` that asks the server, so that keys have their effect while it does not answer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::super::running::{explain, unexpected_answer};
use super::render::TopContent;
use crate::census::CensusWanted;
use crate::control::client::send_request;
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::observe::clients_text;
use crate::observe::screen::{Line, ScreenWanted, Tone, TonedText};

/// The length of the curves, in seconds.
const CURVES: u32 = 300;

/// A request to the server, for a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TopRequest {
    /// The lines.
    pub(super) screen: ScreenWanted,
    /// Whether the census is shown.
    pub(super) clients: bool,
}

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
            while let Ok(first) = asked.recv() {
                let newest = asked.try_iter().last().unwrap_or(first);
                if answer.send(fetch(&socket, newest)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("fetcher".to_owned()).spawn(ask)?;
        Ok(Self { wanted, answers })
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

/// Asks the server behind the socket, and waits for its answer.
pub(super) fn fetch(socket: &Path, wanted: TopRequest) -> Result<TopContent, String> {
    let ask = |request| send_request(socket, request).map_err(|error| explain(&error));
    let ControlAnswer::Screen(screen) = ask(ControlRequest::Screen(wanted.screen))? else {
        return Err(unexpected_answer());
    };
    let ControlAnswer::Report { text } = ask(ControlRequest::Curves { seconds: CURVES })? else {
        return Err(unexpected_answer());
    };
    let curves = serde_json::from_str(&text).map_err(|error| error.to_string())?;
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
