//! Pure. The lines of Network Time Security on the screen of `status`.

use std::fmt;

use super::nts_status::NtsStatus;
use crate::server::{Counts, NakReason, Verdict};

/// Returns the share of requests with NTS; `None` if there was none.
pub(super) fn packets(counts: &Counts) -> Option<String> {
    let (answered, naks) = (counts.of(Verdict::AnsweredNts), counts.of(Verdict::KissedNtsNak));
    if answered + naks + counts.of(Verdict::RefusedNtsMalformed) == 0 {
        return None;
    }
    let percent = |part: u64, all: u64| Percent(part, all.max(1));
    let (share, failed) = (
        percent(answered, counts.answered()),
        percent(naks, answered + naks),
    );
    let reasons: Vec<String> = NakReason::all()
        .filter(|reason| counts.nts.naks(*reason) > 0)
        .map(|reason| format!("{} {}", counts.nts.naks(reason), reason.name()))
        .collect();
    let reasons = match reasons.is_empty() {
        true => String::new(),
        false => format!(": {}", reasons.join(", ")),
    };
    Some(format!(
        "{answered} answered ({share}), {naks} NAKs ({failed}){reasons}"
    ))
}

/// Returns the lines of the keys of cookies, of key establishment and of its certificates, each with its name.
pub(super) fn keys(nts: &NtsStatus) -> Vec<(&'static str, String)> {
    let certain = if nts.period_certain {
        ""
    } else {
        " by the host's clock"
    };
    let secret = match (nts.secret, nts.secrets) {
        ("file", 1) => "secret of the file".to_owned(),
        ("file", several) => format!("{several} secrets of the file"),
        _ => "secret made at the start".to_owned(),
    };
    let mut lines = vec![("NTS keys", format!("period {}{certain}, {secret}", nts.period))];
    let Some(ke) = &nts.key_establishment else {
        return lines;
    };
    let established = ke.sessions.get("established").copied().unwrap_or_default();
    let refused: u64 = ke.refusals.values().sum();
    let sessions = format!(
        "{established} established of {}, {refused} refused, {} open",
        ke.ended(),
        ke.open
    );
    lines.push(("key sessions", sessions));
    let absent = ke.listeners.iter().filter(|one| !one.serving);
    lines.extend(absent.map(|one| ("", format!("not served: {}, which does not exist", one.address))));
    lines.extend(ke.certificates.iter().map(|one| {
        let renew = if one.trouble.is_some() { "; renew it" } else { "" };
        (
            "certificate",
            format!("{}: {}{renew}", one.names.join(", "), one.left),
        )
    }));
    lines
}

/// A part of a whole that is not 0, as a percentage with one decimal.
struct Percent(u64, u64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousandths = u128::from(self.0) * 1000 / u128::from(self.1);
        write!(f, "{}.{} %", thousandths / 10, thousandths % 10)
    }
}
