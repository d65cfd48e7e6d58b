//! Impure. `ntpfront clients`: the clients of the running server in the last hour.

use std::process::ExitCode;

use super::output::{FAILURE, FAULT, fail, print};
use super::paint::{print_lines, terminal_width};
use super::running::{query_running, unexpected_answer};
use crate::census::{CensusWanted, ClientOrder};
use crate::cli::{ClientsOrder, ClientsQuery, Flags, RunningServer};
use crate::control::protocol::{ControlAnswer, ControlRequest};
use crate::observe::clients_text;
use crate::observe::screen::USUAL_WIDTH;

/// The length of the lists as JSON.
const FOR_PROGRAMS: u16 = 100;

/// Exit status 0 if there is an answer, 1 if there is none, and 2 if the question is wrong.
pub(super) fn run(server: &RunningServer, flags: &Flags, query: &ClientsQuery) -> ExitCode {
    let wanted = match wanted(query, server.json) {
        Ok(wanted) => wanted,
        Err(why) => return fail("clients", &format!("--prefix: {why}"), FAULT),
    };
    let report = match query_running(server, flags, ControlRequest::Clients(wanted.clone())) {
        Ok(ControlAnswer::Clients(report)) => report,
        Ok(_) => return fail("clients", &unexpected_answer(), FAILURE),
        Err(why) => return fail("clients", &why, FAILURE),
    };
    if server.json {
        // All of it are texts and numbers: nothing can go wrong.
        print(&(serde_json::to_string(&report).unwrap_or_default() + "\n"));
    } else {
        let width = terminal_width().unwrap_or(USUAL_WIDTH);
        print_lines(&clients_text::lines(&report, &wanted, width.into()));
    }
    ExitCode::SUCCESS
}

fn wanted(query: &ClientsQuery, is_json: bool) -> Result<CensusWanted, String> {
    let prefix = query.prefix.as_ref().map(|prefix| prefix.parse());
    let usual = if is_json { FOR_PROGRAMS } else { clients_text::ROWS };
    Ok(CensusWanted {
        count: query.count.unwrap_or(usual),
        order: match query.sort {
            None | Some(ClientsOrder::Count) => ClientOrder::Count,
            Some(ClientsOrder::Rate) => ClientOrder::Rate,
            Some(ClientsOrder::Last) => ClientOrder::Last,
            Some(ClientsOrder::Address) => ClientOrder::Address,
        },
        prefix: prefix.transpose()?,
        limited: query.limited,
    })
}
