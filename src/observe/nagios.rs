//! Pure. The health of the server as a plugin of Nagios reports it, for Icinga, Naemon, Zabbix and others that run such plugins.
//!
//! One line: the service, its status, the reason, and behind a bar the performance data. The exit status repeats the status.

use super::health::Health;

/// The status of a service, whose number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NagiosStatus {
    /// All is well.
    Ok = 0,
    /// The service works, and something needs attention.
    Warning = 1,
    /// The service does not work.
    Critical = 2,
    /// The service could not be checked.
    Unknown = 3,
}

impl NagiosStatus {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Limits of the root distance, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NagiosLimits {
    /// Above it the status is WARNING.
    pub warning: Option<f64>,
    /// Above it the status is CRITICAL.
    pub critical: Option<f64>,
}

/// Returns the status of a server of this health, and its line, the end included.
pub fn of_health(health: &Health, limits: NagiosLimits) -> (NagiosStatus, String) {
    let far = limits
        .warning
        .filter(|limit| health.root_distance.is_some_and(|distance| distance > *limit));
    let status = match (health.healthy, far.is_some() || !health.warnings.is_empty()) {
        (false, _) => NagiosStatus::Critical,
        (true, true) => NagiosStatus::Warning,
        (true, false) => NagiosStatus::Ok,
    };
    let far = far.filter(|_| health.healthy);
    let far = far.map_or_else(String::new, |limit| {
        format!("; the maximum error is over {limit} s (--warn-distance)")
    });
    let line = format!(
        "{}{}",
        text(status, &(health.reason.clone() + &far)),
        performance(health, limits)
    );
    (status, line + "\n")
}

/// Returns the line of a server that could not be asked, the end included.
pub fn of_failure(status: NagiosStatus, reason: &str) -> String {
    text(status, reason) + "\n"
}

/// The line without performance data: a bar or a line end in the reason would end it early.
fn text(status: NagiosStatus, reason: &str) -> String {
    let is_odd = |character: char| character == '|' || character.is_control();
    format!("NTPFRONT {} - {}", status.name(), reason.replace(is_odd, " "))
}

/// The values, as `'label'=value[unit];[warning];[critical];[least];[most]`.
fn performance(health: &Health, limits: NagiosLimits) -> String {
    let limit = |limit: Option<f64>| limit.map_or_else(String::new, |limit| limit.to_string());
    let distance = health.root_distance.map(|distance| {
        let (warning, critical) = (limit(limits.warning), limit(limits.critical));
        format!(" root_distance={distance:.9}s;{warning};{critical};0")
    });
    let stratum = health.stratum.map(|stratum| format!(" stratum={stratum};;;0;15"));
    match (distance, stratum) {
        (None, None) => String::new(),
        (distance, stratum) => format!(
            " |{}{}",
            distance.unwrap_or_default(),
            stratum.unwrap_or_default()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health {
            healthy: true,
            reason: "synchronized, stratum 3".to_owned(),
            warnings: Vec::new(),
            state: Some("synchronized".to_owned()),
            stratum: Some(3),
            root_distance: Some(0.00075),
        }
    }

    #[test]
    fn each_status_has_its_line() {
        let none = NagiosLimits::default();
        let values = "| root_distance=0.000750000s;;;0 stratum=3;;;0;15\n";
        let (status, line) = of_health(&health(), none);
        assert_eq!(
            (status, line),
            (
                NagiosStatus::Ok,
                format!("NTPFRONT OK - synchronized, stratum 3 {values}")
            )
        );
        let both = NagiosLimits {
            warning: Some(0.0005),
            critical: Some(0.01),
        };
        let (status, line) = of_health(&health(), both);
        assert_eq!(status, NagiosStatus::Warning);
        assert_eq!(
            line,
            "NTPFRONT WARNING - synchronized, stratum 3; the maximum error is over 0.0005 s (--warn-distance) \
             | root_distance=0.000750000s;0.0005;0.01;0 stratum=3;;;0;15\n"
        );
        let warned = Health {
            reason: "a; b|c\nd".to_owned(),
            warnings: vec!["b|c\nd".to_owned()],
            ..health()
        };
        let (status, line) = of_health(&warned, none);
        assert_eq!(
            (status, line),
            (
                NagiosStatus::Warning,
                format!("NTPFRONT WARNING - a; b c d {values}")
            )
        );
        let bad = Health {
            healthy: false,
            ..warned
        };
        assert_eq!(of_health(&bad, both).0, NagiosStatus::Critical);
        let silent = Health::unknown("no answer".to_owned());
        assert_eq!(
            of_health(&silent, both),
            (
                NagiosStatus::Critical,
                "NTPFRONT CRITICAL - no answer\n".to_owned()
            )
        );
        assert_eq!(
            of_failure(NagiosStatus::Unknown, "no socket"),
            "NTPFRONT UNKNOWN - no socket\n"
        );
        assert_eq!(
            [0, 1, 2, 3],
            [
                NagiosStatus::Ok,
                NagiosStatus::Warning,
                NagiosStatus::Critical,
                NagiosStatus::Unknown
            ]
            .map(|one| one as u8)
        );
    }
}
