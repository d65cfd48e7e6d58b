//! Impure. `ntpfront client`: what a request of a client would get now, and why.

use std::process::ExitCode;

use super::output::{FAILURE, FAULT, fail, print};
use super::paint::fitted;
use super::running::{query_running, unexpected_answer};
use crate::cli::{ClientQuery, Flags, RunningServer};
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::observe::client_status::{ClientStatus, MOST_CLIENTS};
use crate::observe::client_text;
use crate::observe::health::ListenerName;

/// Exit status 0 if each client would be answered, 1 if one of them would not, and 2 without an answer.
pub(super) fn run(server: &RunningServer, flags: &Flags, query: &ClientQuery) -> ExitCode {
    let listener = query.listener.as_ref().map(|name| name.parse()).transpose();
    let listener: Option<ListenerName> = match listener {
        Ok(listener) => listener,
        Err(why) => {
            let why: String = why;
            return fail("client", &format!("--listener: {why}"), FAULT);
        }
    };
    let (mut all_answered, mut is_first) = (true, true);
    for addresses in query.addresses.chunks(MOST_CLIENTS) {
        let request = ControlRequest::Client {
            addresses: addresses.to_vec(),
            listener,
        };
        let clients = match query_running(server, flags, request) {
            Ok(ControlAnswer::Client(clients)) => clients,
            Ok(_) => return fail("client", &unexpected_answer(), FAULT),
            Err(why) => return fail("client", &why, FAULT),
        };
        for client in &clients {
            if !is_first && !server.json {
                print("\n");
            }
            is_first = false;
            print(&shown(client, server.json));
            all_answered &= client.answered;
        }
    }
    if all_answered {
        ExitCode::SUCCESS
    } else {
        FAILURE.into()
    }
}

/// A JSON object on a line of its own, or lines for people.
fn shown(client: &ClientStatus, is_json: bool) -> String {
    if !is_json {
        return fitted(client_text::text(client));
    }
    // All of it are texts, numbers and words: nothing can go wrong.
    serde_json::to_string(client).unwrap_or_default() + "\n"
}
