//! Impure. The reading of a configuration, in a thread of its own, one at a time; reloads come first.
//!
//! Its lists may have millions of prefixes, and meanwhile the time is renewed.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::commands::CommandReply;
use crate::census::{CensusReport, CensusWanted};
use crate::config::file::Loader;
use crate::config::{ConfigText, DecidingRules, Effective, Fault, Loaded, NtsFiles, NtsKeys};
use crate::control::server::Reply;
use crate::host::{clock, privileges};
use crate::observe::health::ListenerName;
use crate::server::policy::Policy;
use crate::server::{SavedCounts, SavedTimestamps};

/// Interval in which several signals to reload cause one reload.
const RELOADS_APART: Duration = Duration::from_millis(100);
/// Largest number of files that wait for a check.
const WAITING: usize = 8;

/// A report that waits for what the workers know of the clients in it.
pub(super) struct PendingCensus {
    /// The report.
    pub(super) report: CensusReport,
    /// Its clients and their order.
    pub(super) wanted: CensusWanted,
    /// The way back to the client.
    pub(super) reply: Reply,
}

/// A file that waits to be checked.
pub(super) struct PendingCheck {
    /// Its path, for messages.
    pub(super) path: String,
    /// Its text.
    pub(super) text: String,
    /// The drop-ins beside it: path and text of each.
    pub(super) drop_ins: Vec<ConfigText>,
    /// The way back to the client.
    pub(super) reply: Reply,
}

/// A question about clients that waits for the rules of their lists.
pub(super) struct PendingClients {
    /// Their addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// The only listener that is asked about.
    pub(super) listener: Option<ListenerName>,
    /// The listeners as they are served.
    pub(super) served: Vec<ServedTables>,
    /// The way back to the one that asks.
    pub(super) reply: Reply,
}

/// The tables that a listener has in use and that take time to look through.
pub(super) struct ServedTables {
    /// Its address.
    pub(super) address: SocketAddr,
    /// Its policy.
    pub(super) policy: Arc<Policy>,
    /// The table for interleaved mode, if it has one.
    pub(super) saved: Option<Arc<SavedTimestamps>>,
}

/// The results for the clients of a question.
pub(super) struct LookedUp {
    /// The rules of the configuration as it is now; or the reason why it can't be read.
    pub(super) rules: Result<DecidingRules, String>,
    /// The listeners whose lists say the same in the files as in use.
    pub(super) current: Vec<SocketAddr>,
    /// The saved replies to each client, at each listener in interleaved mode.
    pub(super) saved: Vec<(SocketAddr, Vec<SavedCounts>)>,
}

/// A result of reading.
pub(super) enum Read {
    /// The server's own file, for a reload.
    Reload(Result<Loaded, Vec<Fault>>),
    /// The digest of the server's own file as it is now, if that is known; `None` in it is no file.
    Digest(Option<Option<u64>>),
    /// The files of NTS, if they have changed.
    NtsFiles(Option<Result<NtsFiles, Vec<Fault>>>),
    /// A file of a check, for the client behind this.
    Check(Reply, Result<Loaded, Vec<Fault>>),
    /// A report of the census. It does not come from the thread that reads.
    Census(PendingCensus),
    /// A question about clients, and what was looked up for it.
    Clients(PendingClients, LookedUp),
}

/// Work that waits for its turn.
enum PendingRead {
    Check(PendingCheck),
    Clients(PendingClients),
}

impl PendingRead {
    fn is_closed(&self) -> bool {
        match self {
            Self::Check(check) => check.reply.is_closed(),
            Self::Clients(clients) => clients.reply.is_closed(),
        }
    }
}

/// The current and the pending work.
pub(super) struct Reading {
    loader: Arc<Mutex<Loader>>,
    done: mpsc::Sender<Read>,
    is_reading: bool,
    /// Earliest time of the next reload, by the raw counter, if one is pending.
    reload_at: Option<Duration>,
    last_reload: Option<Duration>,
    /// The commands that wait for the next reload to begin.
    waiting: Vec<CommandReply>,
    /// The commands that wait for the end of the one that has begun.
    served: Vec<CommandReply>,
    pending: VecDeque<PendingRead>,
}

