//! Impure. Questions with a MAC of a symmetric key.

use std::net::SocketAddr;
use std::time::Duration;

use super::{NoAnswer, exchange, nonce};
use crate::symmetric::SymmetricKey;
use crate::upstream::mac;
use crate::upstream::packet::{Exchange, Reject};
use crate::wire::Header;

/// Sends one question with a MAC of `key` to `address`, and waits up to `within` for the reply with the right one.
///
/// Each other packet is passed to `unsolicited`.
///
/// # Errors
/// As [`super::question`].
pub(super) async fn question_with_mac(
    address: SocketAddr,
    within: Duration,
    key: &SymmetricKey,
    unsolicited: impl FnMut(Reject),
) -> Result<(Header, Exchange), NoAnswer> {
    let nonce = nonce().map_err(|error| NoAnswer::QueryFault(error, false))?;
    let question = mac::question(nonce, key);
    let accept = |packet: &[u8]| mac::authentic(packet, nonce, key);
    exchange(address, within, (nonce, &question), accept, unsolicited).await
}
