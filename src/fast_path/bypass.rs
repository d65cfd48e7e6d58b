//! Pure. The filters and routes of a host that requests on the fast path go past, in words.

use std::fmt::Write;

/// The filters and routes that are there on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bypassed {
    /// The rules of nf_tables, those of iptables-nft included; `None` if they can't be counted without `CAP_NET_ADMIN`.
    pub filter_rules: Option<u64>,
    /// The tables of the older iptables and ip6tables.
    pub legacy_tables: Vec<String>,
    /// The interfaces of the fast path where the kernel checks sources against its routes (`rp_filter`).
    pub checked_sources: Vec<String>,
    /// The rules of policy routing beside those that every host has.
    pub routing_rules: u64,
    /// The interfaces of the fast path where an XDP program is attached.
    pub programs: Vec<String>,
}

impl Bypassed {
    /// Returns a line for each.
    pub fn lines(&self) -> Vec<String> {
        let past = "requests that the fast path answers go past";
        let mut filters = Vec::new();
        match self.filter_rules {
            Some(0) => {}
            Some(1) => filters.push("1 rule of nf_tables".to_owned()),
            Some(rules) => filters.push(format!("{rules} rules of nf_tables")),
            None => filters
                .push("rules of nf_tables, if there are any (to count them takes CAP_NET_ADMIN)".to_owned()),
        }
        if !self.legacy_tables.is_empty() {
            filters.push(format!("iptables ({})", self.legacy_tables.join(", ")));
        }
        let mut lines = Vec::new();
        if !filters.is_empty() {
            let mut line = format!("{past} {}", filters.join(" and "));
            if self.filter_rules.is_some() || !self.legacy_tables.is_empty() {
                let _written = write!(line, ": use [access] and [limit] in their place");
            }
            lines.push(line);
        }
        if !self.checked_sources.is_empty() {
            lines.push(format!("{past} rp_filter ({})", self.checked_sources.join(", ")));
        }
        if self.routing_rules > 0 {
            lines.push(format!(
                "{past} policy routing ({} rules): replies leave where requests came in",
                self.routing_rules
            ));
        }
        if !self.programs.is_empty() {
            lines.push(format!(
                "an XDP program is at {}: unless it is that of a running ntpfront, it stays, and the sockets answer there",
                self.programs.join(", ")
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_told() {
        let nothing = Bypassed {
            filter_rules: Some(0),
            ..Bypassed::default()
        };
        assert_eq!(nothing.lines(), Vec::<String>::new());
        let all = Bypassed {
            filter_rules: Some(3),
            legacy_tables: vec!["filter".to_owned(), "nat".to_owned()],
            checked_sources: vec!["eth0".to_owned()],
            routing_rules: 2,
            programs: vec!["eth1".to_owned()],
        };
        let lines = all.lines();
        for (line, words) in lines.iter().zip([
            "3 rules of nf_tables and iptables (filter, nat): use [access]",
            "rp_filter (eth0)",
            "policy routing (2 rules)",
            "an XDP program is at eth1",
        ]) {
            assert!(line.contains(words), "{line}");
        }
        assert_eq!(lines.len(), 4);
        let unknown = Bypassed::default().lines();
        assert!(
            unknown.len() == 1 && unknown[0].contains("CAP_NET_ADMIN"),
            "{unknown:?}"
        );
    }
}
