//! Impure. The needs of the fast path, as far as a host shows them without privileges: for `ntpfront check`.

use nix::net::if_::if_nametoindex;
use nix::sys::utsname::uname;

/// The oldest Linux that it is tried on. (A program has links since 5.9, and reads `CLOCK_BOOTTIME` since 5.8.)
const OLDEST: (u32, u32) = (5, 10);

/// Returns the reason why this host can't have it; `None` if nothing is known against it.
///
/// Only a start can tell whether the kernel takes the program, and which privileges there will be.
pub fn impossible() -> Option<String> {
    let release = uname().ok()?.release().to_str()?.to_owned();
    let is_old = number(&release)? < OLDEST;
    is_old.then(|| {
        format!(
            "it needs Linux {}.{} or newer, and this is {release}",
            OLDEST.0, OLDEST.1
        )
    })
}

/// Returns the major and minor version of a release such as "6.1.0-18-amd64".
fn number(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Returns those of these interfaces that are not there now.
pub fn absent(interfaces: &[String]) -> Vec<&str> {
    let is_absent = |name: &&String| if_nametoindex(name.as_str()).is_err();
    interfaces.iter().filter(is_absent).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, expected) in [
            ("6.1.0-18-amd64", Some((6, 1))),
            ("5.10.0", Some((5, 10))),
            ("6.18.44-fc-v657", Some((6, 18))),
            ("7.0", Some((7, 0))),
            ("odd", None),
        ] {
            assert_eq!(number(release), expected, "{release}");
        }
        assert!(number("5.9.16") < Some(OLDEST) && number("5.10.0-38") == Some(OLDEST));
        assert!(Some(OLDEST) < number("6.1"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let names = ["lo".to_owned(), "none-such".to_owned()];
        assert_eq!(absent(&names), ["none-such"]);
    }
}
