//! Pure. The result of checking a configuration, by itself or against the running server.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::diff::Difference;
use super::fault::{Fault, counted, listing, printable};
use super::{Config, FastPath, Loaded, NtsFiles};
use crate::fast_path::AttachMode;
use crate::ke::expiry::ExpiryNotice;
use crate::leap::{LEAP_LIST_WARNS, LeapTable};
use crate::time::NtpTimestamp;

/// The result of a check, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// The result for a program.
    pub result: CheckResult,
    /// The parts of the configuration, and the changes that a reload would make: lines with their ends.
    pub summary: String,
    /// All faults, or notes although there are none: lines with their ends.
    pub notes: String,
}

/// The result of a check in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckResult {
    /// There is no fault.
    Accepted,
    /// There is no fault, but only a restart would make all of it true.
    NeedsRestart,
    /// There are faults.
    Refused,
}

impl CheckReport {
    /// Returns the report of a check by itself.
    pub fn of(loaded: &Result<Loaded, Vec<Fault>>) -> Self {
        match loaded {
            Ok(loaded) => {
                let mut report = Self::accepted(summary(loaded));
                report.note_left_out(&loaded.left_out);
                report
            }
            Err(faults) => Self::refused(faults),
        }
    }

    /// Returns the report of a check against a server that runs as `running`: the changes of a reload.
    ///
    /// It may have the fast path, attached somewhere or not.
    pub fn against(running: &Config, loaded: &Result<Loaded, Vec<Fault>>, has_fast_path: bool) -> Self {
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(faults) => return Self::refused(faults),
        };
        let difference = Difference::between(running, &loaded.config, has_fast_path);
        let restarts = difference.restart.iter().map(ToString::to_string);
        let changes: Vec<String> = restarts.chain(difference.changes()).collect();
        let lines: String = changes.iter().map(|change| format!("{change}\n")).collect();
        let count = match changes.len() {
            0 => "a reload changes nothing".to_owned(),
            some => format!("against the running server: {}", counted(some, "change")),
        };
        let mut report = Self {
            result: if difference.restart.is_empty() {
                CheckResult::Accepted
            } else {
                CheckResult::NeedsRestart
            },
            summary: format!("{}{count}\n{lines}", summary(loaded)),
            notes: String::new(),
        };
        report.note_left_out(&loaded.left_out);
        report
    }

    fn accepted(summary: String) -> Self {
        Self {
            result: CheckResult::Accepted,
            summary,
            notes: String::new(),
        }
    }

    fn refused(faults: &[Fault]) -> Self {
        Self {
            result: CheckResult::Refused,
            summary: String::new(),
            notes: listing(faults),
        }
    }

    /// Adds what of the files of other programs is left out, a line each.
    pub fn note_left_out(&mut self, left_out: &[String]) {
        let lines = left_out.iter().map(|one| format!("left out: {one}\n"));
        self.notes.extend(lines);
    }

    /// Adds that the file at `path` is empty: that is no fault, but hardly intended.
    pub fn note_empty(&mut self, path: &Path) {
        let path = printable(&path.to_string_lossy());
        self.notes +=
            &format!("{path}: the file is empty: all defaults apply, and all clients are answered\n");
    }

    /// Adds the limits of this host that are too low, a line each.
    pub fn note_limits(&mut self, shortfalls: &[String]) {
        let lines = shortfalls.iter().map(|shortfall| format!("{shortfall}\n"));
        self.notes.extend(lines);
    }

    /// Adds what is wrong at `now` with the list of leap seconds.
    ///
    /// `list` is the list, or the reason why there is none. Without a current one the check fails if a listener needs it
    /// to smear; it does so before a leap second can come, and the start does not fail, since a server must start at
    /// any time.
    pub fn note_leap_list(&mut self, config: &Config, list: Result<&LeapTable, &str>, now: NtpTimestamp) {
        let Some(path) = &config.leap_seconds else {
            return;
        };
        let smears = config.listeners.iter().any(|one| one.policy.smear.is_some());
        let path = printable(&path.to_string_lossy());
        let fault = match (list.map(|list| list.expires_in(now)), smears) {
            (Err(why), true) => why.to_owned(),
            (Ok(..=0), true) => "the list has expired: update tzdata".to_owned(),
            (Ok(left @ ..=0), false) => {
                let days = -left / 86_400;
                self.notes += &format!(
                    "clock.leap-seconds: {path}: the list expired {days} days ago, so the upstreams decide: update tzdata\n"
                );
                return;
            }
            (Ok(left @ ..=LEAP_LIST_WARNS), _) => {
                let days = left / 86_400;
                self.notes +=
                    &format!("clock.leap-seconds: {path}: the list expires in {days} days: update tzdata\n");
                return;
            }
            // Without a list the upstreams decide.
            (Err(_), false) | (Ok(_), _) => return,
        };
        self.result = CheckResult::Refused;
        self.notes += &format!(
            "clock.leap-seconds: {path}: {fault}; listeners with leap = \"smear\" need a current list\n"
        );
    }

    /// Adds the certificates of NTS, each with the time that it is still valid at `now` (seconds since 1970).
    pub fn note_certificates(&mut self, files: &NtsFiles, now: i64) {
        for facts in files.pairs.iter().map(|pair| pair.facts()) {
            let (names, left) = (printable(&facts.all_names()), facts.left(now));
            self.summary += &format!("nts: certificate for {names}: {left}\n");
            match ExpiryNotice::of(facts, now) {
                Some(ExpiryNotice::Soon) => {
                    self.notes += &format!("nts.certificate: {names}: {left}: renew it\n");
                }
                Some(ExpiryNotice::Invalid) => {
                    self.notes +=
                        &format!("nts.certificate: {names}: {left}: clients can't establish keys\n");
                }
                None => {}
            }
        }
    }

    /// Adds the files with secrets that `user` can't read: each with its table, and what keeps the user from that.
    pub fn note_unreadable(&mut self, user: &str, obstacles: &[(&str, PathBuf, PathBuf)]) {
        for (table, path, obstacle) in obstacles {
            let (path, obstacle) = (
                printable(&path.to_string_lossy()),
                printable(&obstacle.to_string_lossy()),
            );
            self.notes += &format!(
                "{table}: the user {user:?} can't read {path} after the start ({obstacle} keeps it from that): a new file would not be used: `chgrp` it to the user's group\n"
            );
        }
    }

    /// Adds the obstacles of this host to the fast path, if a fast path is wanted.
    ///
    /// `impossible` is the reason why there can't be one. `absent` are interfaces that don't exist now, and `bypassed`
    /// lines of what its requests go past. The check fails where a start would fail.
    pub fn note_fast_path(
        &mut self,
        wanted: &FastPath,
        impossible: Option<&str>,
        absent: &[&str],
        bypassed: &[String],
    ) {
        if wanted.interfaces.is_empty() {
            return;
        }
        if let Some(why) = impossible {
            self.notes += &format!("fast-path: {why}\n");
            if wanted.mode != AttachMode::Auto {
                self.result = CheckResult::Refused;
            }
        }
        for name in absent {
            self.notes +=
                &format!("fast-path.interfaces: \"{name}\" is not there now: it is used once it is\n");
        }
        let lines = bypassed.iter().map(|line| format!("fast-path: {line}\n"));
        self.notes.extend(lines);
    }
}

