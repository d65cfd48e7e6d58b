//! What a running ntpfront says of itself.

use std::path::Path;

use serde_json::Value;

use super::program::command;
use super::run;

/// `ntpfront status --json` of the one with this control socket.
pub(crate) fn status(control: &Path) -> Value {
    let outcome = run(command().args(["status", "--json", "--socket"]).arg(control));
    assert_eq!(outcome.status, Some(0), "{}", outcome.said());
    serde_json::from_str(&outcome.stdout).unwrap()
}
