//! Impure. Putting the workers' censuses together, for whoever asks for them through the control socket.

use std::io;

use tokio::task::yield_now;

use super::control::Request;
use super::sight::{JSON, told};
use crate::config::Census;
use crate::config::commands::Answer;
use crate::host::{clock, entropy};
use crate::observe::clients_text;
use crate::serve::census::{Method, Shared, Tally};

/// How the workers of this process count, if they do.
pub(super) fn method(census: Census) -> io::Result<Option<Method>> {
    if !census.enabled {
        return Ok(None);
    }
    let seed = entropy::random()?;
    let clients = census.clients;
    Ok(Some(Method { seed, clients }))
}

/// Tells what the workers of these censuses counted. Each takes about a millisecond: what else is due goes on in between.
pub(super) async fn answer(censuses: Vec<Shared>, request: Request) {
    let mut tally = Tally::new(clock::raw());
    for census in &censuses {
        census.read(|history| tally.add(history));
        yield_now().await;
    }
    let answer = if censuses.is_empty() {
        Answer::failed("the census is off (census.enabled)")
    } else {
        let report = tally.report();
        told(request.argument == JSON, &report, || clients_text::text(&report))
    };
    // Who does not wait for the answer doesn't need it.
    let _told = request.answer.send(answer);
}
