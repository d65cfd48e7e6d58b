//! Pure. A client as an operator reads it: `ntpfront client`.

use super::client_status::{
    AccessRule, ClientAccess, ClientAtListener, ClientBucket, ClientBudget, ClientInterleaved, ClientLimit,
    ClientStatus,
};
use super::units::Length;
use crate::census::ClientCensus;
use crate::server::Verdict;

/// The client for people, the end of the last line included.
pub fn text(client: &ClientStatus) -> String {
    let mut text = headline(client);
    for one in &client.listeners {
        text += &format!("\n{}: {}\n", one.listener, outcome(one));
        if one.serving {
            details(&mut text, one);
        }
    }
    let census = client.census.as_ref().map_or_else(
        || "nothing is known: the census is off (census.enabled)".to_owned(),
        census,
    );
    text + "\n" + &field("requests", &census)
}

fn headline(client: &ClientStatus) -> String {
    let answered = client.listeners.iter().filter(|one| one.is_answered()).count();
    let family = if client.address.is_ipv4() { "IPv4" } else { "IPv6" };
    let where_ = match (answered, client.listeners.len()) {
        (_, 0) => format!("no listener of {family}: a request gets no response"),
        (0, _) => "a request gets no answer".to_owned(),
        (1, 1) => "a request gets an answer".to_owned(),
        (some, all) if some == all => format!("a request gets an answer at all {all} listeners"),
        (some, all) => format!("a request gets an answer at {some} of {all} listeners"),
    };
    format!("{}: {where_}\n", client.address)
}

/// The outcome of a request at a listener.
fn outcome(one: &ClientAtListener) -> String {
    if !one.serving {
        let fault = one.fault.as_deref().unwrap_or("it is not open");
        return format!("not served: {fault}");
    }
    let by = |drained: &String| format!(", drained by {drained}");
    let announced = if one.announces_time {
        "the time".to_owned()
    } else {
        let drained = one.drained.as_ref().map_or_else(String::new, by);
        format!("\"unsynchronized\"{drained}")
    };
    let gets = |verdict: &str| {
        let known = Verdict::all().find(|known| known.name() == verdict);
        match known {
            Some(known) if known.is_answered() => format!("answered with {announced}"),
            Some(Verdict::KissedDenied) => "answered with DENY, and no time".to_owned(),
            Some(Verdict::KissedRate) => "answered with RATE, and no time".to_owned(),
            Some(_) | None => format!("no response ({verdict})"),
        }
    };
    let mut verdicts: Vec<(&String, f64)> = one.verdicts.iter().map(|(word, share)| (word, *share)).collect();
    verdicts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let said: Vec<String> = match verdicts.as_slice() {
        [(only, _)] => vec![gets(only)],
        several => several
            .iter()
            .map(|(word, share)| format!("{} %: {}", percent(*share), gets(word)))
            .collect(),
    };
    let remark = |(word, share): (&String, &f64)| match percent(*share).as_str() {
        "100" => word.clone(),
        some => format!("{word} ({some} %)"),
    };
    let remarks: Vec<String> = one.remarks.iter().map(remark).collect();
    let remarks = match remarks.as_slice() {
        [] => String::new(),
        some => format!("; counted as {}", some.join(", ")),
    };
    said.join("; ") + &remarks
}

fn percent(share: f64) -> String {
    format!("{:.0}", 100.0 * share)
}

fn details(text: &mut String, one: &ClientAtListener) {
    *text += &field("list", &access(&one.access));
    for (name, line) in [("limit", limit(&one.limit)), ("budget", budget(&one.budget))] {
        *text += &field(name, &line);
    }
    if let Some(wide) = &one.limit.wide {
        *text += &field("wider limit", &bucket(wide));
    }
    *text += &field("interleaved", &interleaved(one.interleaved.as_ref()));
    if one.fast_path {
        let line = "answers here, too: its buckets are its own, and not shown above";
        *text += &field("fast path", line);
    }
    if one.silent_workers > 0 {
        let line = format!(
            "{} did not reply in time: what they know is missing",
            one.silent_workers
        );
        *text += &field("workers", &line);
    }
}

fn field(name: &str, line: &str) -> String {
    format!("  {name:<13}{line}\n")
}

fn access(access: &ClientAccess) -> String {
    let allowed = if access.allowed { "allowed" } else { "denied" };
    let mode = match access.mode.as_str() {
        "on" => String::new(),
        other => format!("mode {other}: "),
    };
    let rule = access
        .rule
        .as_ref()
        .map_or_else(String::new, |one| by_rule(one, access.allowed));
    let doubt = access.rule_doubt.as_ref();
    let doubt = doubt.map_or_else(String::new, |why| format!("; {why}"));
    format!("{mode}{allowed}{rule}{doubt}")
}

