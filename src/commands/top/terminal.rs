//! Impure. The terminal of `top`: its keys, its size, and its modes, which are restored whatever ends it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::state::PressedKey;

/// The terminal in raw mode, with its alternate screen; a panic restores it, too.
pub(super) struct TerminalWindow {
    pub(super) terminal: DefaultTerminal,
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
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal, signalled }),
            Err(error) => {
                // A part of it may have succeeded.
                let _restored = ratatui::try_restore();
                Err(error)
            }
        }
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
        if !event::poll(most)? {
            return Ok(None);
        }
        Ok(match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => meaning(key).map(UserInput::Press),
            Event::Resize(..) => Some(UserInput::Resize),
            Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_) => None,
        })
    }
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
