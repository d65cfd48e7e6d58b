//! Impure. `ntpfront top`: the running server, refreshed every second: in a window on a terminal, else as plain text.

mod fetcher;
mod render;
mod state;
mod terminal;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use super::output::{FAILURE, fail};
use super::paint::{is_colored, terminal_width};
use super::running::{explain, socket, unexpected_answer};
use crate::cli::{Flags, RunningServer};
use crate::control::client::send_request;
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::host::clock;
use crate::observe::screen::{RowOrder, ScreenWanted, USUAL_WIDTH, plain};
use fetcher::{TopFetcher, TopRequest};
use state::{Effect, TopState, TopView};
use terminal::{TerminalWindow, UserInput};

/// Time from one status to the next.
const REDRAW: Duration = Duration::from_secs(1);
/// Longest time until a signal is noticed.
const PATIENCE: Duration = Duration::from_millis(100);

/// Ends when its output is closed, or without an answer where that is not shown in a window.
pub(super) fn run(server: &RunningServer, flags: &Flags) -> ExitCode {
    let socket = match socket(server, flags) {
        Ok(socket) => socket,
        Err(why) => return fail("top", &why, FAILURE),
    };
    let result = if io::stdout().is_terminal() && !server.json {
        show(socket)
    } else {
        print_on(&socket, server.json)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail("top", &why, FAILURE),
    }
}

/// Shows the server in a window, until the user or a signal ends it.
fn show(socket: PathBuf) -> Result<(), String> {
    let mut state = TopState::default();
    // A server that is not there is an error here; later it may be on its way back.
    let width = terminal_width().unwrap_or(USUAL_WIDTH);
    let mut content = TopFetcher::first(&socket, wanted(&state, width))?;
    let no_terminal = |error: io::Error| format!("cannot use the terminal: {error}");
    let fetcher = TopFetcher::start(socket).map_err(no_terminal)?;
    let mut window = TerminalWindow::open().map_err(no_terminal)?;
    let colored = is_colored();
    let (mut trouble, mut is_asked, mut effect) = (None, false, Effect::Ask);
    let mut asked_at = clock::raw();
    while effect != Effect::Quit && !window.is_signalled() {
        let is_due = !state.paused && !is_asked && clock::raw().saturating_sub(asked_at) >= REDRAW;
        if effect == Effect::Ask || is_due {
            let width = window.terminal.size().map_or(USUAL_WIDTH, |size| size.width);
            fetcher.ask(wanted(&state, width));
            (is_asked, asked_at) = (true, clock::raw());
        }
        if effect != Effect::Nothing {
            let draw = |frame: &mut ratatui::Frame<'_>| {
                render::render(frame, &mut state, &content, trouble.as_deref(), colored);
            };
            if window.terminal.draw(draw).is_err() {
                // The terminal is gone, and the user with it.
                return Ok(());
            }
        }
        effect = match window.wait(PATIENCE) {
            Ok(Some(UserInput::Press(key))) => state.press(key),
            Ok(Some(UserInput::Resize)) => Effect::Ask,
            Ok(None) => Effect::Nothing,
            Err(_) => return Ok(()),
        };
        if let Some(answer) = fetcher.answer() {
            is_asked = false;
            match answer {
                Ok(newest) => (content, trouble) = (newest, None),
                Err(why) => trouble = Some(why),
            }
            if effect == Effect::Nothing {
                effect = Effect::Draw;
            }
        }
    }
    Ok(())
}

fn wanted(state: &TopState, width: u16) -> TopRequest {
    TopRequest {
        screen: ScreenWanted {
            width,
            workers: state.view == TopView::Listeners,
            order: state.order,
        },
        clients: state.view == TopView::Clients,
        curves: state.span,
    }
}

/// Prints one status after the other, until nothing reads them any more.
fn print_on(socket: &Path, json: bool) -> Result<(), String> {
    loop {
        let text = status(socket, json)?;
        let mut out = io::stdout();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
        sleep(REDRAW);
    }
}

/// Returns the status as JSON, or as plain lines.
fn status(socket: &Path, json: bool) -> Result<String, String> {
    let request = match json {
        true => ControlRequest::Status,
        false => ControlRequest::Screen(ScreenWanted {
            width: USUAL_WIDTH,
            workers: false,
            order: RowOrder::Configured,
        }),
    };
    match send_request(socket, request) {
        Ok(ControlAnswer::Report { text }) => Ok(text),
        Ok(ControlAnswer::Screen(screen)) => Ok(plain(&screen.status())),
        Ok(_) => Err(unexpected_answer()),
        Err(error) => Err(explain(&error)),
    }
}
