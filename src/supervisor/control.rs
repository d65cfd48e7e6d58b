//! Impure. The control socket: a UNIX socket whose file's permissions say who may ask the running server.
//!
//! One request a connection: its first line is the verb and its argument, the rest (until the client has no more to say)
//! belongs to it. The answer is one [`Answer`] as JSON.

use std::io;
use std::os::unix::net::UnixListener as Listener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, Uid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::start::StartError;
use crate::config::Loaded;
use crate::config::commands::Answer;
use crate::host::{clock, limits, unix_socket};
use crate::observe::throttle::LogThrottle;

/// A configuration, and a line before it.
const LONGEST: u64 = 1024 * 1024 + 4096;
/// How many may ask at the same time; more wait.
pub(super) const CLIENTS: usize = 8;
/// A client that takes longer to ask, or to take the answer, has lost its turn.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer that takes longer will not come: a file with millions of prefixes is checked in some seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What was asked, and where the answer goes.
pub(super) struct Request {
    /// What to do, and with what.
    pub(super) verb: String,
    pub(super) argument: String,
    /// What follows the first line.
    pub(super) body: String,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The open socket.
#[derive(Debug)]
pub(super) struct Control {
    listener: Listener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket that is configured and gives it to `owner` and his group. Where nobody asked for it and there is no such
    /// directory, there is none.
    pub(super) fn open(loaded: &Loaded, owner: Option<(Uid, Gid)>) -> Result<Option<Self>, StartError> {
        let Some(path) = &loaded.config.control.socket else {
            return Ok(None);
        };
        let what = || format!("open the control socket {} (control.socket)", path.display());
        match unix_socket::open(path, owner) {
            Ok(listener) => Ok(Some(Self {
                listener,
                path: path.clone(),
            })),
            Err(error) if loaded.default_control => {
                let error = limits::explain(&error);
                info!(path = %path.display(), error, "no control socket: `--against-running` can't ask this server");
                Ok(None)
            }
            Err(error) => Err(StartError::System(what(), error)),
        }
    }

    /// Answers clients for as long as somebody takes the requests.
    pub(super) async fn serve(self, requests: mpsc::Sender<Request>) {
        let listener = match UnixListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                let error = limits::explain(&error);
                return warn!(path = %self.path.display(), error, "the control socket can't be used");
            }
        };
        let places = Arc::new(Semaphore::new(CLIENTS));
        let mut refused = LogThrottle::default();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((client, _)) => {
                    let requests = requests.clone();
                    tokio::spawn(async move {
                        // A client that went away, or never said what it wants, is no news.
                        let _served = converse(client, requests).await;
                        drop(place);
                    });
                }
                // Out of descriptors or memory: it will pass.
                Err(error) => {
                    if refused.pass(clock::raw()) {
                        let error = limits::explain(&error);
                        warn!(error, "who asks through the control socket has to wait: {error}");
                    }
                    sleep(PATIENCE).await;
                }
            }
        }
    }
}

async fn converse(client: UnixStream, requests: mpsc::Sender<Request>) -> io::Result<()> {
    let (reader, mut writer) = client.into_split();
    let mut text = String::new();
    timeout(PATIENCE, reader.take(LONGEST).read_to_string(&mut text)).await??;
    let (line, body) = text.split_once('\n').unwrap_or((&text, ""));
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let (answer, answered) = oneshot::channel();
    let request = Request {
        verb: verb.to_owned(),
        argument: argument.to_owned(),
        body: body.to_owned(),
        answer,
    };
    requests.send(request).await.map_err(io::Error::other)?;
    let answer = timeout(ANSWER_WITHIN, answered)
        .await?
        .map_err(io::Error::other)?;
    timeout(PATIENCE, writer.write_all(&serde_json::to_vec(&answer)?)).await?
}
