//! Pure. The keys and cookies of the association with one server.
//!
//! Questions are sealed with them, and replies opened. They end when the server does not know them any more.

use std::time::Duration;

use super::certificate::UncheckedCertificate;
use super::cookie_jar::CookieJar;
use super::ke_fault::KeFault;
use crate::nts::AssociationKeys;
use crate::nts::aead::Algorithm;
use crate::nts::client::{IDENTIFIER_LEN, LONGEST_QUESTION, NtsQuestion, ReplyFault, open_reply};
use crate::wire::HEADER_LEN;

/// Questions in a row that were answered by a NAK alone, after which the keys are given up.
///
/// A NAK is not authenticated: one on the way can forge it, but not keep genuine replies from counting.
const NAKS: u32 = 2;
/// Long questions in a row that were lost, after which short ones are sent.
const LONG_LOSSES: u32 = 2;
/// Genuine replies in a row to short questions, after which a long one is tried again.
const SHORT_REPLIES: u32 = 16;

/// The result of a key establishment.
#[derive(Clone, Debug)]
pub struct EstablishedKeys {
    /// The keys.
    pub keys: AssociationKeys,
    /// The keys by the other way to export them, if the server did not say which is its own.
    pub other: Option<AssociationKeys>,
    /// The cookies: one to eight.
    pub cookies: Vec<Vec<u8>>,
    /// The certificate, if its dates are still to be checked.
    pub unchecked: Option<UncheckedCertificate>,
    /// The last second of the certificate, since 1970.
    pub not_after: i64,
}

/// The keys and cookies of an association.
#[derive(Clone, Debug)]
pub struct NtsSession {
    keys: AssociationKeys,
    other: Option<AssociationKeys>,
    jar: CookieJar,
    unchecked: Option<UncheckedCertificate>,
    not_after: i64,
    /// The time of the key establishment, by the raw counter.
    established: Duration,
    /// The time after which new keys are established while these are still good.
    refresh_at: Duration,
    naks: u32,
    long_losses: u32,
    short_replies: u32,
}

/// A question that was sent and has no genuine reply yet.
#[derive(Clone, Debug)]
pub struct PendingQuestion {
    identifier: [u8; IDENTIFIER_LEN],
    cookie: Vec<u8>,
    /// Whether it asked for more than one cookie.
    is_long: bool,
    /// Whether a NAK to it came.
    has_nak: bool,
}

/// The random bytes of a question.
#[derive(Clone, Copy)]
pub struct QuestionEntropy {
    /// The unique identifier.
    pub identifier: [u8; IDENTIFIER_LEN],
    /// The nonce of the authenticator.
    pub nonce: [u8; 16],
}

impl NtsSession {
    /// Begins to use keys that were established at `now` by the raw counter.
    ///
    /// New ones are due after `refresh`, or up to an eighth earlier by `random`, so that hosts that started together do
    /// not return together.
    pub fn new(established: EstablishedKeys, now: Duration, refresh: Duration, random: u64) -> Self {
        let mut jar = CookieJar::default();
        jar.add(established.cookies);
        let part = u32::try_from(random % 1024).unwrap_or(0);
        Self {
            keys: established.keys,
            other: established.other,
            jar,
            unchecked: established.unchecked,
            not_after: established.not_after,
            established: now,
            refresh_at: now.saturating_add(refresh.saturating_sub(refresh / 8192 * part)),
            naks: 0,
            long_losses: 0,
            short_replies: 0,
        }
    }

    /// Returns the AEAD.
    pub const fn algorithm(&self) -> Algorithm {
        self.keys.algorithm()
    }

    /// Returns the number of cookies that are left.
    pub fn cookies(&self) -> usize {
        self.jar.len()
    }

    /// Returns the time of the key establishment, by the raw counter.
    pub const fn established(&self) -> Duration {
        self.established
    }

    /// Returns the certificate, if its dates are still to be checked.
    pub const fn unchecked(&self) -> Option<UncheckedCertificate> {
        self.unchecked
    }

    /// Returns the last second of the certificate, since 1970.
    pub const fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Returns whether only one cookie is asked for, as longer questions get no reply.
    pub const fn asks_for_one(&self) -> bool {
        self.long_losses >= LONG_LOSSES
    }

    /// Returns whether new keys are due while these are still good.
    pub fn is_old(&self, now: Duration) -> bool {
        now >= self.refresh_at
    }

    /// Writes the next question into `buffer`, and gives its length; `None` if all cookies are used up.
    ///
    /// It takes a cookie, and asks for one more than are missing then, for its own.
    //= RFC 8915 §5.7 question
    pub fn ask(
        &mut self,
        header: [u8; HEADER_LEN],
        entropy: &QuestionEntropy,
        buffer: &mut [u8; LONGEST_QUESTION],
    ) -> Option<(PendingQuestion, usize)> {
        let cookie = self.jar.take()?;
        let cookies = if self.asks_for_one() {
            1
        } else {
            self.jar.missing()
        };
        let question = NtsQuestion {
            header,
            keys: &self.keys,
            cookie: &cookie,
            cookies,
            identifier: &entropy.identifier,
            nonce: &entropy.nonce,
        };
        let length = question.seal(buffer)?;
        let pending = PendingQuestion {
            identifier: entropy.identifier,
            is_long: cookies > 1,
            has_nak: false,
            cookie,
        };
        Some((pending, length))
    }

    /// Takes back the cookie of a question that could not be sent.
    pub fn unsent(&mut self, pending: PendingQuestion) {
        self.jar.put_back(pending.cookie);
    }

    /// Opens a packet that came while `pending` waits; `Ok` if it is the genuine reply.
    ///
    /// # Errors
    /// It is not, and nothing of it may be believed. A NAK is remembered: it counts when no genuine reply comes.
    //= RFC 8915 §5.7 nak-wait
    pub fn open(&mut self, pending: &mut PendingQuestion, packet: &[u8]) -> Result<(), ReplyFault> {
        match open_reply(packet, &self.keys, &pending.identifier) {
            Ok(cookies) => {
                self.jar.add(cookies);
                self.replied(pending.is_long);
                Ok(())
            }
            Err(fault) => {
                pending.has_nak |= fault == ReplyFault::Nak;
                Err(fault)
            }
        }
    }

    fn replied(&mut self, is_long: bool) {
        (self.naks, self.other) = (0, None);
        if is_long {
            self.long_losses = 0;
        } else if self.asks_for_one() {
            self.short_replies += 1;
            if self.short_replies >= SHORT_REPLIES {
                // One more loss is enough to return to short questions.
                (self.long_losses, self.short_replies) = (LONG_LOSSES - 1, 0);
            }
        }
    }

    /// Records that no genuine reply came to `pending`.
    ///
    /// # Errors
    /// The keys are no good any more: only NAKs came, twice in a row.
    //= RFC 8915 §5.7 nak-wait
    pub fn lost(&mut self, pending: &PendingQuestion) -> Result<(), KeFault> {
        self.short_replies = 0;
        if !pending.has_nak {
            self.naks = 0;
            if pending.is_long {
                self.long_losses = self.long_losses.saturating_add(1);
            }
            return Ok(());
        }
        if let Some(other) = self.other.take() {
            // The server exports the keys in the other way.
            self.keys = other;
            return Ok(());
        }
        self.naks += 1;
        if self.naks >= NAKS {
            Err(KeFault::Nak)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
