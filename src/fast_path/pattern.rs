//! Pure. Names of interfaces with wildcards, as a shell has them: `*` is any text, `?` any one character.

/// Returns whether a name is a pattern.
pub(super) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Returns whether `name` is what `pattern` means.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut characters = pattern.chars();
    match characters.next() {
        None => name.is_empty(),
        Some('*') => {
            let mut rests = name.char_indices().map(|(at, _)| at).chain([name.len()]);
            rests.any(|at| {
                name.get(at..)
                    .is_some_and(|rest| matches(characters.as_str(), rest))
            })
        }
        Some(wanted) => {
            let mut rest = name.chars();
            let is_same = rest.next().is_some_and(|found| wanted == '?' || found == wanted);
            is_same && matches(characters.as_str(), rest.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_those_of_a_shell() {
        for (pattern, name, expected) in [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("eth*", "eth", true),
            ("eth*", "eth01", true),
            ("*", "lo", true),
            ("en*s?", "enp3s0", true),
            ("en*s?", "enp3s", false),
            ("e?h1", "eth1", true),
            ("e?h1", "eh1", false),
            ("*0*", "bond0.7", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!(is_pattern("eth*") && is_pattern("?") && !is_pattern("eth0.7"));
    }
}