fn by_rule(rule: &AccessRule, allowed: bool) -> String {
    let AccessRule {
        prefix, key, place, ..
    } = rule;
    let word = if rule.allows == allowed {
        " by"
    } else {
        ", and now in the files by"
    };
    match prefix {
        Some(prefix) => format!("{word} {prefix} ({key}, {place})"),
        None if place == "default" => format!("{word} {key}, as no prefix matches"),
        None => format!("{word} {key} ({place}), as no prefix matches"),
    }
}

fn limit(limit: &ClientLimit) -> String {
    let Some(own) = &limit.bucket else {
        return limit.mode.clone();
    };
    let mode = match limit.mode.as_str() {
        "on" => String::new(),
        other => format!("{other}: "),
    };
    let last = limit.last_request.map_or_else(
        || "; no request is remembered".to_owned(),
        |ago| format!("; last request {} ago", Length(ago)),
    );
    let unanswered = match limit.unanswered {
        0 => String::new(),
        some => format!(", {some} not answered"),
    };
    format!("{mode}{}{last}{unanswered}", bucket(own))
}

fn bucket(bucket: &ClientBucket) -> String {
    format!(
        "{} of {} answers left for {}, one more every {} s",
        bucket.tokens, bucket.burst, bucket.prefix, bucket.interval
    )
}

fn budget(budget: &ClientBudget) -> String {
    let Some(light) = budget.light_up_to else {
        return budget.mode.clone();
    };
    let known = match budget.known {
        true => "known",
        false => "not known yet",
    };
    let recent = budget.recent_requests;
    let mode = match budget.mode.as_str() {
        "on" => String::new(),
        other => format!("{other}: "),
    };
    format!("{mode}{known}, {recent:.1} recent requests; known clients up to {light:.0} come first")
}

fn interleaved(saved: Option<&ClientInterleaved>) -> String {
    match saved {
        None => "off".to_owned(),
        Some(ClientInterleaved {
            interleaved: 0,
            basic: 0,
        }) => "no response of it is saved".to_owned(),
        Some(ClientInterleaved {
            interleaved: 0,
            basic,
        }) => format!("not in use ({basic} basic responses saved)"),
        Some(ClientInterleaved { interleaved, .. }) => format!("in use ({interleaved} responses saved)"),
    }
}

