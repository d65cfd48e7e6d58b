//! Pure. The words for pools of upstreams on the screens.

use super::pool_status::PoolStatus;
use super::screen::Tone;
use super::upstream_status::UpstreamStatus;

/// Returns a line for each pool: a warning while it has fewer members with a vote than it should have.
pub(super) fn lines(pools: &[PoolStatus]) -> impl Iterator<Item = (String, Tone)> {
    pools.iter().map(|one| {
        let PoolStatus {
            name,
            count,
            members,
            on_trial,
            spares,
            replaced,
            fault,
        } = one;
        let trial = if *on_trial > 0 {
            format!(", {on_trial} on trial")
        } else {
            String::new()
        };
        let fault = fault.map(|fault| format!("; {fault}")).unwrap_or_default();
        let tone = if *members < usize::from(*count) {
            Tone::Warning
        } else {
            Tone::Plain
        };
        let text = format!("{name}: {members} of {count}{trial}, {spares} spare, {replaced} replaced{fault}");
        (text, tone)
    })
}

/// Returns the address that is polled and the pool, to be added to a line; nothing if there is neither.
pub(super) fn address_and_pool(one: &UpstreamStatus) -> String {
    let address = one.address.map(|address| format!(", at {address}"));
    let trial = if one.on_trial {
        ", on trial: without a vote"
    } else {
        ""
    };
    let pool = one.pool.as_ref().map(|pool| format!(", of {pool}{trial}"));
    address.unwrap_or_default() + &pool.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{pool_status, upstream_status};

    #[test]
    fn pools_and_members_are_told_in_a_line() {
        let pool = pool_status::example();
        let quiet = PoolStatus {
            members: 4,
            on_trial: 0,
            spares: 2,
            replaced: 0,
            fault: Some("its name can't be resolved"),
            ..pool.clone()
        };
        let lines: Vec<(String, Tone)> = lines(&[pool, quiet]).collect();
        let expected = [
            (
                "pool.example:123: 1 of 4, 1 on trial, 0 spare, 3 replaced",
                Tone::Warning,
            ),
            (
                "pool.example:123: 4 of 4, 2 spare, 0 replaced; its name can't be resolved",
                Tone::Plain,
            ),
        ]
        .map(|(text, tone)| (text.to_owned(), tone));
        assert_eq!(lines, expected);
        let [single, member] = upstream_status::examples().try_into().unwrap();
        assert_eq!(address_and_pool(&single), ", at 192.0.2.1:123");
        let on_trial = UpstreamStatus {
            on_trial: true,
            ..member
        };
        assert_eq!(
            address_and_pool(&on_trial),
            ", at [2001:db8::1]:123, of pool.example:123, on trial: without a vote"
        );
    }
}
