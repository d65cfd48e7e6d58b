//! Pure. The lines of chrony.conf and ntp.conf about symmetric keys: their file, and which are trusted.

use super::draft::Draft;
use super::server::AUTHENTICATED;
use super::{SourceLine, path};
use crate::config::fault::excerpt;
use crate::symmetric::KeyId;

/// Carries over `keyfile FILE` of chronyd and `keys FILE` of ntpd.
pub(super) fn file(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    draft.keys.file = Some((path(line)?, line.shown()));
    Ok(())
}

/// Carries over `trustedkey ID… (FIRST ... LAST)…`.
pub(super) fn trustedkey(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    let said = line.words.join(" ").replace(['(', ')'], " ");
    let words: Vec<&str> = said.split_whitespace().collect();
    let trusted = draft.keys.trusted.get_or_insert_default();
    let mut rest = words.as_slice();
    while let [first, more @ ..] = rest {
        let (last, more) = match more {
            ["...", last, more @ ..] => (last, more),
            more => (first, more),
        };
        let range = [first, last].map(|id| id.parse::<KeyId>().ok());
        match range {
            [Some(first), Some(last)] if first <= last => trusted.push((first, last)),
            _ => return Err(format!("\"{}\" is no identifier of a key", excerpt(first))),
        }
        rest = more;
    }
    Ok(())
}

/// Completes the draft once all lines are read: no server is asked without its key.
///
/// `trusts_all` says whether the daemon uses each key of the file if no line names some.
pub(super) fn finish(draft: &mut Draft, trusts_all: bool) {
    let keys = std::mem::take(&mut draft.keys);
    let is_trusted = |id: KeyId| match &keys.trusted {
        None => trusts_all,
        Some(ranges) => ranges.iter().any(|(first, last)| (first..=last).contains(&&id)),
    };
    let mut left = Vec::new();
    let taken_back = &mut draft.taken_back;
    draft.upstreams.retain(|upstream| {
        let why = match (upstream.key, &keys.file) {
            (None, _) => return true,
            (Some(id), Some(_)) if is_trusted(id) => return true,
            (Some(_), None) => AUTHENTICATED,
            (Some(_), Some(_)) => "its key is no trustedkey, so ntpd doesn't believe it",
        };
        left.push(format!("{}: {why}", upstream.origin));
        *taken_back += 1;
        false
    });
    draft.remarks.append(&mut left);
    let is_used = draft.upstreams.iter().any(|upstream| upstream.key.is_some());
    if let Some((_, line)) = &keys.file
        && !is_used
        && keys.trusted.as_ref().is_none_or(Vec::is_empty)
    {
        let why = "no server has a key here: if clients have some, see [symmetric-keys] in the result";
        draft.remarks.push(format!("{line}: {why}"));
    }
    draft.keys = keys;
    draft.has_keys = is_used;
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::cli::Dialect;
    use crate::config::import::{ImportReport, ImportResult, import};

    fn imported(dialect: Dialect, text: &str) -> ImportReport {
        import(Some(dialect), &[(PathBuf::from("f"), Some(text.to_owned()))])
    }

    /// The lines of the result about keys, and what is said.
    fn of(dialect: Dialect, text: &str) -> (String, String) {
        let report = imported(dialect, text);
        let is_about_keys = |line: &&str| {
            ["file", "trusted", "key", "#file", "[symm", "#[symm"]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let lines: Vec<&str> = report.configuration.lines().filter(is_about_keys).collect();
        (lines.join(" "), report.remarks)
    }

    #[test]
    fn a_file_and_the_keys_of_servers_are_carried() {
        for (dialect, text, expected) in [
            (
                Dialect::Chrony,
                "keyfile /etc/chrony/chrony.keys\nserver 192.0.2.1 key 7",
                "[symmetric-keys] file = \"/etc/chrony/chrony.keys\" key = 7",
            ),
            (
                Dialect::Chrony,
                "server 192.0.2.1 iburst key 4294967295\nkeyfile /k",
                "[symmetric-keys] file = \"/k\" key = 4294967295",
            ),
            (
                Dialect::Ntp,
                "keys /k\ntrustedkey 7 9\ntrustedkey (20 ... 29) 30\nserver 192.0.2.1 key 25",
                "[symmetric-keys] file = \"/k\" trusted = [\"7\", \"9\", \"20-29\", \"30\"] key = 25",
            ),
            // Its clients have keys.
            (
                Dialect::Ntp,
                "keys /k\ntrustedkey 7\nserver 192.0.2.1",
                "[symmetric-keys] file = \"/k\" trusted = [\"7\"]",
            ),
        ] {
            let report = imported(dialect, text);
            let (found, remarks) = of(dialect, text);
            assert_eq!((found.as_str(), remarks.as_str()), (expected, ""), "{text}");
            assert_eq!(report.result, ImportResult::Whole);
        }
    }

    /// A server that has to be authenticated is never asked plain.
    #[test]
    fn what_is_not_carried_is_told() {
        for (dialect, text, expected, told) in [
            (
                Dialect::Chrony,
                "server 192.0.2.1 key 7\nallow",
                "",
                "can't authenticate",
            ),
            (
                Dialect::Chrony,
                "keyfile /k\nserver 192.0.2.1 key 0\nallow",
                "#[symmetric-keys] #file = \"/k\"",
                "can't authenticate",
            ),
            (
                Dialect::Chrony,
                "keyfile /k\nserver 192.0.2.2",
                "#[symmetric-keys] #file = \"/k\"",
                "keyfile /k: no server has a key here",
            ),
            (
                Dialect::Ntp,
                "keys /k\nserver 192.0.2.1 key 7\nserver 192.0.2.2",
                "#[symmetric-keys] #file = \"/k\"",
                "its key is no trustedkey",
            ),
            (
                Dialect::Ntp,
                "keys /k\ntrustedkey 8\nserver 192.0.2.1 key 7\nserver 192.0.2.2",
                "[symmetric-keys] file = \"/k\" trusted = [\"8\"]",
                "its key is no trustedkey",
            ),
            (
                Dialect::Ntp,
                "trustedkey x\nserver 192.0.2.2",
                "",
                "\"x\" is no identifier",
            ),
            (
                Dialect::Ntp,
                "requestkey 7\ncontrolkey 7\nserver 192.0.2.2",
                "",
                "no queries of management",
            ),
            (
                Dialect::Chrony,
                "keyfile k\nserver 192.0.2.2",
                "",
                "no absolute path",
            ),
        ] {
            let (found, remarks) = of(dialect, text);
            assert_eq!(found, expected, "{text}");
            assert!(remarks.contains(told), "{text}: {remarks}");
            let report = imported(dialect, text);
            assert_eq!(report.result, ImportResult::InPart);
            assert!(
                !report.configuration.contains("\"192.0.2.1\""),
                "{}",
                report.configuration
            );
        }
    }
}
