//! Pure. ntpsec's line `nts`, by its manual (ntpsec 1.2).

use super::super::draft::Draft;
use super::super::{SourceLine, is_absolute};
use super::NOT_WRITTEN;
use crate::config::fault::excerpt;

const ABSENT: &str = "without \"nts enable\", and cert and key, ntpd establishes no keys";
const NO_PATH: &str = "cert and key: no absolute paths: no keys are established here";
const TLS: &str = "TLS 1.3 with its usual ciphers is all that is used here";
/// The AEAD of ntpd that is known here, its default.
const AEAD: &str = "AES_SIV_CMAC_256";

/// Carries over `nts [enable|disable] [cert FILE] [key FILE] [ca FILE] …`: the last of each counts.
pub(in super::super) fn nts(draft: &mut Draft, line: &SourceLine<'_>) -> Result<(), String> {
    draft.nts_server.lines.push(line.shown());
    let mut words = line.words.iter().copied();
    while let Some(word) = words.next() {
        let name = word.to_ascii_lowercase();
        match name.as_str() {
            "enable" | "disable" => draft.nts_server.is_enabled = name == "enable",
            "cert" | "key" | "ca" | "cookie" | "aead" | "mintls" | "maxtls" | "tlsciphers"
            | "tlsciphersuites" | "tlsecdhcurves" => {
                let value = words.next().unwrap_or_default().trim_matches('"');
                if let Some(why) = option(draft, line, &name, value) {
                    draft.leave(line, &format!("{name}: {why}"));
                }
            }
            _ => return Err(format!("{}: no such option is known here", excerpt(word))),
        }
    }
    Ok(())
}

/// Carries over an option with its value, or returns the reason why it isn't.
fn option(draft: &mut Draft, line: &SourceLine<'_>, name: &str, value: &str) -> Option<&'static str> {
    let is_path = is_absolute(value);
    match name {
        "cert" | "key" if !is_path => {
            draft.nts_server.refuse(NO_PATH);
            None
        }
        "cert" => {
            draft.nts_server.certificates = vec![value.to_owned()];
            None
        }
        "key" => {
            draft.nts_server.keys = vec![value.to_owned()];
            None
        }
        "ca" => {
            draft.authority = Some((value.to_owned(), line.shown()));
            None
        }
        "cookie" => Some(NOT_WRITTEN),
        "aead" if value.eq_ignore_ascii_case(AEAD) => None,
        "aead" => Some("AES_SIV_CMAC_256 and AES_128_GCM_SIV are known here, and both are used"),
        // It asks for less than always holds.
        "mintls" => None,
        _ => Some(TLS),
    }
}

/// Completes the draft of `[nts]`, and of the certificates that are trusted.
pub(in super::super) fn finish(draft: &mut Draft) {
    if !draft.nts_server.is_enabled {
        draft.nts_server.refuse(ABSENT);
    }
    let server = &draft.nts_server;
    // Other lines are about TLS, or about servers that are asked.
    let is_server = server.is_enabled || !server.certificates.is_empty() || !server.keys.is_empty();
    let remarks = draft.nts_server.complete(ABSENT);
    draft.remarks.extend(remarks.into_iter().filter(|_| is_server));
    let Some((file, line)) = draft.authority.take() else {
        return;
    };
    let is_asked = |nts: &super::super::draft::DraftNts| nts.ca.is_none();
    if !draft
        .upstreams
        .iter()
        .filter_map(|one| one.nts.as_ref())
        .any(is_asked)
    {
        return draft.remarks.push(format!("{line}: ca: no server here uses it"));
    }
    if is_absolute(&file) && !file.ends_with('/') {
        draft.roots = Some(file);
        return;
    }
    // Others would be trusted.
    draft
        .upstreams
        .retain(|one| !one.nts.as_ref().is_some_and(is_asked));
    let why = "no absolute path of a file: the servers with NTS that need it are not asked";
    draft.remarks.push(format!("{line}: ca: {why}"));
}
