//! Impure. The interfaces that the program is attached to, as the host has them now.

use std::io::{self, ErrorKind};

use tracing::{info, warn};

use super::devices::{Device, LocalAddress, absent, chosen, devices, local_addresses};
use super::layout::INTERFACES;
use super::loader::{Link, Program};
use super::mode::{AttachMode, Attachment};
use crate::host::addresses::Interface;
use crate::host::limits;

/// The interfaces that are wanted, and those that the program is attached to.
#[derive(Debug)]
pub(super) struct Interfaces {
    /// Names and patterns.
    names: Vec<String>,
    mode: AttachMode,
    attached: Vec<AttachedInterface>,
    /// The host's interfaces, as they were looked at last.
    host: Vec<Interface>,
    /// The interfaces, and the hardware addresses, that there was no room for.
    without_room: (usize, usize),
}

/// An interface that is wanted.
#[derive(Debug)]
pub(super) struct AttachedInterface {
    pub(super) name: String,
    /// Its place in the program's counts.
    pub(super) number: usize,
    /// The answers that an earlier interface had at that place.
    pub(super) before: [u64; 2],
    /// Linux' number for it; `None` while it is not there.
    pub(super) index: Option<u32>,
    link: Option<(Link, Attachment)>,
    /// The reason why it is not attached, as the log knows it.
    pub(super) fault: Option<String>,
}

impl Interfaces {
    pub(super) const fn new(names: Vec<String>, mode: AttachMode) -> Self {
        Self {
            names,
            mode,
            attached: Vec::new(),
            host: Vec::new(),
            without_room: (0, 0),
        }
    }

    /// The names and the mode that are wanted.
    pub(super) fn wanted(&self) -> (&[String], AttachMode) {
        (&self.names, self.mode)
    }

    /// Wants others from now on. An attachment that may be another one then is given up; `follow` makes the new one.
    pub(super) fn want(&mut self, names: &[String], mode: AttachMode) {
        names.clone_into(&mut self.names);
        if mode != self.mode {
            self.mode = mode;
            let best = mode.candidates().first().copied();
            for one in &mut self.attached {
                one.link = one
                    .link
                    .take()
                    .filter(|(_, attachment)| Some(*attachment) == best);
                one.fault = None;
            }
        }
    }

    /// Attaches the program where an interface is new; `answers` are the program's counts.
    pub(super) fn follow(&mut self, host: Vec<Interface>, program: &Program, answers: &[[u64; 2]]) {
        let mut wanted: Vec<&str> = chosen(&self.names, &host)
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        wanted.extend(absent(&self.names, &host).into_iter().map(String::as_str));
        self.attached.retain(|one| wanted.contains(&one.name.as_str()));
        let mut without_room = 0;
        for name in wanted {
            if self.attached.iter().any(|one| one.name == name) {
                continue;
            }
            let is_free = |number: &usize| !self.attached.iter().any(|one| one.number == *number);
            match (0..INTERFACES).find(is_free) {
                None => without_room += 1,
                Some(number) => self.attached.push(AttachedInterface {
                    name: name.to_owned(),
                    number,
                    before: answers.get(number).copied().unwrap_or_default(),
                    index: None,
                    link: None,
                    fault: None,
                }),
            }
        }
        for one in &mut self.attached {
            one.follow(&host, program, self.mode);
        }
        self.attached.sort_by(|one, other| one.name.cmp(&other.name));
        if without_room > self.without_room.0 {
            warn!(
                "fast path: {without_room} interfaces are left to the sockets: there is room for {INTERFACES}"
            );
        }
        self.without_room.0 = without_room;
        self.host = host;
    }

    /// The devices where frames arrive for the program; it warns if there is no room for all.
    pub(super) fn devices(&mut self) -> Vec<Device> {
        let (devices, without_room) = devices(&self.numbers(), &self.host);
        if without_room > self.without_room.1 {
            warn!(
                "fast path: {without_room} hardware addresses, of ports of bonds and the like, are left to the sockets: there are too many"
            );
        }
        self.without_room.1 = without_room;
        devices
    }

    /// The addresses of this host.
    pub(super) fn local_addresses(&self) -> Vec<LocalAddress> {
        local_addresses(&self.numbers(), &self.host)
    }

    /// The host's interfaces, as they were looked at last.
    pub(super) fn host(&self) -> &[Interface] {
        &self.host
    }

    /// Linux' numbers and ours of those that are attached.
    fn numbers(&self) -> Vec<(u32, usize)> {
        let attached = self.attached.iter().filter(|one| one.link.is_some());
        attached
            .filter_map(|one| Some((one.index?, one.number)))
            .collect()
    }

    /// All that are wanted, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &AttachedInterface> {
        self.attached.iter()
    }

    /// Returns one that is there and can't be attached, if the mode demands it, with the reason.
    pub(super) fn refused(&self) -> Option<String> {
        let mut refused = self
            .attached
            .iter()
            .filter(|one| one.index.is_some() && one.link.is_none());
        let one = refused.next().filter(|_| self.mode != AttachMode::Auto)?;
        Some(format!(
            "{}: {}",
            one.name,
            one.fault.as_deref().unwrap_or_default()
        ))
    }
}

impl AttachedInterface {
    /// The way in which the program is attached; `None` while it is not.
    pub(super) fn attachment(&self) -> Option<Attachment> {
        self.link.as_ref().map(|(_, attachment)| *attachment)
    }

    /// Attaches the program where the interface is new; a link to one that is gone is gone with it.
    fn follow(&mut self, interfaces: &[Interface], program: &Program, mode: AttachMode) {
        let found = interfaces.iter().find(|one| one.name == self.name);
        let index = found.map(|one| one.index);
        if index != self.index {
            self.link = None;
        }
        self.index = index;
        let Some(index) = index else {
            return self.warn_once("there is no such interface; it is looked for each second");
        };
        if self.link.is_some() {
            return;
        }
        match program.attach(index, mode) {
            Ok((link, attachment)) => {
                let (interface, how) = (&self.name, attachment.name());
                info!(interface, how, "fast path: {interface}: attached ({how})");
                if mode == AttachMode::Auto && attachment == Attachment::Generic {
                    warn!(
                        interface,
                        "fast path: {interface}: its driver can't do it natively: about half as fast"
                    );
                }
                self.link = Some((link, attachment));
                self.fault = None;
            }
            Err(error) => {
                let why = limits::shortage(&error).unwrap_or_else(|| format!("{error}: {}", remedy(&error)));
                self.warn_once(&format!("cannot attach ({}): {why}", mode.name()));
            }
        }
    }

    /// Each fault once.
    fn warn_once(&mut self, fault: &str) {
        if self.fault.as_deref() != Some(fault) {
            warn!(interface = self.name, "fast path: {}: {fault}", self.name);
            self.fault = Some(fault.to_owned());
        }
    }
}

/// Returns the remedy for a program that the kernel doesn't attach.
fn remedy(error: &io::Error) -> &'static str {
    let kind = error.kind();
    if [ErrorKind::ResourceBusy, ErrorKind::AlreadyExists].contains(&kind) {
        "another XDP program is there, or above or below (`ip link` shows it): take it away, or leave the interface out"
    } else if kind == ErrorKind::Unsupported {
        "its driver can't: try mode = \"auto\" or \"generic\""
    } else {
        "the sockets answer there"
    }
}
