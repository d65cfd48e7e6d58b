//! Impure. The terminal of `top`: its keys, its size, and its modes, which are restored whatever ends it.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::state::PressedKey;

/// The terminal in raw mode, with its alternate screen; a panic restores it, too.
pub(super) struct TerminalWindow {
    pub(super) terminal: DefaultTerminal,
    inputs: Receiver<io::Result<UserInput>>,
    /// Whether a signal wants the end.
    signalled: Arc<AtomicBool>,
}

/// Something that the user did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserInput {
    /// Pressed a key.
    Press(PressedKey),
    /// Changed the size of the window.
    Resize,
}

impl TerminalWindow {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It is no terminal that can be had.
    pub(super) fn open() -> io::Result<Self> {
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&signalled))?;
        }
        let begun = ratatui::try_init().and_then(|terminal| {
            let inputs = inputs()?;
            Ok(Self {
                terminal,
                inputs,
                signalled,
            })
        });
        if begun.is_err() {
            // A part of it may have succeeded.
            let _restored = ratatui::try_restore();
        }
        begun
    }

    /// Whether a signal wants the end.
    pub(super) fn is_signalled(&self) -> bool {
        self.signalled.load(Ordering::Relaxed)
    }

    /// Waits for the user, at most for this time.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn wait(&self, most: Duration) -> io::Result<Option<UserInput>> {
        if is_gone() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self.inputs.recv_timeout(most) {
            Ok(input) => input.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Reads what the user does, in a thread of its own.
///
/// The library does not return from a terminal that is gone: it reads it again, and again. So it may keep that thread, and
/// [`is_gone`] ends the process.
fn inputs() -> io::Result<Receiver<io::Result<UserInput>>> {
    let (sender, inputs) = channel();
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        loop {
            let input = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    meaning(key).map(|key| Ok(UserInput::Press(key)))
                }
                Ok(Event::Resize(..)) => Some(Ok(UserInput::Resize)),
                Ok(
                    Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_),
                ) => None,
                Err(error) => Some(Err(error)),
            };
            let is_last = matches!(input, Some(Err(_)));
            let is_read = input.is_none_or(|input| sender.send(input).is_ok());
            if is_last || !is_read {
                return;
            }
        }
    })?;
    Ok(inputs)
}

/// Whether the terminal was closed.
fn is_gone() -> bool {
    let stdin = io::stdin();
    let mut terminal = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    let over = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    // Without an answer it is not known, and the next look tells.
    let looked = poll(&mut terminal, PollTimeout::ZERO).is_ok();
    let [terminal] = terminal;
    looked && terminal.revents().is_some_and(|events| events.intersects(over))
}

impl Drop for TerminalWindow {
    fn drop(&mut self) {
        // If it is gone, nothing is to be restored.
        let _restored = self.terminal.show_cursor();
        let _restored = ratatui::try_restore();
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a key that is new in the library means nothing here"
)]
fn meaning(key: KeyEvent) -> Option<PressedKey> {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if is_control => Some(PressedKey::Interrupt),
        KeyCode::Char(_) if is_control => None,
        KeyCode::Char(letter) => Some(PressedKey::Char(letter)),
        KeyCode::Up => Some(PressedKey::Up),
        KeyCode::Down => Some(PressedKey::Down),
        KeyCode::PageUp => Some(PressedKey::PageUp),
        KeyCode::PageDown => Some(PressedKey::PageDown),
        KeyCode::Home => Some(PressedKey::Home),
        KeyCode::End => Some(PressedKey::End),
        KeyCode::Esc => Some(PressedKey::Escape),
        _ => None,
    }
}
