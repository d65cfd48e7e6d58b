//! Pure. Public servers that smear leap seconds, as their operators say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Host;

/// Names of such servers; a name below one of them counts, too.
const NAMES: [&str; 5] = [
    "time.google.com",
    "time.android.com",
    "time.facebook.com",
    "time.aws.com",
    "time.akamai.com",
];
/// Such services have servers with numbers: `time1.google.com`.
const NUMBERED: [&str; 2] = ["google.com", "facebook.com"];
/// Addresses of such servers: those of Amazon inside its network.
const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 123)),
    IpAddr::V6(Ipv6Addr::new(0xFD00, 0xEC2, 0, 0, 0, 0, 0, 0x123)),
];

/// Returns whether `host` is known to smear.
pub(super) fn is_known(host: &Host) -> bool {
    match host {
        Host::Address(address) => ADDRESSES.contains(address),
        Host::LinkLocal(..) => false,
        Host::Name(name) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let below = |known: &str| {
                let rest = name.strip_suffix(known);
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            NAMES.into_iter().any(below) || is_numbered(&name)
        }
    }
}

/// Returns whether `name` is one like `time1.google.com`.
fn is_numbered(name: &str) -> bool {
    name.split_once('.').is_some_and(|(first, domain)| {
        let number = first.strip_prefix("time");
        NUMBERED.contains(&domain)
            && number
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_known_by_name_and_address() {
        for (name, expected) in [
            ("time.google.com", true),
            ("Time.Google.COM.", true),
            ("time3.google.com", true),
            ("time.facebook.com", true),
            ("time12.facebook.com", true),
            ("eu.time.aws.com", true),
            ("mytime.google.com", false),
            ("timex.google.com", false),
            ("time..google.com", false),
            ("time1.example", false),
            ("google.com", false),
            ("time.nist.gov", false),
            ("", false),
        ] {
            assert_eq!(is_known(&Host::Name(name.to_owned())), expected, "{name}");
        }
        for (address, expected) in [
            ("169.254.169.123", true),
            ("fd00:ec2::123", true),
            ("169.254.169.124", false),
            ("216.239.35.0", false),
        ] {
            assert_eq!(
                is_known(&Host::Address(address.parse().unwrap())),
                expected,
                "{address}"
            );
        }
    }
}
