//! Impure. Reading a configuration, in a thread of its own: its lists may have millions of prefixes, and meanwhile the time is
//! renewed. One is read at a time; reloads come first.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::file::Loader;
use crate::config::{Fault, Loaded};
use crate::control::server::Reply;
use crate::host::{clock, privileges};

/// Signals to reload that come nearer than this are answered by one reload.
const RELOADS_APART: Duration = Duration::from_millis(100);
/// So many files wait to be checked at most.
const WAITING: usize = 8;

/// A file that waits to be checked.
pub(super) struct PendingCheck {
    /// Its path, for messages.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
    /// The way back to the client.
    pub(super) reply: Reply,
}

/// What was read.
pub(super) enum Read {
    /// Our own file, for a reload.
    Reload(Result<Loaded, Vec<Fault>>),
    /// A file that was to be checked, for the client behind this.
    Check(Reply, Result<Loaded, Vec<Fault>>),
}

/// What is read, and what shall be.
pub(super) struct Reading {
    loader: Arc<Mutex<Loader>>,
    done: mpsc::Sender<Read>,
    is_reading: bool,
    /// When the next reload may begin, by the raw counter, if one is wanted.
    reload_at: Option<Duration>,
    last_reload: Option<Duration>,
    checks: VecDeque<PendingCheck>,
}

impl Reading {
    /// Nothing is read yet; what comes to be read is sent to `done`.
    pub(super) fn new(loader: Loader, done: mpsc::Sender<Read>) -> Self {
        Self {
            loader: Arc::new(Mutex::new(loader)),
            done,
            is_reading: false,
            reload_at: None,
            last_reload: None,
            checks: VecDeque::new(),
        }
    }

    /// A reload is wanted: all that are wanted at about the same time are one.
    pub(super) fn want_reload(&mut self) {
        let now = clock::raw();
        let soonest = self.last_reload.map_or(now, |last| last + RELOADS_APART);
        self.reload_at.get_or_insert(soonest.max(now));
    }

    /// Until the reload that is wanted may begin, if one is, and nothing is read now.
    pub(super) fn until_reload(&self) -> Option<Duration> {
        let reload_at = self.reload_at.filter(|_| !self.is_reading)?;
        Some(reload_at.saturating_sub(clock::raw()))
    }

    /// Begins to read our own file again.
    ///
    /// # Errors
    /// There can be no more threads.
    pub(super) fn begin_reload(&mut self) -> io::Result<()> {
        self.reload_at = None;
        self.begin(|loader| Read::Reload(loader.load()))
    }

    /// A file shall be checked. It is given back where too many wait already.
    pub(super) fn want_check(&mut self, check: PendingCheck) -> Result<(), PendingCheck> {
        self.checks.retain(|waiting| !waiting.reply.is_closed());
        if self.checks.len() >= WAITING {
            return Err(check);
        }
        self.checks.push_back(check);
        self.begin_check();
        Ok(())
    }

    /// Begins the next check, if nothing is read now and no reload is due.
    pub(super) fn begin_check(&mut self) {
        if self.is_reading || self.reload_at.is_some() {
            return;
        }
        if let Some(check) = self.checks.pop_front() {
            // Without a thread the client has no answer, and sees that.
            let _begun = self.begin(|loader| {
                let PendingCheck { path, text, reply } = check;
                Read::Check(reply, loader.check(&path, &text))
            });
        }
    }

    /// What was read has come.
    pub(super) fn end(&mut self, read: &Read) {
        self.is_reading = false;
        if matches!(read, Read::Reload(_)) {
            self.last_reload = Some(clock::raw());
        }
    }

    fn begin(&mut self, read: impl FnOnce(&mut Loader) -> Read + Send + 'static) -> io::Result<()> {
        let (loader, done) = (Arc::clone(&self.loader), self.done.clone());
        let job = move || {
            if privileges::drop_all_of_thread().is_err() {
                // The kernel lets everybody give up a capability, so somebody else is in control here.
                std::process::abort();
            }
            let read = read(&mut loader.lock().unwrap_or_else(PoisonError::into_inner));
            // Who is gone needs no configuration.
            let _sent = done.blocking_send(read);
        };
        thread::Builder::new().name("reader".to_owned()).spawn(job)?;
        self.is_reading = true;
        Ok(())
    }
}
