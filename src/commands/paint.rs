//! Impure. The lines of the running server on standard output: as wide as the terminal, in colors where they are wanted.

use std::fmt::Write;
use std::io;
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use terminal_size::{Width, terminal_size_of};

use super::output::{FAILURE, fail, print};
use super::running::{query_running, unexpected_answer};
use crate::cli::{Flags, RunningServer};
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::observe::screen::{Line, RowOrder, Screen, ScreenWanted, Tone, USUAL_WIDTH, folded, plain};

/// Asks for a screen, and prints the `part` of it that is wanted, for the subcommand `name`.
pub(super) fn print_screen(
    name: &str,
    server: &RunningServer,
    flags: &Flags,
    workers: bool,
    part: impl FnOnce(Screen) -> Vec<Line>,
) -> ExitCode {
    let wanted = ScreenWanted {
        width: terminal_width().unwrap_or(USUAL_WIDTH),
        workers,
        order: RowOrder::Configured,
    };
    match query_running(server, flags, ControlRequest::Screen(wanted)) {
        Ok(ControlAnswer::Screen(screen)) => {
            print_lines(&part(screen));
            ExitCode::SUCCESS
        }
        Ok(_) => fail(name, &unexpected_answer(), FAILURE),
        Err(why) => fail(name, &why, FAILURE),
    }
}

/// Returns the width of the terminal that standard output is, in columns; `None` if it is none.
pub(super) fn terminal_width() -> Option<u16> {
    terminal_size_of(io::stdout()).map(|(Width(columns), _)| columns)
}

/// Returns a text of fields as the terminal has room for it.
pub(super) fn fitted(text: String) -> String {
    match terminal_width() {
        Some(width) => folded(&text, width.into()),
        // Programs read a line for each field.
        None => text,
    }
}

/// Prints lines, in colors where they are wanted.
pub(super) fn print_lines(lines: &[Line]) {
    print(&if is_colored() {
        painted(lines)
    } else {
        plain(lines)
    });
}

/// Whether standard output is a terminal with colors, and the environment allows them (`NO_COLOR`, `CLICOLOR`, `TERM`).
pub(super) fn is_colored() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

fn painted(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        for span in line {
            let style = style(span.tone);
            // Writing to a string can't fail.
            let _written = write!(text, "{style}{}{style:#}", span.text);
        }
        text.push('\n');
    }
    text
}

/// The colors are the terminal's own, so that they can be read on its background.
const fn style(tone: Tone) -> Style {
    let plain = Style::new();
    match tone {
        Tone::Plain => plain,
        Tone::Heading => plain.bold(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Warning => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default().bold(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::screen::TonedText;

    #[test]
    fn only_what_has_a_tone_has_a_color() {
        let span = |text: &str, tone| TonedText {
            text: text.to_owned(),
            tone,
        };
        let lines = [
            vec![span("state  ", Tone::Plain), span("disputed", Tone::Bad)],
            vec![],
            vec![span("good", Tone::Good)],
        ];
        assert_eq!(
            painted(&lines),
            "state  \x1b[1m\x1b[31mdisputed\x1b[0m\n\n\x1b[32mgood\x1b[0m\n"
        );
        assert_eq!(plain(&lines), "state  disputed\n\ngood\n");
    }
}