fn census(census: &ClientCensus) -> String {
    let counted = match (census.at_least, census.at_most) {
        (0, 0) => "none".to_owned(),
        (0, most) => format!("{most} at most"),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    let window = Length(census.window);
    let interval = census.interval.map_or_else(String::new, |interval| {
        let now = census.recent_rate;
        format!(", one every {} on average (now {now:.3}/s)", Length(interval))
    });
    let last = match (census.last_request, census.last_request_at_most) {
        (Some(ago), _) => format!("; the last one {} ago", Length(ago)),
        (None, Some(most)) => format!("; the last one less than {} ago", Length(most)),
        (None, None) => String::new(),
    };
    format!("{counted} in the last {window}{interval}{last}")
}

/// A client for tests: it is denied at one listener, limited at another, and a third is not served.
#[cfg(test)]
pub(crate) fn example() -> ClientStatus {
    use std::collections::BTreeMap;

    let shares = |all: &[(&str, f64)]| {
        all.iter()
            .map(|(word, share)| ((*word).to_owned(), *share))
            .collect::<BTreeMap<_, _>>()
    };
    let limit = ClientLimit {
        mode: "on".to_owned(),
        worker: Some(1),
        bucket: Some(ClientBucket {
            prefix: "192.0.2.7/32".to_owned(),
            tokens: 0,
            burst: 32,
            interval: 1.0,
        }),
        wide: None,
        last_request: Some(3.0),
        unanswered: 12,
    };
    let limited = ClientAtListener {
        listener: "0.0.0.0:123".parse().unwrap(),
        serving: true,
        fault: None,
        verdict: Some("refused-rate".to_owned()),
        verdicts: shares(&[("refused-rate", 0.75), ("answered-client", 0.25)]),
        remarks: shares(&[("leaked", 0.25)]),
        announces_time: true,
        drained: None,
        access: ClientAccess {
            mode: "on".to_owned(),
            allowed: true,
            rule: Some(AccessRule {
                prefix: None,
                allows: true,
                key: "access.default".to_owned(),
                place: "default".to_owned(),
            }),
            rule_doubt: None,
        },
        limit: limit.clone(),
        budget: ClientBudget {
            mode: "off".to_owned(),
            known: false,
            recent_requests: 0.0,
            light_up_to: None,
        },
        interleaved: Some(ClientInterleaved {
            interleaved: 0,
            basic: 1,
        }),
        fast_path: false,
        silent_workers: 0,
    };
    let denied = ClientAtListener {
        listener: "192.0.2.1:123".parse().unwrap(),
        verdict: Some("refused-denied".to_owned()),
        verdicts: shares(&[("refused-denied", 1.0)]),
        remarks: BTreeMap::new(),
        access: ClientAccess {
            allowed: false,
            rule: Some(AccessRule {
                prefix: Some("192.0.2.0/24".to_owned()),
                allows: false,
                key: "access.deny-files".to_owned(),
                place: "/etc/ntpfront/bad.txt:17:1".to_owned(),
            }),
            ..limited.access.clone()
        },
        limit: ClientLimit {
            mode: "off".to_owned(),
            worker: None,
            bucket: None,
            last_request: None,
            unanswered: 0,
            ..limit
        },
        budget: ClientBudget {
            mode: "dry-run".to_owned(),
            known: true,
            recent_requests: 3.25,
            light_up_to: Some(128.0),
        },
        interleaved: None,
        fast_path: true,
        silent_workers: 1,
        ..limited.clone()
    };
    let absent = ClientAtListener {
        listener: "192.0.2.9:123".parse().unwrap(),
        serving: false,
        fault: Some("no interface of this host has the address (EADDRNOTAVAIL)".to_owned()),
        verdict: None,
        verdicts: BTreeMap::new(),
        remarks: BTreeMap::new(),
        ..denied.clone()
    };
    ClientStatus {
        address: "192.0.2.7".parse().unwrap(),
        answered: false,
        listeners: vec![limited, denied, absent],
        census: Some(ClientCensus {
            window: 3660.0,
            at_least: 120,
            at_most: 125,
            rate: 0.033,
            recent_rate: 0.033,
            interval: Some(30.5),
            last_request: Some(3.0),
            last_request_at_most: Some(3.0),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn each_listener_with_its_reasons() {
        let expected = "\
192.0.2.7: a request gets no answer

0.0.0.0:123: 75 %: no response (refused-rate); 25 %: answered with the time; counted as leaked (25 %)
  list         allowed by access.default, as no prefix matches
  limit        0 of 32 answers left for 192.0.2.7/32, one more every 1 s; last request 3 s ago, 12 not answered
  budget       off
  interleaved  not in use (1 basic responses saved)

192.0.2.1:123: no response (refused-denied)
  list         denied by 192.0.2.0/24 (access.deny-files, /etc/ntpfront/bad.txt:17:1)
  limit        off
  budget       dry-run: known, 3.2 recent requests; known clients up to 128 come first
  interleaved  off
  fast path    answers here, too: its buckets are its own, and not shown above
  workers      1 did not reply in time: what they know is missing

192.0.2.9:123: not served: no interface of this host has the address (EADDRNOTAVAIL)

  requests     120 to 125 in the last 1 h 1 min, one every 31 s on average (now 0.033/s); the last one 3 s ago
";
        assert_eq!(text(&example()), expected);
    }

    #[test]
    fn an_answer_a_drain_and_a_changed_file() {
        let mut client = example();
        client.listeners.truncate(1);
        let one = &mut client.listeners[0];
        one.verdicts = BTreeMap::from([("answered-client".to_owned(), 1.0)]);
        one.verdict = Some("answered-client".to_owned());
        one.remarks = BTreeMap::from([("would-deny".to_owned(), 1.0)]);
        one.announces_time = false;
        one.drained = Some("command".to_owned());
        one.access.allowed = false;
        one.access.mode = "dry-run".to_owned();
        one.access.rule_doubt = Some("the lists were changed".to_owned());
        client.census = None;
        let said = text(&client);
        for line in [
            "192.0.2.7: a request gets an answer\n",
            "0.0.0.0:123: answered with \"unsynchronized\", drained by command; counted as would-deny\n",
            "mode dry-run: denied, and now in the files by access.default, as no prefix matches; the lists were changed\n",
            "nothing is known: the census is off (census.enabled)\n",
        ] {
            assert!(said.contains(line), "{line}: {said}");
        }
        client.listeners.clear();
        assert!(text(&client).starts_with("192.0.2.7: no listener of IPv4: a request gets no response\n"));
    }
}