impl Reading {
    /// Makes an idle reader; results are sent to `done`.
    pub(super) fn new(loader: Loader, done: mpsc::Sender<Read>) -> Self {
        Self {
            loader: Arc::new(Mutex::new(loader)),
            done,
            is_reading: false,
            reload_at: None,
            last_reload: None,
            waiting: Vec::new(),
            served: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    /// Requests a reload, for a command that waits for its end, or for a signal; those at about the same time cause one.
    ///
    /// A file that is being read may have changed since: a command gets the end of a reload that begins later.
    pub(super) fn want_reload(&mut self, command: Option<CommandReply>) {
        self.waiting.extend(command);
        let now = clock::raw();
        let soonest = self.last_reload.map_or(now, |last| last + RELOADS_APART);
        self.reload_at.get_or_insert(soonest.max(now));
    }

    /// Returns where results are sent to.
    pub(super) fn done(&self) -> mpsc::Sender<Read> {
        self.done.clone()
    }

    /// Returns the time until the pending reload may begin, if there is one and nothing is being read.
    pub(super) fn until_reload(&self) -> Option<Duration> {
        let reload_at = self.reload_at.filter(|_| !self.is_reading)?;
        Some(reload_at.saturating_sub(clock::raw()))
    }

    /// Begins to read the server's own file again.
    ///
    /// # Errors
    /// There can be no more threads.
    pub(super) fn begin_reload(&mut self) -> io::Result<()> {
        self.reload_at = None;
        self.served.append(&mut self.waiting);
        self.begin(|loader| Read::Reload(loader.load_all()))
    }

    /// Returns the commands that wait for the end of the reload that has begun.
    pub(super) fn take_served(&mut self) -> Vec<CommandReply> {
        std::mem::take(&mut self.served)
    }

    /// Begins to look whether files of NTS have changed, unless something is being read or to be reloaded.
    pub(super) fn begin_look(&mut self, keys: NtsKeys, effective: Effective) {
        if self.is_reading || self.reload_at.is_some() {
            return;
        }
        // Without a thread the next look comes in a minute.
        let _begun = self.begin(move |loader| Read::NtsFiles(loader.changed_nts_files(&keys, &effective)));
    }

    /// Begins to look whether the server's own file has changed, unless something is being read or to be reloaded.
    pub(super) fn begin_digest(&mut self) {
        if self.is_reading || self.reload_at.is_some() {
            return;
        }
        // Without a thread the next look comes soon.
        let _begun = self.begin(|loader| Read::Digest(loader.digest().ok()));
    }

    /// Queues a file for a check. It is given back if too many wait already.
    pub(super) fn want_check(&mut self, check: PendingCheck) -> Result<(), PendingCheck> {
        if self.is_full() {
            return Err(check);
        }
        self.pending.push_back(PendingRead::Check(check));
        self.begin_pending();
        Ok(())
    }

    /// Queues a question about clients. It is given back if too many wait already.
    pub(super) fn want_clients(&mut self, clients: PendingClients) -> Result<(), PendingClients> {
        if self.is_full() {
            return Err(clients);
        }
        self.pending.push_back(PendingRead::Clients(clients));
        self.begin_pending();
        Ok(())
    }

    /// Whether too many wait that have not given up.
    fn is_full(&mut self) -> bool {
        self.pending.retain(|waiting| !waiting.is_closed());
        self.pending.len() >= WAITING
    }

    /// Begins what waits next, if nothing is being read and no reload is due.
    pub(super) fn begin_pending(&mut self) {
        if self.is_reading || self.reload_at.is_some() {
            return;
        }
        // Without a thread the client's connection is closed without an answer.
        let _begun = match self.pending.pop_front() {
            None => Ok(()),
            Some(PendingRead::Check(check)) => self.begin(move |loader| {
                let PendingCheck {
                    path,
                    text,
                    drop_ins,
                    reply,
                } = check;
                Read::Check(reply, loader.check_all(&path, &text, &drop_ins))
            }),
            Some(PendingRead::Clients(clients)) => self.begin(move |loader| {
                let found = look_up(loader, &clients);
                Read::Clients(clients, found)
            }),
        };
    }

    /// Takes note that a result has come.
    pub(super) fn end(&mut self, read: &Read) {
        if matches!(read, Read::Census(_)) {
            return;
        }
        self.is_reading = false;
        if matches!(read, Read::Reload(_)) {
            self.last_reload = Some(clock::raw());
        }
    }

    fn begin(&mut self, read: impl FnOnce(&mut Loader) -> Read + Send + 'static) -> io::Result<()> {
        let (loader, done) = (Arc::clone(&self.loader), self.done.clone());
        let job = move || {
            if privileges::drop_all_of_thread().is_err() {
                // The kernel lets every process drop a capability, so an attacker is in control here.
                std::process::abort();
            }
            let read = read(&mut loader.lock().unwrap_or_else(PoisonError::into_inner));
            // A client that has disconnected needs no result.
            let _sent = done.blocking_send(read);
        };
        thread::Builder::new().name("reader".to_owned()).spawn(job)?;
        self.is_reading = true;
        Ok(())
    }
}

/// Looks up what is asked of some clients in the files, and in tables that are large.
fn look_up(loader: &mut Loader, asked: &PendingClients) -> LookedUp {
    let loaded = loader.deciding_rules(&asked.addresses);
    let is_current = |served: &&ServedTables| {
        let configured = loaded.iter().flat_map(|loaded| &loaded.config.listeners);
        let mut same = configured.filter(|listener| listener.address == served.address);
        same.any(|listener| listener.policy.access.allows_the_same(&served.policy.access))
    };
    let current = asked.served.iter().filter(is_current);
    let counts = |served: &ServedTables| {
        let saved = served.saved.as_ref()?;
        Some((served.address, saved.counts_of(&asked.addresses)))
    };
    LookedUp {
        current: current.map(|served| served.address).collect(),
        saved: asked.served.iter().filter_map(counts).collect(),
        rules: loaded.map(|loaded| loaded.deciding).map_err(|faults| {
            let first = faults.first().map(ToString::to_string);
            first.unwrap_or_default()
        }),
    }
}
