//! Pure. The report as Markdown and as CSV.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::super::csv::field;
use super::super::stamp::Stamp;
use super::{Excess, HistoryReport, ReportGap, ReportPart};

/// The values at the top of a report.
struct Summary {
    until: Stamp,
    length: f64,
    coverage: f64,
    told: f64,
    quantiles: [Option<f32>; 3],
    gaps: Vec<ReportGap>,
}

impl HistoryReport {
    /// Summarizes the month, or the part of it before `now`.
    fn summary(&self, now: Stamp) -> Summary {
        let part = &self.part;
        let until = part.until.min(now.max(part.last.unwrap_or(part.since)));
        let length = until.since(part.since).max(1.0);
        let mut sorted = part.bounds.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        Summary {
            until,
            length,
            coverage: 100.0 * (part.recorded / length).min(1.0),
            told: 100.0 * (part.told / length).min(1.0),
            quantiles: [0.5, 0.95, 1.0].map(|of| ReportPart::quantile(&sorted, of)),
            gaps: part.all_gaps(until),
        }
    }

    /// Returns the report as Markdown. A month that is not over ends at `now`.
    pub fn markdown(&self, now: Stamp) -> String {
        let mut text = String::new();
        // Nothing can go wrong with writing to a text.
        let _written = self.write_markdown(&mut text, &self.summary(now));
        text
    }

    fn write_markdown(&self, f: &mut String, summary: &Summary) -> fmt::Result {
        let (part, limit) = (&self.part, &self.limit);
        writeln!(f, "# Time served by {} in {}\n", self.host, self.month)?;
        writeln!(f, "| | |\n| --- | --- |")?;
        writeln!(f, "| period | {} to {} |", part.since, summary.until)?;
        writeln!(f, "| recorded | {:.3} % |", summary.coverage)?;
        writeln!(f, "| a time was told | {:.3} % |", summary.told)?;
        for (name, value) in ["half of the time", "95 % of the time", "all of the time"]
            .iter()
            .zip(summary.quantiles)
        {
            writeln!(
                f,
                "| announced error, {name} within | {} |",
                seconds(value.map(f64::from))
            )?;
        }
        let over = part.excesses().iter().filter(|one| one.worst.is_some());
        let (count, length) = (over.clone().count(), over.map(|one| one.seconds).sum::<f64>());
        writeln!(f, "| limit | {} s ({}) |", limit.seconds, escaped(&limit.name))?;
        writeln!(f, "| over the limit | {count} times, {length:.0} s |")?;
        writeln!(
            f,
            "| requests | {} answered, {} refused, {} lost |",
            part.answered, part.refused, part.lost
        )?;
        self.write_excesses(f)?;
        shares(f, "States", "state", &part.states, summary.length)?;
        shares(f, "Sources", "reference ID", &part.sources, summary.length)?;
        self.write_upstreams(f)?;
        self.write_gaps(f, summary)?;
        self.write_rest(f)
    }

    fn write_excesses(&self, f: &mut String) -> fmt::Result {
        writeln!(f, "\n## Excesses of the limit, and times without a time\n")?;
        if self.part.excesses().is_empty() {
            return writeln!(f, "None.");
        }
        writeln!(
            f,
            "| begin | end | seconds | worst | state | reason |\n| --- | --- | ---: | ---: | --- | --- |"
        )?;
        for one in self.part.excesses() {
            let worst = one
                .worst
                .map_or_else(|| "no time told".to_owned(), |worst| seconds(Some(worst)));
            let reason = escaped(one.reason.as_deref().unwrap_or("-"));
            let Excess {
                begin,
                end,
                seconds,
                state,
                ..
            } = one;
            writeln!(
                f,
                "| {begin} | {end} | {seconds:.0} | {worst} | {} | {reason} |",
                escaped(state)
            )?;
        }
        Ok(())
    }

    fn write_upstreams(&self, f: &mut String) -> fmt::Result {
        writeln!(
            f,
            "\n## Upstreams\n\n| upstream | addresses | reference IDs | accepted | refused |"
        )?;
        writeln!(f, "| --- | --- | --- | ---: | ---: |")?;
        for (name, one) in &self.part.upstreams {
            let list = |all: &std::collections::BTreeSet<String>| {
                let first: Vec<String> = all.iter().take(8).map(|text| escaped(text)).collect();
                first.join(", ")
            };
            let (addresses, ids) = (list(&one.addresses), list(&one.reference_ids));
            writeln!(
                f,
                "| {} | {addresses} | {ids} | {} | {} |",
                escaped(name),
                one.accepted,
                one.refused
            )?;
        }
        Ok(())
    }

