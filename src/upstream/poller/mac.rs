//! Impure. Questions with a MAC of a symmetric key.

use std::net::SocketAddr;
use std::time::Duration;

use super::{NoAnswer, exchange};
use crate::symmetric::SymmetricKey;
use crate::upstream::mac;
use crate::upstream::packet::{Exchange, QuestionNonces, Reject};
use crate::wire::Header;

/// Sends one question of this `header` with a MAC of `key` to `address`.
///
/// It waits up to `within` for the reply with the right MAC.
///
/// Each other packet is passed to `unsolicited`.
///
/// # Errors
/// As [`super::question`].
pub(super) async fn question_with_mac(
    address: SocketAddr,
    within: Duration,
    key: &SymmetricKey,
    (header, nonces): (&Header, QuestionNonces),
    unsolicited: impl FnMut(Reject),
) -> Result<(Header, Exchange), NoAnswer> {
    let question = mac::question(header, key);
    let accept = |packet: &[u8]| mac::authentic(packet, nonces, key);
    exchange(address, within, (nonces, &question), accept, unsolicited).await
}
