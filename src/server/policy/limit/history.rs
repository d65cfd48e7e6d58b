//! Pure. The history of a client: how it takes silence, and what a budget needs to know of it.
//!
//! It begins with the client's first request beyond the limit, or where there is a budget. Most clients have none.

use super::{Limited, RateLimit, RequestContext, TICK, nanos};
use crate::server::policy::RuleMode;
use crate::server::policy::budget::LIGHT;
use crate::server::policy::limit::Bucket;
use crate::server::policy::probability::{Probability, Random};

/// The factor by which a client must ask sooner after silence than after an answer, to be answered for that.
const HARDER: u16 = 2;
/// The number of times that a client must have been seen to ask after silence.
const TRIES: u8 = 4;
/// The highest rate of answers for that, as a multiple of the limit.
const MOST_FOR_RETRIES: u64 = 8;
/// The most requests of a new client: one that sends more without a pause is no client that starts.
const FIRST: u8 = 8;
/// The number of answered returns after which a client is known.
const RETURNS: u8 = 3;
/// The shortest pause before a return that counts, in ticks: half a second.
const PAUSE: u32 = 477;
/// The time that a known client keeps its place without a request: 2048 s in ticks, twice the longest interval in use.
const KEPT: u32 = 1_953_125;
/// The seconds without a request in which a client's recent requests halve.
///
/// So they are about its requests in 1.5 times as long.
const HALF_LIFE: f32 = 64.0;
/// The ticks in a second.
const TICKS: f32 = 953.674_3;

/// The history of a client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientHistory {
    /// Its requests, the older the less; counted for a budget only.
    recent_requests: f32,
    /// The time after an answer until it asks again, in ticks: an average over about eight times.
    after_answer: u16,
    /// The time after silence until it asks again, in the same way.
    after_silence: u16,
    /// The count of requests after silence, up to 255.
    silences: u8,
    /// The count of all its requests, up to 255.
    requests: u8,
    /// The count of returns after a pause, up to 255; counted for a budget only.
    returns: u8,
    /// Whether its last request was not answered.
    unanswered: bool,
}

impl ClientHistory {
    /// Begins with this request, or, if the client `is_new` no more, with the one before, which was answered.
    pub(super) fn new(is_new: bool) -> Self {
        Self {
            requests: u8::from(!is_new),
            ..Self::default()
        }
    }

    /// Decides about a request, `gap` ticks after the last one and `within` the limit or not.
    ///
    /// Returns what the limit does about it, and whether the budget sheds it.
    pub(super) fn decide(
        &mut self,
        gap: u32,
        within: bool,
        limit: &RateLimit,
        asked: &RequestContext<'_>,
        random: &mut Random,
    ) -> (Limited, bool) {
        let came_back = self.note(gap, asked.budget);
        let limited = match within {
            true => Limited::Within,
            false => self.beyond(limit, random),
        };
        // What is not sent at all needs no room in the budget.
        let shed =
            asked.budget != RuleMode::Off && limited.has_reply(limit.mode) && self.is_shed(asked, random);
        // To become known takes tokens, too: so thousands don't become known at once.
        self.returns = self.returns.saturating_add(u8::from(came_back && !shed));
        self.unanswered = !limited.is_answered(limit.mode) || (shed && asked.budget == RuleMode::On);
        (limited, shed)
    }

    /// Notes a request, and returns whether the client came back after a pause, as far as a budget needs that.
    fn note(&mut self, gap: u32, budget: RuleMode) -> bool {
        if self.requests > 0 {
            let short = u16::try_from(gap).unwrap_or(u16::MAX);
            if self.unanswered {
                self.after_silence = average(self.after_silence, short, self.silences == 0);
                self.silences = self.silences.saturating_add(1);
            } else {
                self.after_answer = average(self.after_answer, short, self.requests == 1);
            }
        }
        if budget != RuleMode::Off {
            self.recent_requests = self.recent_requests(gap) + 1.0;
        }
        let came_back = budget != RuleMode::Off && self.requests > 0 && gap >= PAUSE;
        self.requests = self.requests.saturating_add(1);
        came_back
    }

    /// Decides about a request beyond the limit.
    fn beyond(&self, limit: &RateLimit, random: &mut Random) -> Limited {
        if self.retries_when_dropped(&limit.client) {
            Limited::RetriesWhenDropped
        } else if random.sample(limit.leak) {
            Limited::Leaked
        } else if random.sample(limit.kiss) {
            Limited::Kissed
        } else {
            Limited::Refused
        }
    }

    /// Returns whether silence makes it ask more, at a rate that can be borne.
    fn retries_when_dropped(&self, bucket: &Bucket) -> bool {
        let seldom = u64::from(self.after_answer) << TICK;
        self.silences >= TRIES
            && self.after_answer >= self.after_silence.saturating_mul(HARDER)
            && seldom * MOST_FOR_RETRIES >= nanos(bucket.interval)
    }

    /// Returns whether there is no room for it in the budget. A client that is known, and light, needs none.
    #[inline]
    fn is_shed(&self, asked: &RequestContext<'_>, random: &mut Random) -> bool {
        let is_light = self.is_known() && self.recent_requests <= asked.allowance.light();
        !is_light && self.is_crowded_out(asked, random)
    }

    /// Returns whether there is no room in the budget for a request of a client that is new or not light.
    ///
    /// A new client needs a token. So does the part of the others' requests that is beyond the light, and that gets one
    /// only by lot: each client above the threshold is answered about as often as one that is just at it.
    #[inline(never)]
    fn is_crowded_out(&self, asked: &RequestContext<'_>, random: &mut Random) -> bool {
        let RequestContext { allowance, now, .. } = *asked;
        let is_known = self.is_known();
        let has_room = if !is_known && self.requests <= FIRST {
            allowance.take_new(now)
        } else {
            let (light, shed_threshold) = (allowance.light(), allowance.shed_threshold());
            let falls = |random: &mut Random, part: f32| random.sample(Probability::of(part.into()));
            (is_known && falls(random, light / self.recent_requests))
                || ((self.recent_requests <= shed_threshold
                    || falls(
                        random,
                        (shed_threshold - light).max(0.0) / (self.recent_requests - light),
                    ))
                    && allowance.take_other(now))
        };
        if !has_room {
            allowance.count_shed(is_known && self.recent_requests <= LIGHT);
        }
        !has_room
    }

    /// Returns the number of its requests that were not answered: 0 to 256.
    pub(super) fn unanswered(&self) -> u16 {
        u16::from(self.silences) + u16::from(self.unanswered)
    }

    /// Returns its requests in about the last 1.5 minutes, `gap` ticks after its last one.
    pub(super) fn recent_requests(&self, gap: u32) -> f32 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a millionth of the time is exact enough"
        )]
        let half_lives = gap as f32 / (TICKS * HALF_LIFE);
        self.recent_requests * (-half_lives).exp2()
    }

    /// Whether the budget knows it: it came back some times.
    pub(super) const fn is_known(&self) -> bool {
        self.returns >= RETURNS
    }

    /// Whether it is known, and asked not long ago: `gap` ticks.
    pub(super) const fn is_kept(&self, gap: u32) -> bool {
        self.is_known() && gap < KEPT
    }
}

/// The average of about the last eight.
fn average(so_far: u16, new: u16, is_first: bool) -> u16 {
    match is_first {
        true => new,
        false => so_far - so_far / 8 + new / 8,
    }
}
