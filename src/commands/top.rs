//! Impure. `ntpfront top`: the status again every second, on a terminal in place, else one after the other.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use terminal_size::{Height, terminal_size};

use super::output::{FAILURE, fail};
use super::running::{explain, format, socket, unexpected_answer};
use crate::cli::{Flags, RunningServer};
use crate::control::client::send_request;
use crate::control::protocol::{ControlAnswer, ControlRequest, Format};

/// Time from one status to the next.
const REDRAW: Duration = Duration::from_secs(1);

/// Ends when its output is closed, or without an answer where that is not shown in place.
pub(super) fn run(server: &RunningServer, flags: &Flags) -> ExitCode {
    let socket = match socket(server, flags) {
        Ok(socket) => socket,
        Err(why) => return fail("top", &why, FAILURE),
    };
    let is_in_place = io::stdout().is_terminal() && !server.json;
    loop {
        let text = match (status(&socket, format(server)), is_in_place) {
            (Ok(text), false) => text,
            // While the server restarts, the screen shows that and is updated further.
            (Ok(text) | Err(text), true) => screen(&text, rows()),
            (Err(why), false) => return fail("top", &why, FAILURE),
        };
        if write(&text).is_err() {
            return ExitCode::SUCCESS;
        }
        sleep(REDRAW);
    }
}

fn status(socket: &Path, format: Format) -> Result<String, String> {
    match send_request(socket, ControlRequest::Status { format }) {
        Ok(ControlAnswer::Report { text }) => Ok(text),
        Ok(_) => Err(unexpected_answer()),
        Err(error) => Err(explain(&error)),
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Rows of the terminal that a screen may have: the cursor ends on one of its own.
fn rows() -> usize {
    terminal_size().map_or(usize::MAX, |(_, Height(rows))| {
        usize::from(rows).saturating_sub(1)
    })
}

/// A text that replaces what is on the terminal: each line over the old one, and nothing below.
///
/// Lines beyond this many `rows` are left out.
fn screen(text: &str, rows: usize) -> String {
    let lines: String = text
        .lines()
        .take(rows)
        .map(|line| format!("{line}\x1b[K\n"))
        .collect();
    format!("\x1b[H{lines}\x1b[J")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_drawn_over_the_last_one() {
        assert_eq!(screen("a\nb\nc\n", 2), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(screen("a\n", usize::MAX), "\x1b[Ha\x1b[K\n\x1b[J");
    }
}
