//! Pure. The listeners for people: their table, with what is special at each.

use std::cmp::Reverse;

use super::command_text;
use super::screen::{
    Line, Lines, RowOrder, ScreenColumn, ScreenRow, ScreenTable, ScreenWanted, Tone, plain_cell,
};
use super::snapshot::{ListenerStatus, PolicyStatus, Snapshot, Traffic};

/// Returns the table of the listeners that is wanted.
pub(super) fn listeners(snapshot: &Snapshot, wanted: &ScreenWanted) -> Vec<Line> {
    let mut sorted: Vec<&ListenerStatus> = snapshot.listeners.iter().collect();
    let received = |one: &ListenerStatus| one.traffic.counts.received();
    match wanted.order {
        RowOrder::Configured => {}
        RowOrder::Worst => sorted.sort_by_key(|one| {
            let works = one.fault.is_none() && one.announces_time;
            (works, Reverse(lost(one)), Reverse(received(one)))
        }),
        RowOrder::Largest => sorted.sort_by_key(|one| Reverse(received(one))),
    }
    let rows = sorted.into_iter().flat_map(|one| {
        let workers = one.workers.iter().enumerate().filter(|_| wanted.workers);
        let workers = workers.map(|(number, worker)| ScreenRow {
            cells: vec![
                plain_cell(""),
                plain_cell(format!("#{number}")),
                plain_cell(format!("{:.0}", worker.per_second)),
                plain_cell(worker.received),
                plain_cell(worker.answered),
                plain_cell(""),
            ],
            below: Vec::new(),
        });
        std::iter::once(listener_row(one)).chain(workers)
    });
    let mut lines = Lines::new(wanted.columns());
    lines.table(&ScreenTable {
        columns: vec![
            ScreenColumn::words("LISTENER", 11, u8::MAX),
            ScreenColumn::numbers("WORKERS", 0, 2),
            ScreenColumn::numbers("NOW/S", 8, u8::MAX),
            ScreenColumn::numbers("RECEIVED", 11, 1),
            ScreenColumn::numbers("ANSWERED", 11, 3),
            ScreenColumn::numbers("LOST", 7, 4),
        ],
        rows: rows.collect(),
    });
    lines.into_lines()
}

fn lost(one: &ListenerStatus) -> u64 {
    one.traffic.queue_dropped + one.traffic.counts.unsent()
}

fn listener_row(one: &ListenerStatus) -> ScreenRow {
    let Traffic {
        per_second, counts, ..
    } = &one.traffic;
    let lost = lost(one);
    let tone = if lost > 0 { Tone::Warning } else { Tone::Plain };
    let away = !one.announces_time;
    let address = match (one.fault.is_some(), away) {
        (true, _) => Tone::Bad,
        (false, true) => Tone::Warning,
        (false, false) => Tone::Plain,
    };
    let cells = vec![
        (one.address.to_string(), address),
        plain_cell(one.workers.len()),
        plain_cell(format!("{per_second:.0}")),
        plain_cell(counts.received()),
        plain_cell(counts.answered()),
        (lost.to_string(), tone),
    ];
    let fault = one.fault.map(|fault| {
        let what = if one.serving {
            "workers are missing"
        } else {
            "not served"
        };
        (format!("{what}: {fault}"), Tone::Bad)
    });
    let drained = one
        .drain
        .as_ref()
        .map(|drain| (command_text::drain(drain), Tone::Warning));
    let policy = policy(&one.policy).map(|policy| (policy, Tone::Plain));
    ScreenRow {
        cells,
        below: fault.into_iter().chain(drained).chain(policy).collect(),
    }
}

/// The special parts of the policy of a listener; `None` if nothing is.
fn policy(policy: &PolicyStatus) -> Option<String> {
    let PolicyStatus {
        answer: _,
        access,
        limit,
        limit_interval: _,
        limit_burst: _,
        budget,
        nts,
        authentication,
        max_stratum,
        smear,
    } = *policy;
    let mode = |name: &str, mode: &str| match mode {
        "off" => None,
        "on" => Some(name.to_owned()),
        mode => Some(format!("{name} ({mode})")),
    };
    let parts = [
        access.map(|access| {
            format!(
                "access list{}",
                if access == "on" {
                    String::new()
                } else {
                    format!(" ({access})")
                }
            )
        }),
        mode("limit", limit),
        mode("budget", budget),
        (nts != "accept").then(|| format!("NTS {nts}")),
        (authentication != "accept").then(|| format!("MAC {authentication}")),
        (max_stratum != 15).then(|| format!("stratum {max_stratum} at most")),
        smear.then(|| "smears leap seconds".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
