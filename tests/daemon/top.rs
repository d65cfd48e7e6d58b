//! Proves what `top` and `status` do on a terminal: a real one, of which only the window is missing.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

use crate::common::program::command;
use crate::common::scripted::{Scripted, good};
use crate::common::{SOON, wait_until};
use crate::sight::Seen;

/// What begins and ends the alternate screen.
const ALTERNATE: [&str; 2] = ["\x1b[?1049h", "\x1b[?1049l"];

/// A program on a terminal of its own.
struct OnTerminal {
    child: Child,
    slave: OwnedFd,
    keys: Option<File>,
    output: Receiver<Vec<u8>>,
    seen: String,
    before: Termios,
}

impl OnTerminal {
    fn start(words: &[&str], seen: &Seen, columns: u16, rows: u16) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let terminal = openpty(Some(&size), None).unwrap();
        // No child has the window's end: else it would never be closed.
        fcntl(&terminal.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        let before = tcgetattr(&terminal.slave).unwrap();
        let end = || Stdio::from(terminal.slave.try_clone().unwrap());
        let child = command()
            .args(words)
            .arg("--socket")
            .arg(seen.socket())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let mut reader = File::from(terminal.master.try_clone().unwrap());
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                if sender.send(piece[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            slave: terminal.slave,
            keys: Some(File::from(terminal.master)),
            output,
            seen: String::new(),
            before,
        }
    }

    /// Waits for this on the screen, from now on: a word, of which no letter was at its place before. Only what changes is
    /// written.
    fn shows(&mut self, text: &str) {
        self.seen.clear();
        wait_until(text, SOON, || {
            while let Ok(piece) = self.output.try_recv() {
                self.seen += &String::from_utf8_lossy(&piece);
            }
            self.seen.contains(text).then_some(())
        });
    }

    fn press(&mut self, keys: &str) {
        self.keys.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// It has ended well, and the terminal is as it was.
    fn has_ended(mut self) {
        let status = wait_until("the end", SOON, || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
        thread::sleep(Duration::from_millis(50));
        while let Ok(piece) = self.output.try_recv() {
            self.seen += &String::from_utf8_lossy(&piece);
        }
        let (begun, ended) = (self.seen.rfind(ALTERNATE[0]), self.seen.rfind(ALTERNATE[1]));
        assert!(ended.is_some() && ended >= begun, "{}", self.seen);
        assert!(self.seen.contains("\x1b[?25h"), "no cursor: {}", self.seen);
        let after = tcgetattr(self.slave.as_fd()).unwrap();
        assert_eq!(after.local_flags, self.before.local_flags);
        assert_eq!(after.input_flags, self.before.input_flags);
        assert_eq!(after.output_flags, self.before.output_flags);
    }
}

#[test]
fn keys_change_the_view_and_q_restores_the_terminal() {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let seen = Seen::of(&[upstream.address()]);
    seen.becomes("synchronized");
    let mut top = OnTerminal::start(&["top"], &seen, 100, 40);
    top.shows(ALTERNATE[0]);
    for (keys, text) in [
        ("2", "announces"),
        ("3", "#1"),
        ("4", "REQUESTS"),
        ("1", "LISTENER"),
        // By five minutes.
        ("tt", "min"),
        ("h", "arrows,"),
        ("\x1b[B", "overview"),
        (" ", "PAUSED"),
    ] {
        if keys == "\x1b[B" {
            // Out of the help again; an arrow scrolls, and harms nothing.
            top.press("h");
            top.shows("UPSTREAM");
            top.press(keys);
            continue;
        }
        top.press(keys);
        top.shows(text);
    }
    top.press("s");
    top.shows("first");
    top.press("q");
    top.has_ended();
}

#[test]
fn a_signal_restores_the_terminal() {
    let seen = Seen::configured("upstream = []\n[local]\nenabled = true\n");
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut top = OnTerminal::start(&["top"], &seen, 60, 15);
        top.shows("requests");
        assert_ne!(
            tcgetattr(top.slave.as_fd()).unwrap().local_flags,
            top.before.local_flags,
            "not in raw mode"
        );
        kill(top.pid(), signal).unwrap();
        top.has_ended();
    }
    let mut top = OnTerminal::start(&["top"], &seen, 60, 15);
    top.shows("requests");
    top.press("\x03");
    top.has_ended();
}

/// As when a window or a connection is closed. It must not go on without a terminal, at the cost of a CPU.
#[test]
fn without_its_terminal_it_ends() {
    let upstream = Scripted::start(|ask| vec![good(ask).into()]);
    let seen = Seen::of(&[upstream.address()]);
    seen.becomes("synchronized");
    for key in ["1", " "] {
        let mut top = OnTerminal::start(&["top"], &seen, 100, 40);
        top.shows("synchronized");
        top.press(key);
        let OnTerminal {
            mut child,
            slave,
            keys,
            output,
            ..
        } = top;
        // The thread that reads ends with the next output, the help; then nothing has the other end of the terminal.
        drop((output, slave));
        let mut keys = keys.unwrap();
        keys.write_all(b"h").unwrap();
        drop(keys);
        if wait_or_none(&mut child).is_none() {
            child.kill().unwrap();
            panic!("it goes on without a terminal");
        }
    }
}

/// Waits for the end of a child; `None`: it does not end.
fn wait_or_none(child: &mut Child) -> Option<ExitStatus> {
    let end = Instant::now() + SOON;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(20));
    }
    None
}

#[test]
fn status_has_colors_on_a_terminal_and_its_width() {
    let seen = Seen::configured("upstream = []\n[local]\nenabled = true\n");
    seen.becomes("local");
    let mut status = OnTerminal::start(&["status"], &seen, 45, 24);
    status.shows("LISTENER");
    wait_until("the end", SOON, || status.child.try_wait().unwrap());
    while let Ok(piece) = status.output.try_recv() {
        status.seen += &String::from_utf8_lossy(&piece);
    }
    assert!(status.seen.contains("\x1b[33mlocal\x1b[0m"), "{}", status.seen);
    let plain = status
        .seen
        .replace("\x1b[33m", "")
        .replace("\x1b[1m", "")
        .replace("\x1b[0m", "");
    assert!(plain.lines().all(|line| line.chars().count() <= 45), "{plain}");
}
