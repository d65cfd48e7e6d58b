//! Impure. `ntpfront wait`: until the running server is synchronized.

use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::output::{FAILURE, FAULT, fail, print};
use super::running::{explain, places, unexpected_answer};
use crate::cli::{Flags, RunningServer};
use crate::control::client::send_request_within;
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::host::clock;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// The longest time that a look takes: a server that hangs is not synchronized.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// Exit status 0 once it is synchronized, 1 if that is not in time, and 2 if its socket is not known.
///
/// With a server that hangs it takes up to a second longer.
pub(super) fn run(
    server: &RunningServer,
    flags: &Flags,
    timeout: f64,
    max_distance: Option<f64>,
) -> ExitCode {
    let places = match places(server, flags) {
        Ok(places) => places,
        Err(why) => return fail("wait", &why, FAULT),
    };
    let began = clock::raw();
    let limit = Duration::try_from_secs_f64(timeout).unwrap_or(Duration::MAX);
    loop {
        let found = look(places.find()).and_then(|status| synchronized(&status, max_distance));
        let waited = clock::raw().saturating_sub(began);
        match found {
            Ok(reason) => {
                print(&line(server.json, true, &reason, waited));
                return ExitCode::SUCCESS;
            }
            Err(reason) if waited >= limit => {
                if server.json {
                    print(&line(true, false, &reason, waited));
                    return FAILURE.into();
                }
                let why = format!("not synchronized after {:.1} s: {reason}", waited.as_secs_f64());
                return fail("wait", &why, FAILURE);
            }
            Err(_) => sleep(LOOK.min(limit.saturating_sub(waited))),
        }
    }
}

fn line(is_json: bool, is_synchronized: bool, reason: &str, waited: Duration) -> String {
    let waited = waited.as_secs_f64();
    if is_json {
        let object = serde_json::json!({
            "synchronized": is_synchronized,
            "reason": reason,
            "waited": waited,
        });
        format!("{object}\n")
    } else {
        format!("{reason}, after {waited:.1} s\n")
    }
}

fn look(socket: &Path) -> Result<Value, String> {
    match send_request_within(socket, ControlRequest::Status, LONGEST_LOOK) {
        Ok(ControlAnswer::Report { text }) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        Ok(_) => Err(unexpected_answer()),
        Err(error) => Err(explain(&error)),
    }
}

/// Returns in words that a server with this status is synchronized, within the limit if there is one.
///
/// # Errors
/// It is not: the reason.
fn synchronized(status: &Value, max_distance: Option<f64>) -> Result<String, String> {
    let state = status
        .get("state")
        .and_then(Value::as_str)
        .unwrap_or("unknown state");
    let distance = status.pointer("/reference/root_distance").and_then(Value::as_f64);
    match (state, distance, max_distance) {
        ("synchronized", Some(distance), Some(limit)) if distance > limit => Err(format!(
            "synchronized, maximum error {distance:.6} s, over the limit of {limit} s"
        )),
        ("synchronized", Some(distance), _) => Ok(format!("synchronized, maximum error {distance:.6} s")),
        _ => {
            let reason = status.get("state_reason").and_then(Value::as_str);
            Err(reason.map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_synchronized_server_within_the_limit_is_good_enough() {
        let status = |state: &str, distance: Option<f64>, reason: Option<&str>| serde_json::json!({"state": state, "state_reason": reason, "reference": {"root_distance": distance}});
        let found = |value: Value, limit| synchronized(&value, limit);
        let good = "synchronized, maximum error 0.020000 s";
        let of = |state| status(state, Some(0.02), None);
        assert_eq!(found(of("synchronized"), None), Ok(good.to_owned()));
        assert_eq!(found(of("synchronized"), Some(0.02)), Ok(good.to_owned()));
        assert_eq!(
            found(of("synchronized"), Some(0.01)),
            Err(format!("{good}, over the limit of 0.01 s"))
        );
        for state in ["holdover", "local", "init", "unsynchronized", "disputed"] {
            assert_eq!(found(of(state), None), Err(state.to_owned()));
        }
        assert_eq!(
            found(status("init", None, Some("no answer yet")), None),
            Err("init: no answer yet".to_owned())
        );
        assert!(found(status("synchronized", None, None), None).is_err());
        assert!(found(Value::Null, None).is_err());
    }
}