    fn write_gaps(&self, f: &mut String, summary: &Summary) -> fmt::Result {
        writeln!(f, "\n## Gaps\n")?;
        if summary.gaps.is_empty() {
            return writeln!(f, "None.");
        }
        writeln!(f, "| from | to | seconds | reason |\n| --- | --- | ---: | --- |")?;
        for gap in &summary.gaps {
            let length = gap.to.since(gap.from);
            let reason = escaped(gap.reason.as_deref().unwrap_or("no record"));
            writeln!(f, "| {} | {} | {length:.0} | {reason} |", gap.from, gap.to)?;
        }
        Ok(())
    }

    fn write_rest(&self, f: &mut String) -> fmt::Result {
        let part = &self.part;
        writeln!(f, "\n## Configurations\n\n| SHA-256 | from |\n| --- | --- |")?;
        for (digest, file) in &part.configurations {
            writeln!(f, "| {} | {} |", escaped(digest), escaped(file))?;
        }
        writeln!(f, "\n## Events\n")?;
        for line in &part.events {
            writeln!(f, "* {}", escaped(line))?;
        }
        if part.more_events > 0 {
            writeln!(
                f,
                "* and {} more: see `ntpfront history --events`",
                part.more_events
            )?;
        }
        if part.events.is_empty() {
            writeln!(f, "None.")?;
        }
        writeln!(f, "\n## Proof\n\n```text\n{}```\n", self.chain)?;
        writeln!(
            f,
            "The head is the SHA-256 of the last file. Sign this report outside of this host, and keep both."
        )
    }

    /// Returns the report as CSV: a line for each value, excess and gap.
    pub fn csv(&self, now: Stamp) -> String {
        let (summary, part) = (self.summary(now), &self.part);
        let mut text = "what,name,begin,end,seconds,value,reason\n".to_owned();
        let mut row = |fields: [String; 7]| {
            text += &(fields.map(|text| field(&text)).join(",") + "\n");
        };
        let none = String::new;
        let value = |what: &str, name: &str, value: String| {
            [
                what.to_owned(),
                name.to_owned(),
                none(),
                none(),
                none(),
                value,
                none(),
            ]
        };
        row([
            "period".to_owned(),
            self.host.clone(),
            part.since.to_string(),
            summary.until.to_string(),
            format!("{:.0}", summary.length),
            none(),
            none(),
        ]);
        row(value("percent", "recorded", format!("{:.3}", summary.coverage)));
        row(value("percent", "told", format!("{:.3}", summary.told)));
        for (name, bound) in ["p50", "p95", "max"].iter().zip(summary.quantiles) {
            row(value(
                "bound",
                name,
                bound.map(|bound| bound.to_string()).unwrap_or_default(),
            ));
        }
        row(value("limit", &self.limit.name, self.limit.seconds.to_string()));
        for (name, count) in [
            ("answered", part.answered),
            ("refused", part.refused),
            ("lost", part.lost),
        ] {
            row(value("requests", name, count.to_string()));
        }
        for one in part.excesses() {
            let what = if one.worst.is_some() { "excess" } else { "no-time" };
            row([
                what.to_owned(),
                one.state.clone(),
                one.begin.to_string(),
                one.end.to_string(),
                format!("{:.0}", one.seconds),
                one.worst.map(|worst| worst.to_string()).unwrap_or_default(),
                one.reason.clone().unwrap_or_default(),
            ]);
        }
        for gap in &summary.gaps {
            let reason = gap.reason.clone().unwrap_or_else(|| "no record".to_owned());
            let length = format!("{:.0}", gap.to.since(gap.from));
            row([
                "gap".to_owned(),
                none(),
                gap.from.to_string(),
                gap.to.to_string(),
                length,
                none(),
                reason,
            ]);
        }
        row(value(
            "head",
            "sha256",
            self.chain.head.clone().unwrap_or_default(),
        ));
        row(value("faults", "files", self.chain.faults.len().to_string()));
        text
    }
}

/// Writes a table of shares of the time.
fn shares(f: &mut String, title: &str, what: &str, all: &BTreeMap<String, f64>, length: f64) -> fmt::Result {
    writeln!(
        f,
        "\n## {title}\n\n| {what} | share | seconds |\n| --- | ---: | ---: |"
    )?;
    let mut sorted: Vec<(&String, &f64)> = all.iter().collect();
    sorted.sort_by(|one, other| other.1.total_cmp(one.1));
    for (name, seconds) in sorted {
        let share = 100.0 * seconds / length;
        writeln!(f, "| {} | {share:.3} % | {seconds:.0} |", escaped(name))?;
    }
    Ok(())
}

fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.9} s"))
}

/// Returns a text that is only a text in Markdown: names come from configurations and from other servers.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            _ if letter.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(letter),
        }
    }
    escaped
}
