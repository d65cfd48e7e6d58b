//! Pure. The lines of the fast path on the screen of `status`.

use super::snapshot::{FamilyStatus, FastPathStatus, InterfaceStatus};

/// Returns the lines, each with its name: all answers, and below them those of each interface.
pub(super) fn lines(fast: &FastPathStatus) -> Vec<(&'static str, String)> {
    let full = match fast.budget_is_full {
        true => "; more than 4/5 of [budget] is asked: the sockets answer",
        false => "",
    };
    let total = ("fast path", format!("{} answered{full}", fast.answered));
    let interfaces = fast.interfaces.iter().map(|one| ("", interface(one)));
    std::iter::once(total).chain(interfaces).collect()
}

/// An interface: the answers of each family, or the reason for none.
fn interface(one: &InterfaceStatus) -> String {
    let Some(mode) = one.mode else {
        let fault = one.fault.as_deref().unwrap_or("not attached");
        return format!("{} off: {fault}", one.name);
    };
    let family = |name: &str, family: &FamilyStatus| match family.why_none {
        None => format!("{name} {}", family.answered),
        Some(why) => format!("{name} none ({why})"),
    };
    let (ipv4, ipv6) = (family("IPv4", &one.ipv4), family("IPv6", &one.ipv6));
    format!("{} {mode}: {ipv4}, {ipv6}", one.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::snapshot::example;

    #[test]
    fn a_full_budget_is_told() {
        let mut fast = example().fast_path.unwrap();
        assert_eq!(lines(&fast)[0], ("fast path", "1 answered".to_owned()));
        fast.budget_is_full = true;
        let told = "1 answered; more than 4/5 of [budget] is asked: the sockets answer";
        assert_eq!(lines(&fast)[0].1, told);
        assert_eq!(lines(&fast).len(), 1 + fast.interfaces.len());
    }
}
