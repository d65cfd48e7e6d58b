//! Pure. The advice on a snapshot: all that is not as it should be, and what an operator can do about it.

use super::advice::{Advice, Severity};
use super::snapshot::{ListenerStatus, Snapshot};
use super::units::Length;
use super::upstream_status::UpstreamStatus;
use crate::leap::LEAP_LIST_WARNS;
use crate::server::policy::RuleMode;
use crate::upstream::candidate::SelectionStatus;
use crate::upstream::fault::QueryFault;
use crate::upstream::nts::certificate::day;
use crate::upstream::system_process::State;

/// The most names in a text; more are counted.
const NAMES: usize = 3;
/// The time after the start in which upstreams that did not answer yet are no problem, in seconds.
const PATIENCE: f64 = 5.0;
/// The address of the upstream that is followed without a configuration.
const DEFAULT_UPSTREAM: &str = "127.0.0.1:11123";
const DAY: i64 = 86_400;
/// The time that an operator may take from a change of the file to its reload, in seconds.
const EDITED: f64 = 600.0;

/// Returns all advice on a snapshot, the most severe first.
pub fn advice(snapshot: &Snapshot) -> Vec<Advice> {
    let mut all: Vec<Advice> = [
        state(snapshot),
        drained(snapshot),
        absent(snapshot),
        reload(snapshot),
        changed_file(snapshot),
    ]
    .into_iter()
    .flatten()
    .collect();
    all.extend(left_out(snapshot));
    all.extend(leap_list(snapshot));
    all.extend(certificates(snapshot));
    all.extend(others(snapshot));
    all.sort_by_key(|one| one.severity);
    all
}

fn advise(severity: Severity, about: &'static str, why: String, remedy: impl Into<Option<String>>) -> Advice {
    Advice {
        severity,
        about,
        why,
        remedy: remedy.into(),
    }
}

