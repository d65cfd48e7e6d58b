//! ntpfront in front of scripted upstreams, and watched from the first moment on.

use std::net::SocketAddr;

use ntpfront::wire::{Header, Leap};

use super::SOON;
use super::client::v4;
use super::daemon::Daemon;
use super::port::free_port;
use super::watch::Watch;

/// ntpfront in front of these upstreams, asking as often as it may, and its watch.
pub(crate) struct Front {
    pub(crate) server: SocketAddr,
    pub(crate) watch: Watch,
    pub(crate) daemon: Daemon,
}

impl Front {
    pub(crate) fn of(upstreams: &[SocketAddr]) -> Self {
        Self::with(upstreams, "")
    }

    /// `clock`: lines of the table `[clock]`.
    pub(crate) fn with(upstreams: &[SocketAddr], clock: &str) -> Self {
        let mut text = format!("[clock]\n{clock}\n");
        for upstream in upstreams {
            // The shortest that is allowed.
            let poll = u8::from(!upstream.ip().is_loopback());
            text += &format!("[[upstream]]\naddress = \"{upstream}\"\nminpoll = {poll}\nmaxpoll = {poll}\n");
        }
        Self::configured(&text)
    }

    /// `text`: all of the configuration but the listener.
    pub(crate) fn configured(text: &str) -> Self {
        let server = v4(free_port());
        let listener = format!("[[listener]]\naddress = \"{server}\"\n");
        let daemon = Daemon::configured(&(text.to_owned() + &listener)).answering(server);
        Self {
            server,
            watch: Watch::on(server),
            daemon,
        }
    }

    pub(crate) fn becomes_synchronized(&self) -> Header {
        self.watch.wait_for("a synchronized reply", SOON, |reply| {
            reply.leap == Leap::NoWarning
        })
    }

    pub(crate) fn was_never_synchronized(&self) {
        let seen = self.watch.seen();
        let usable = seen.iter().find(|reply| reply.leap != Leap::Unsynchronized);
        assert_eq!(usable, None);
    }
}
