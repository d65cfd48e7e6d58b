//! Impure. `ntpfront health`: whether the running server is healthy.

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use super::health_watch;
use super::output::{FAILURE, FAULT, fail, print};
use super::running::{explain, places, refusal, unexpected_answer};
use crate::cli::{Flags, HealthFormat, HealthQuery, RunningServer};
use crate::control::client::{RequestError, send_request_within};
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::control::socket::SocketPlaces;
use crate::host::clock;
use crate::observe::health::{Health, HealthCriteria};
use crate::observe::nagios::{NagiosLimits, NagiosStatus, of_failure, of_health};

/// The longest time to wait for an answer, unless another one is wanted.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Interval of the tries with `--wait`.
const RETRY: Duration = Duration::from_millis(100);

/// The reason why the health is not known, and its status for Nagios.
struct NotKnown {
    why: String,
    nagios: NagiosStatus,
}

/// Exit status 0 for yes, 1 for no, and 2 without an answer; or those of Nagios.
pub(super) fn run(server: &RunningServer, flags: &Flags, query: &HealthQuery) -> ExitCode {
    let format = query.format.unwrap_or(if server.json {
        HealthFormat::Json
    } else {
        HealthFormat::Text
    });
    let unknown = |why: &str| failed(format, why, NagiosStatus::Unknown);
    if query.warn_distance.is_some() && format != HealthFormat::Nagios {
        return unknown("--warn-distance is for --format nagios");
    }
    let criteria = match criteria(query) {
        Ok(criteria) => criteria,
        Err(why) => return unknown(&why),
    };
    let places = match places(server, flags) {
        Ok(places) => places,
        Err(why) => return unknown(&refusal(&why)),
    };
    if query.watch {
        if format == HealthFormat::Nagios {
            return unknown("--format nagios is for a check, and not for --watch");
        }
        return health_watch::run(places, criteria, query, format == HealthFormat::Json);
    }
    match ask(&places, &criteria, query) {
        Ok(health) => answered(&health, format, query),
        Err(NotKnown { why, nagios }) => failed(format, &why, nagios),
    }
}

/// Returns what is asked for.
fn criteria(query: &HealthQuery) -> Result<HealthCriteria, String> {
    let listener = query.listener.as_ref().map(|name| name.parse());
    Ok(HealthCriteria {
        max_distance: query.max_distance,
        listener: listener
            .transpose()
            .map_err(|why: String| format!("--listener: {why}"))?,
    })
}

/// Asks once, or until the server is healthy or the time is over.
fn ask(places: &SocketPlaces, criteria: &HealthCriteria, query: &HealthQuery) -> Result<Health, NotKnown> {
    let limit = query.timeout.unwrap_or(TIMEOUT);
    let Some(wait) = query.wait else {
        return ask_once(places.find(), criteria, limit);
    };
    let end = clock::raw().saturating_add(wait);
    loop {
        let left = end.saturating_sub(clock::raw());
        let answer = ask_once(places.find(), criteria, limit.min(left.max(RETRY)));
        let is_healthy = answer.as_ref().is_ok_and(|health| health.healthy);
        let left = end.saturating_sub(clock::raw());
        if is_healthy || left.is_zero() {
            return answer;
        }
        thread::sleep(RETRY.min(left));
    }
}

fn ask_once(socket: &Path, criteria: &HealthCriteria, limit: Duration) -> Result<Health, NotKnown> {
    let request = ControlRequest::Health(criteria.clone());
    match send_request_within(socket, request, limit) {
        Ok(ControlAnswer::Health(health)) => Ok(health),
        Ok(_) => Err(NotKnown {
            why: unexpected_answer(),
            nagios: NagiosStatus::Unknown,
        }),
        Err(error) => Err(NotKnown {
            why: explain(&error),
            nagios: severity(&error),
        }),
    }
}

/// A server that does not run is critical; what only this user or this program can't ask is unknown.
fn severity(error: &RequestError) -> NagiosStatus {
    match error {
        RequestError::Unreachable(_, error, _) if error.kind() == ErrorKind::PermissionDenied => {
            NagiosStatus::Unknown
        }
        RequestError::Incompatible(..) | RequestError::Failed(_) => NagiosStatus::Unknown,
        RequestError::Unreachable(..) | RequestError::Late(..) | RequestError::Unanswered(_) => {
            NagiosStatus::Critical
        }
    }
}

fn answered(health: &Health, format: HealthFormat, query: &HealthQuery) -> ExitCode {
    match format {
        HealthFormat::Nagios => {
            let limits = NagiosLimits {
                warning: query.warn_distance,
                critical: query.max_distance,
            };
            let (status, line) = of_health(health, limits);
            print(&line);
            return (status as u8).into();
        }
        HealthFormat::Text => print(&health.line()),
        HealthFormat::Json => print(&health.json_line()),
    }
    if health.healthy {
        ExitCode::SUCCESS
    } else {
        FAILURE.into()
    }
}

fn failed(format: HealthFormat, why: &str, nagios: NagiosStatus) -> ExitCode {
    if format == HealthFormat::Nagios {
        print(&of_failure(nagios, why));
        return (nagios as u8).into();
    }
    fail("health", why, FAULT)
}
