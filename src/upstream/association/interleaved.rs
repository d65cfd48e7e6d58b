//! Pure. Interleaved mode in an association: its questions, and samples that later replies correct.

use std::net::SocketAddr;
use std::time::Duration;

use super::Association;
use crate::time::{NtpTimestamp, Timescale};
use crate::upstream::interleaved::ReplyReading;
use crate::upstream::packet::{self, QuestionNonces};
use crate::wire::Header;

impl Association {
    /// Returns the header and the nonces of the next question to `address`, made of two `random` timestamps.
    pub fn question(&mut self, address: SocketAddr, random: [NtpTimestamp; 2]) -> (Header, QuestionNonces) {
        let [nonce, _] = random;
        if self.peer.address == Some(address) {
            self.interleaved
                .question(self.settings.upstream.interleaved, random)
        } else {
            (Header::request(nonce), nonce.into())
        }
    }

    /// Corrects the sample of the reply before the one that was `read`.
    ///
    /// A leap second, a jump or a sleep of the host in between makes them incomparable: then it stays as it is.
    pub(super) fn correct(&mut self, read: &ReplyReading, scale: &Timescale, precision: i8) {
        let Some((header, exchange)) = &read.corrected else {
            return;
        };
        let view = &self.settings.view;
        let events = [
            view.since,
            view.leap.map_or(Duration::ZERO, |(at, _)| at),
            view.jump.map_or(Duration::ZERO, |(at, _)| at),
        ];
        if events.iter().any(|at| *at >= exchange.arrived) {
            return;
        }
        let sample = packet::measure(header, exchange, scale, precision);
        if let Some(by) = self.peer.filter.correct(sample) {
            self.interleaved.corrected(by);
        }
    }
}