fn summary(loaded: &Loaded) -> String {
    let name = match &loaded.path {
        Some(path) => printable(&path.to_string_lossy()),
        None => "no configuration file".to_owned(),
    };
    let listeners = counted(loaded.config.listeners.len(), "listener");
    let upstreams = counted(loaded.config.upstreams.len(), "upstream");
    let drop_ins = match loaded.drop_ins.len() {
        0 => String::new(),
        some => format!(", with {}", counted(some, "drop-in")),
    };
    format!("{name}{drop_ins}: ok: {listeners}, {upstreams}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Flags;

    #[test]
    fn a_smear_needs_a_current_list() {
        let noted = |text: &str, list: Result<&LeapTable, &str>, unix| {
            let text = format!("[[listener]]\naddress = \"127.0.0.1:123\"\n{text}");
            let loaded = crate::config::load(&Flags::default(), Some((Path::new("f"), &text))).unwrap();
            let mut report = CheckReport::accepted(String::new());
            report.note_leap_list(&loaded.config, list, NtpTimestamp::from_unix(unix, 0));
            (report.result, report.notes)
        };
        // In seconds since 1900: it expires on 2027-06-28.
        let list = LeapTable::parse("#@ 4023129600\n3692217600 37\n").unwrap();
        let (expiry, day) = (4_023_129_600 - 2_208_988_800, 86_400);
        let smear = "leap = \"smear\"";
        let nothing = (CheckResult::Accepted, String::new());
        for (left, result, word) in [
            (29 * day, CheckResult::Accepted, ""),
            (28 * day, CheckResult::Accepted, "expires in 28 days"),
            (1, CheckResult::Accepted, "expires in 0 days"),
            (0, CheckResult::Refused, "has expired"),
        ] {
            let noted_of = |text| noted(text, Ok(&list), expiry - left);
            let (of_utc, notes) = noted_of("leap = \"utc\"");
            assert_eq!(
                (of_utc, notes.is_empty()),
                (CheckResult::Accepted, word.is_empty())
            );
            assert_eq!(notes.contains("expired 0 days ago"), left == 0, "{notes}");
            let (found, notes) = noted_of(smear);
            assert_eq!((found, notes.is_empty()), (result, word.is_empty()), "{left}");
            assert!(notes.contains(word), "{notes}");
        }
        let (result, notes) = noted(smear, Err("there is no such file"), expiry);
        assert_eq!(result, CheckResult::Refused);
        assert!(notes.contains("no such file"), "{notes}");
        assert_eq!(noted("", Err("there is no such file"), expiry), nothing);
    }

    #[test]
    fn a_fast_path_that_this_host_cannot_have_is_told() {
        let wanted = |mode| FastPath {
            interfaces: vec!["eth0".to_owned()],
            mode,
        };
        let noted = |wanted: &FastPath, impossible, absent: &[&str]| {
            let mut report = CheckReport::accepted(String::new());
            report.note_fast_path(wanted, impossible, absent, &["a rule".to_owned()]);
            (report.notes, report.result)
        };
        let old = Some("it is too old");
        let nothing = (String::new(), CheckResult::Accepted);
        assert_eq!(noted(&FastPath::default(), old, &[]), nothing);
        assert_eq!(
            noted(&wanted(AttachMode::Auto), old, &[]),
            (
                "fast-path: it is too old\nfast-path: a rule\n".to_owned(),
                CheckResult::Accepted
            )
        );
        assert_eq!(
            noted(&wanted(AttachMode::Native), old, &[]).1,
            CheckResult::Refused
        );
        let (text, result) = noted(&wanted(AttachMode::Native), None, &["eth0"]);
        assert!(text.contains("\"eth0\" is not there now"), "{text}");
        assert_eq!(result, CheckResult::Accepted);
    }
}
