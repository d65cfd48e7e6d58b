//! Pure. The health of the server.
//!
//! It is one answer for load balancers, route announcers and probes.

use serde::Serialize;

use super::nts_status::NtsStatus;
use super::snapshot::Snapshot;

/// The health of the server, and the reason.
///
/// As JSON its names are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Whether clients get a time, one that is good enough, at all listeners that are required.
    pub healthy: bool,
    /// The reason in one line, without its end.
    pub reason: String,
}

impl Health {
    /// The health by what clients get now.
    ///
    /// `max_distance` is the largest healthy root distance, in seconds, if there is a limit.
    ///
    /// A record that can't be written is named, and does not count, either.
    /// A certificate that ends soon is named, and does not count: clients without NTS get a time.
    /// A listener whose address is absent is named, and counts only if it is required: some addresses come
    /// only to a healthy host.
    pub fn of(snapshot: &Snapshot, max_distance: Option<f64>) -> Self {
        let clock = &snapshot.clock_status;
        let state = clock.state.name();
        let (healthy, mut reason) = match (clock.usable, clock.reference.root_distance) {
            (true, Some(distance)) => {
                let within = max_distance.is_none_or(|limit| distance <= limit);
                let limit = max_distance.filter(|_| !within);
                let over = limit.map_or_else(String::new, |limit| format!(", over the limit of {limit} s"));
                let stratum = clock.reference.stratum;
                let reason = format!("{state}, stratum {stratum}, maximum error {distance:.6} s{over}");
                (within, reason)
            }
            _ => (false, format!("{state}: clients get no time")),
        };
        let absent = || snapshot.listeners.iter().filter(|one| !one.serving);
        for one in absent() {
            let required = if one.required { ", which is required" } else { "" };
            reason += &format!("; not served: {}{required}", one.address);
        }
        for one in snapshot.nts.iter().flat_map(NtsStatus::certificates) {
            if one.trouble.is_some() {
                let names = one.names.join(", ");
                reason += &format!("; certificate for {names}: {}", one.left);
            }
        }
        if let Some(fault) = snapshot.history.as_ref().and_then(|one| one.fault.as_ref()) {
            reason += &format!("; the history is not written: {fault}");
        }
        Self {
            healthy: healthy && !absent().any(|one| one.required),
            reason,
        }
    }

    /// Returns the health in one line for people, its end included.
    pub fn line(&self) -> String {
        let word = if self.healthy { "healthy" } else { "not healthy" };
        format!("{word}: {}\n", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::example;
    use super::*;
    use crate::upstream::system_process::State;

    #[test]
    fn a_listener_without_its_address_is_named_and_counts_if_it_is_required() {
        let mut snapshot = example();
        snapshot.nts = None;
        let good = "synchronized, stratum 3, maximum error 0.000750 s";
        assert_eq!(
            Health::of(&snapshot, None).line(),
            format!("healthy: {good}; not served: 192.0.2.7:123\n")
        );
        snapshot.listeners[2].required = true;
        assert_eq!(
            Health::of(&snapshot, None).line(),
            format!("not healthy: {good}; not served: 192.0.2.7:123, which is required\n")
        );
        snapshot.listeners[2].serving = true;
        assert_eq!(Health::of(&snapshot, None).line(), format!("healthy: {good}\n"));
    }

    /// The service is for all clients, so it stays healthy.
    #[test]
    fn a_certificate_that_ends_soon_is_named() {
        let mut snapshot = example();
        snapshot.listeners.truncate(2);
        let health = Health::of(&snapshot, None);
        assert_eq!(
            health.line(),
            "healthy: synchronized, stratum 3, maximum error 0.000750 s; certificate for time.example, ntp.example: 9 days left\n"
        );
        let nts = snapshot.nts.as_mut().unwrap();
        nts.key_establishment.as_mut().unwrap().certificates[0].trouble = None;
        assert!(!Health::of(&snapshot, None).reason.contains("certificate"));
    }

    #[test]
    fn a_good_time_is_healthy() {
        let mut snapshot = example();
        snapshot.nts = None;
        snapshot.listeners.truncate(2);
        let health = Health::of(&snapshot, Some(0.001));
        assert_eq!(
            health.line(),
            "healthy: synchronized, stratum 3, maximum error 0.000750 s\n"
        );
        let health = Health::of(&snapshot, Some(0.0005));
        assert_eq!(
            health.line(),
            "not healthy: synchronized, stratum 3, maximum error 0.000750 s, over the limit of 0.0005 s\n"
        );
        snapshot.clock_status.state = State::Holdover;
        assert!(Health::of(&snapshot, None).healthy);
        snapshot.clock_status.state = State::Disputed;
        snapshot.clock_status.usable = false;
        snapshot.clock_status.reference.root_distance = None;
        assert_eq!(
            Health::of(&snapshot, None).line(),
            "not healthy: disputed: clients get no time\n"
        );
    }
}