/// The first names, and how many more there are.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let more = names.len().saturating_sub(NAMES);
    let first = names.into_iter().take(NAMES).collect::<Vec<_>>().join(", ");
    match more {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn state(snapshot: &Snapshot) -> Option<Advice> {
    let clock = &snapshot.clock_status;
    let severity = match clock.state {
        State::Synchronized => return None,
        // The operator wants it: there is nothing else.
        State::Local if snapshot.upstreams.is_empty() => return None,
        State::Init if snapshot.uptime < PATIENCE => Severity::Notice,
        State::Init | State::Unsynchronized | State::Disputed if !clock.usable => Severity::Critical,
        State::Init | State::Unsynchronized | State::Disputed | State::Local | State::Holdover => {
            Severity::Warning
        }
    };
    let reason = clock.state_reason.clone().unwrap_or_else(|| match clock.state {
        State::Local => "no upstream gives a time: this host's clock is served".to_owned(),
        State::Init => "no upstream gave a time yet".to_owned(),
        State::Synchronized | State::Holdover | State::Unsynchronized | State::Disputed => {
            "too few upstreams agree".to_owned()
        }
    });
    if severity == Severity::Notice {
        return Some(advise(severity, "state", format!("{reason}: just started"), None));
    }
    let (found, remedy) = of_upstreams(&snapshot.upstreams);
    let why = match found {
        Some(found) => format!("{reason}; {found}"),
        None => reason,
    };
    Some(advise(severity, "state", why, remedy))
}

/// The trouble with most of the upstreams, and what to do about it.
fn of_upstreams(upstreams: &[UpstreamStatus]) -> (Option<String>, String) {
    if let [only] = upstreams
        && only.name == DEFAULT_UPSTREAM
        && matches!(only.standing, SelectionStatus::Silent | SelectionStatus::Unknown)
    {
        let found = match only.fault {
            Some(fault) if fault == QueryFault::NotListening.text() => {
                format!("nothing listens on {DEFAULT_UPSTREAM}")
            }
            Some(_) | None => format!("{DEFAULT_UPSTREAM} does not answer"),
        };
        let remedy = "add \"port 11123\" to chrony.conf and restart chronyd, or set [[upstream]] in \
                      /etc/ntpfront/ntpfront.toml; then: ntpfront reload";
        return (Some(found), remedy.to_owned());
    }
    let of = |wanted: fn(&UpstreamStatus) -> bool| {
        let names: Vec<&str> = upstreams
            .iter()
            .filter(|one| wanted(one))
            .map(|one| one.name.as_str())
            .collect();
        (!names.is_empty()).then_some(names)
    };
    let first = upstreams.first().map_or("ADDRESS", |one| one.name.as_str());
    if let Some(names) = of(|one| one.fault.is_some()) {
        let fault = upstreams.iter().find_map(|one| one.fault).unwrap_or_default();
        let is_name = [QueryFault::Unresolved.text()].contains(&fault);
        let remedy = match is_name {
            true => "check the name, and the name servers in /etc/resolv.conf; then: ntpfront upstreams",
            false => {
                "check the network of this host, and the addresses of [[upstream]]; then: ntpfront upstreams"
            }
        };
        return (Some(format!("{}: {fault}", listed(names))), remedy.to_owned());
    }
    if let Some(names) = of(|one| one.standing == SelectionStatus::Falseticker) {
        let remedy = "compare them with ntpfront upstreams; remove the wrong ones, or add upstreams, so that a majority agrees";
        return (
            Some(format!("contradictory: {}", listed(names))),
            remedy.to_owned(),
        );
    }
    if let Some(names) = of(|one| one.standing == SelectionStatus::Silent) {
        let asked = names.first().copied().unwrap_or(first);
        let remedy = format!("let UDP port 123 out and its replies in; try: ntpfront query {asked}");
        return (Some(format!("no answer from {}", listed(names))), remedy);
    }
    if let Some(names) = of(|one| one.standing == SelectionStatus::Refused) {
        let why = upstreams.iter().find_map(|one| one.reason).unwrap_or("refused");
        let asked = names.first().copied().unwrap_or(first);
        let remedy = format!("see why: ntpfront query {asked}; or choose other upstreams");
        return (Some(format!("refused ({why}): {}", listed(names))), remedy);
    }
    if upstreams.is_empty() {
        return (None, "set [[upstream]]".to_owned());
    }
    (
        None,
        "see the table of upstreams below, and: ntpfront upstreams".to_owned(),
    )
}

fn drained(snapshot: &Snapshot) -> Option<Advice> {
    let away: Vec<String> = snapshot
        .listeners
        .iter()
        .filter(|one| one.is_drained())
        .map(|one| one.address.to_string())
        .collect();
    let count = away.len();
    let severity = match count {
        0 => return None,
        _ if count == snapshot.listeners.len() => Severity::Critical,
        _ => Severity::Warning,
    };
    let why = format!(
        "drained: {}: clients are told \"unsynchronized\"",
        listed(away.iter().map(String::as_str))
    );
    let by_file = |one: &ListenerStatus| {
        one.drain
            .as_ref()
            .is_some_and(|drain| drain.by == "configuration")
    };
    let remedy = if snapshot.listeners.iter().any(by_file) {
        "to serve again, set answer = \"time\"; then: ntpfront reload"
    } else {
        "to serve again: ntpfront undrain"
    };
    Some(advise(severity, "listener", why, remedy.to_owned()))
}

fn absent(snapshot: &Snapshot) -> Option<Advice> {
    let unserved = |one: &&ListenerStatus| one.fault.is_some();
    let first = snapshot.listeners.iter().find(unserved)?;
    let names: Vec<String> = snapshot
        .listeners
        .iter()
        .filter(unserved)
        .map(|one| one.address.to_string())
        .collect();
    let what = if first.serving {
        "lacks workers"
    } else {
        "not served"
    };
    let fault = first.fault.unwrap_or_default();
    let why = format!("{what}: {}: {fault}", listed(names.iter().map(String::as_str)));
    let remedy = match first.serving {
        true => "raise the limit that the log names; the workers are tried again",
        false => {
            "add the address to an interface (ip address), or remove the listener; it is opened when the address appears"
        }
    };
    Some(advise(Severity::Critical, "listener", why, remedy.to_owned()))
}

fn reload(snapshot: &Snapshot) -> Option<Advice> {
    let fault = snapshot.reloads.fault.as_ref()?;
    let why = format!("the last reload was refused, the configuration before it is in effect: {fault}");
    let remedy = "correct the file until ntpfront check finds no error; then: ntpfront reload";
    Some(advise(Severity::Warning, "reload", why, remedy.to_owned()))
}

fn left_out(snapshot: &Snapshot) -> Option<Advice> {
    let first = snapshot.left_out.first()?;
    let more = match snapshot.left_out.len() {
        1 => String::new(),
        all => format!("; and {} more", all - 1),
    };
    let remedy = "correct the file, or what writes it; then: ntpfront reload";
    Some(advise(
        Severity::Warning,
        "sources",
        format!("left out: {first}{more}"),
        remedy.to_owned(),
    ))
}

/// A file that was refused is known as such already.
fn changed_file(snapshot: &Snapshot) -> Option<Advice> {
    let reloads = &snapshot.reloads;
    let changed_for = reloads.file_changed_for.filter(|_| reloads.fault.is_none())?;
    let why = format!(
        "the configuration file has changed and is not in effect, noticed {} ago",
        Length(changed_for)
    );
    let remedy = "ntpfront check --against-running shows the changes; then: ntpfront reload";
    let severity = if changed_for < EDITED {
        Severity::Notice
    } else {
        Severity::Warning
    };
    Some(advise(severity, "configuration", why, remedy.to_owned()))
}

fn leap_list(snapshot: &Snapshot) -> Option<Advice> {
    let leap = &snapshot.leap_seconds;
    let why = match leap.list_expires_in {
        Some(left) if left <= 0 => format!("the list of leap seconds expired {} days ago", -left / DAY),
        Some(left) if left <= LEAP_LIST_WARNS => {
            format!("the list of leap seconds expires in {} days", left / DAY)
        }
        None if leap.lacks_list() => "listeners smear leap seconds, and there is no list of them".to_owned(),
        Some(_) | None => return None,
    };
    let severity = if leap.lacks_list() {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let remedy = "update tzdata, or name another list in clock.leap-seconds";
    Some(advise(severity, "leap list", why, remedy.to_owned()))
}

fn certificates(snapshot: &Snapshot) -> Vec<Advice> {
    let own = snapshot.nts.iter().flat_map(|nts| nts.certificates());
    let own = own.filter_map(|one| {
        let trouble = one.trouble?;
        let severity = if trouble == "soon" {
            Severity::Warning
        } else {
            Severity::Critical
        };
        let why = format!(
            "for {}: {}",
            listed(one.names.iter().map(String::as_str)),
            one.left
        );
        let remedy = "renew it (the files of [nts]); a new one is noticed within a minute";
        Some(advise(severity, "certificate", why, remedy.to_owned()))
    });
    let expired = snapshot
        .upstreams
        .iter()
        .filter(|one| one.standing == SelectionStatus::Expired);
    let expired = expired.map(|one| {
        let end = one.nts.as_ref().and_then(|nts| nts.certificate_not_after);
        let end = end
            .map(|end| format!(" (until {})", day(end)))
            .unwrap_or_default();
        let why = format!(
            "that of upstream {} was not valid at the time that the upstreams agree on{end}",
            one.name
        );
        let remedy = "ask its operator to renew it, or choose another upstream";
        advise(Severity::Warning, "certificate", why, remedy.to_owned())
    });
    own.chain(expired).collect()
}

fn others(snapshot: &Snapshot) -> Vec<Advice> {
    let mut all = Vec::new();
    if let Some(history) = &snapshot.history
        && let Some(fault) = &history.fault
    {
        let directory = history.directory.display();
        let why = format!("nothing is written to {directory}: {fault}");
        let remedy =
            format!("make room, or let the server's user write there: df {directory}; ls -ld {directory}");
        all.push(advise(Severity::Warning, "history", why, remedy));
    }
    if let Some(budget) = snapshot.budget.filter(|budget| budget.shedding) {
        let verb = if budget.mode == RuleMode::On.name() {
            "are dropped"
        } else {
            "would be dropped"
        };
        let why = format!(
            "requests {verb}: {:.0}/s are asked for, {:.0}/s allowed",
            budget.asked, budget.allowed
        );
        let remedy = "see which clients ask most (ntpfront clients), limit them ([limit]), or raise [budget]";
        all.push(advise(Severity::Warning, "budget", why, remedy.to_owned()));
    }
    for interface in snapshot.fast_path.iter().flat_map(|fast| &fast.interfaces) {
        if let Some(fault) = &interface.fault {
            let why = format!("off at {}: {fault}", interface.name);
            let remedy =
                "the sockets answer meanwhile; correct fast-path.interfaces, or what the reason names";
            all.push(advise(Severity::Warning, "fast path", why, remedy.to_owned()));
        }
    }
    if snapshot.log_lines_dropped > 0 {
        let why = format!(
            "{} lines were dropped, as their reader was too slow",
            snapshot.log_lines_dropped
        );
        let remedy = "let the reader of the log keep up, or raise log.level";
        all.push(advise(Severity::Warning, "log", why, remedy.to_owned()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::example;
    use super::*;
    use crate::observe::snapshot::DrainStatus;

    /// A snapshot in which nothing is wrong.
    fn good() -> Snapshot {
        let mut snapshot = example();
        snapshot.advice.clear();
        snapshot.nts = None;
        snapshot.fast_path = None;
        snapshot.log_lines_dropped = 0;
        snapshot.reloads.fault = None;
        snapshot.reloads.file_changed_for = None;
        snapshot.listeners.truncate(2);
        snapshot.listeners.iter_mut().for_each(|one| one.drain = None);
        snapshot.upstreams.truncate(1);
        snapshot
    }

    #[test]
    fn requests_over_the_budget_are_a_reason() {
        for (mode, verb) in [("on", "are"), ("dry-run", "would be")] {
            let mut snapshot = good();
            let budget = snapshot.budget.as_mut().unwrap();
            (budget.mode, budget.shedding, budget.asked, budget.allowed) = (mode, true, 7300.4, 5000.0);
            let (severity, about, why, remedy) = only(&snapshot);
            assert_eq!((severity, about), (Severity::Warning, "budget"));
            let expected = format!("requests {verb} dropped: 7300/s are asked for, 5000/s allowed");
            assert_eq!(why, expected);
            assert!(remedy.contains("ntpfront clients"), "{remedy}");
        }
    }

    fn in_state(state: State, usable: bool, reason: Option<&str>) -> Snapshot {
        let mut snapshot = good();
        snapshot.clock_status.state = state;
        snapshot.clock_status.usable = usable;
        snapshot.clock_status.state_reason = reason.map(str::to_owned);
        snapshot
    }

    fn only(snapshot: &Snapshot) -> (Severity, &'static str, String, String) {
        let all = advice(snapshot);
        let [one] = &all[..] else { panic!("{all:?}") };
        let remedy = one.remedy.clone().unwrap_or_default();
        (one.severity, one.about, one.why.clone(), remedy)
    }

    #[test]
    fn a_line_of_another_program_that_is_left_out_is_told() {
        let mut snapshot = good();
        let lines = ["/run/x/a.sources:1:1: the address is missing", "b", "c"];
        snapshot.left_out = lines.map(str::to_owned).to_vec();
        let said: Vec<String> = advice(&snapshot).into_iter().map(|one| one.why).collect();
        let expected = "left out: /run/x/a.sources:1:1: the address is missing; and 2 more";
        assert_eq!(said, [expected]);
    }

    #[test]
    fn a_good_server_needs_no_advice() {
        assert_eq!(advice(&good()), []);
        // A host without upstreams is meant to serve its own clock.
        let mut alone = in_state(State::Local, true, None);
        alone.upstreams.clear();
        assert_eq!(advice(&alone), []);
    }

    #[test]
    fn the_first_installation_is_told_what_to_do() {
        for (fault, found) in [
            (
                Some(QueryFault::NotListening.text()),
                "nothing listens on 127.0.0.1:11123",
            ),
            (None, "127.0.0.1:11123 does not answer"),
        ] {
            let reason = "0 of 1 upstreams agree, clock.min-sources wants 1";
            let mut snapshot = in_state(State::Init, false, Some(reason));
            snapshot.upstreams[0].name = DEFAULT_UPSTREAM.to_owned();
            snapshot.upstreams[0].standing = SelectionStatus::Silent;
            snapshot.upstreams[0].fault = fault;
            let (severity, about, why, remedy) = only(&snapshot);
            assert_eq!(
                (severity, about, why),
                (Severity::Critical, "state", format!("{reason}; {found}"))
            );
            assert!(
                remedy.contains("port 11123") && remedy.contains("[[upstream]]"),
                "{remedy}"
            );
            snapshot.uptime = 1.0;
            assert_eq!(only(&snapshot).0, Severity::Notice);
        }
    }

    #[test]
    fn each_state_that_is_not_good_has_a_reason_and_a_remedy() {
        let reason = "1 of 4 upstreams agrees, clock.min-sources wants 2";
        for (state, usable, severity) in [
            (State::Init, false, Severity::Critical),
            (State::Holdover, true, Severity::Warning),
            (State::Unsynchronized, false, Severity::Critical),
            (State::Disputed, false, Severity::Critical),
            (State::Disputed, true, Severity::Warning),
            (State::Local, true, Severity::Warning),
        ] {
            for (standing, fault, found, remedy) in [
                (
                    SelectionStatus::Falseticker,
                    None,
                    "contradictory: a, b, c and 1 more",
                    "ntpfront upstreams",
                ),
                (
                    SelectionStatus::Silent,
                    None,
                    "no answer from a, b, c and 1 more",
                    "ntpfront query a",
                ),
                (
                    SelectionStatus::Refused,
                    None,
                    "refused (kiss-deny): a, b, c and 1 more",
                    "ntpfront query a",
                ),
                (
                    SelectionStatus::Unknown,
                    Some(QueryFault::Unresolved.text()),
                    "its name can't be resolved",
                    "resolv.conf",
                ),
                (
                    SelectionStatus::Silent,
                    Some(QueryFault::NoRoute.text()),
                    "no route to it",
                    "network",
                ),
                (SelectionStatus::TooFew, None, "1 of 4", "table of upstreams"),
            ] {
                let mut snapshot = in_state(state, usable, Some(reason));
                let like = |name: &str| UpstreamStatus {
                    name: name.to_owned(),
                    standing,
                    fault,
                    reason: Some("kiss-deny").filter(|_| standing == SelectionStatus::Refused),
                    ..snapshot.upstreams[0].clone()
                };
                snapshot.upstreams = ["a", "b", "c", "d"].map(like).to_vec();
                let told = only(&snapshot);
                assert_eq!(told.0, severity, "{state:?}");
                assert!(told.2.starts_with(reason) && told.2.contains(found), "{told:?}");
                assert!(told.3.contains(remedy), "{told:?}");
            }
        }
    }

    #[test]
    fn all_listeners_that_are_drained_are_worse_than_one() {
        let mut snapshot = good();
        let drain = |by| {
            Some(DrainStatus {
                by,
                begins_in: None,
                ends_in: None,
            })
        };
        snapshot.listeners[0].drain = drain("command");
        assert_eq!(only(&snapshot).3, "to serve again: ntpfront undrain");
        snapshot.listeners[0].drain = drain("configuration");
        let (severity, about, why, remedy) = only(&snapshot);
        assert_eq!((severity, about), (Severity::Warning, "listener"));
        assert!(
            why.starts_with("drained: 0.0.0.0:123:") && remedy.contains("answer = \"time\""),
            "{why} {remedy}"
        );
        snapshot.listeners[1].drain = drain("command");
        assert_eq!(only(&snapshot).0, Severity::Critical);
    }

    #[test]
    fn a_file_that_is_not_in_effect_is_a_warning_after_a_while() {
        let mut snapshot = good();
        for (seconds, severity, words) in [
            (30.0, Severity::Notice, "noticed 30 s ago"),
            (7200.0, Severity::Warning, "noticed 2 h ago"),
        ] {
            snapshot.reloads.file_changed_for = Some(seconds);
            let (found, about, why, remedy) = only(&snapshot);
            assert_eq!((found, about), (severity, "configuration"));
            assert!(
                why.contains(words) && remedy.contains("ntpfront reload"),
                "{why}: {remedy}"
            );
        }
        snapshot.reloads.fault = Some("an error".to_owned());
        assert_eq!(only(&snapshot).1, "reload", "refused: that says it");
    }

    #[test]
    fn what_is_worst_comes_first() {
        let mut snapshot = example();
        snapshot.upstreams[1].standing = SelectionStatus::Expired;
        snapshot.history.as_mut().unwrap().fault = Some("no space".to_owned());
        snapshot.leap_seconds.list_expires_in = Some(3 * DAY);
        let all = advice(&snapshot);
        assert!(all.is_sorted_by_key(|one| one.severity), "{all:?}");
        let mut parts: Vec<_> = all.iter().map(|one| one.about).collect();
        parts.dedup();
        let expected = [
            "listener",
            "reload",
            "leap list",
            "certificate",
            "history",
            "fast path",
            "log",
        ];
        assert_eq!(parts, expected);
        assert!(all.iter().all(|one| one.remedy.is_some()), "{all:?}");
    }

    #[test]
    fn a_list_that_ends_is_told_in_days() {
        for (left, smearing, expected) in [
            (Some(29 * DAY), 0, None),
            (Some(28 * DAY), 1, Some((Severity::Warning, "expires in 28 days"))),
            (Some(-5 * DAY), 0, Some((Severity::Warning, "expired 5 days ago"))),
            (
                Some(-5 * DAY),
                1,
                Some((Severity::Critical, "expired 5 days ago")),
            ),
            (None, 0, None),
            (None, 1, Some((Severity::Critical, "there is no list"))),
        ] {
            let mut snapshot = good();
            snapshot.leap_seconds.list_expires_in = left;
            snapshot.leap_seconds.smearing_listeners = smearing;
            let told = leap_list(&snapshot);
            assert_eq!(told.as_ref().map(|one| one.severity), expected.map(|one| one.0));
            if let Some((told, (_, words))) = told.zip(expected) {
                assert!(told.why.contains(words), "{told:?}");
            }
        }
    }
}
