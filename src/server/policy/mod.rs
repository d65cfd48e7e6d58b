//! Pure. Which clients are answered at a listener, and with what: access, limit, budget, and what is announced there.

pub mod access;
pub mod allowance;
pub mod budget;
pub(super) mod exchange;
pub mod limit;
pub mod memory;
mod mode;
pub mod probability;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use strum::{IntoStaticStr, VariantArray};

use crate::clock::SystemVariables;
use crate::leap::Smear;
use crate::server::Verdict;
use crate::server::policy::access::{Access, OnDeny};
use crate::server::policy::limit::{Clients, Limited, RateLimit, RequestContext};
use crate::server::policy::probability::Random;
use crate::symmetric::KeyTable;
use crate::wire::ReferenceId;

pub use mode::RuleMode;

/// All that is decided about the clients of one listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The addresses that are answered.
    pub access: Access,
    /// The rate at which each client is answered.
    pub limit: RateLimit,
    /// Whether the server has a budget that may shed requests here.
    pub budget: RuleMode,
    /// The content of the answers.
    pub answer: Announced,
    /// The highest stratum of ours that is announced: 1 to 15. Above it "unsynchronized" is.
    pub max_stratum: u8,
    /// The treatment of requests with NTS, and without.
    pub nts: NtsMode,
    /// The smear of leap seconds; `None`: they are announced and made as in UTC.
    pub smear: Option<Smear>,
    /// The treatment of requests with a MAC, and of those that are not authenticated.
    pub authentication: AuthenticationMode,
    /// The keys by which MACs are checked; `None` if MACs are ignored.
    pub keys: Option<Arc<KeyTable>>,
}

/// The treatment of MACs at a listener (RFC 5905 §7.3), if the server has symmetric keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum AuthenticationMode {
    /// They are ignored, as by a server without keys: the reply has none.
    Off,
    /// Requests with a MAC are authenticated, and so are the replies; requests without get plain replies.
    #[default]
    Accept,
    /// The same, and requests that are not authenticated, neither by a MAC nor by NTS, get none.
    Require,
}

impl AuthenticationMode {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The treatment of fields of NTS at a listener, if the server has keys for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum NtsMode {
    /// They are ignored, as by a server without NTS: the reply is plain.
    Off,
    /// Requests with NTS are authenticated, and so are the replies; plain requests get plain replies.
    #[default]
    Accept,
    /// The same, and plain requests get none.
    Require,
}

impl NtsMode {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The content of a listener's answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Announced {
    /// The time, if there is one.
    #[default]
    Time,
    /// "Unsynchronized", so that clients go elsewhere, of their own accord, before the server does.
    Unsynchronized,
}

impl Announced {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The decision about a request that could be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// An answer.
    Answer,
    /// A kiss of this code, which tells the client to ask at intervals of 2^`poll` seconds at least.
    Kiss {
        /// The verdict that is counted.
        verdict: Verdict,
        /// The code.
        code: ReferenceId,
        /// The poll interval in log2 seconds.
        poll: i8,
    },
    /// Silence.
    Refuse(Verdict),
}

/// The reasons why no request gets an answer at a listener, whatever its client; `None` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusals {
    /// That of all requests.
    pub all: Option<Verdict>,
    /// That of requests with a MAC and without NTS.
    pub mac: Option<Verdict>,
    /// That of requests without both.
    pub plain: Option<Verdict>,
}

/// A remark about an answered request that is counted, too: it may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Annotation {
    /// Beyond the limit, and answered by lot.
    Leaked,
    /// Beyond the limit, and answered, as silence would have made the client ask more.
    #[strum(serialize = "impatient")]
    RetriesWhenDropped,
    /// A list on trial would have denied it.
    WouldDeny,
    /// A limit on trial would not have answered it.
    WouldLimit,
    /// A budget on trial would not have answered it.
    WouldShed,
}

impl Annotation {
    /// The number of annotations.
    pub const COUNT: usize = Self::VARIANTS.len();

    /// All of them, each at the place of its [`Annotation::index`].
    pub fn all() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied()
    }

    /// Its place among the counters.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The word for it in logs.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Half a line for the log.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (access, turns) = (self.access.mode.name(), self.access.turns());
        let (limit, budget) = (self.limit.mode.name(), self.budget.name());
        write!(
            f,
            "access {access} ({turns} boundaries), limit {limit}, budget {budget}"
        )?;
        match self.nts {
            NtsMode::Accept => {}
            NtsMode::Off => f.write_str(", NTS off")?,
            NtsMode::Require => f.write_str(", NTS required")?,
        }
        if self.smear.is_some() {
            f.write_str(", leap seconds smeared")?;
        }
        match (&self.keys, self.authentication) {
            (Some(keys), AuthenticationMode::Accept) => write!(f, ", symmetric keys {}", keys.keys().len())?,
            (Some(keys), AuthenticationMode::Require) => {
                write!(
                    f,
                    ", symmetric keys {}, authentication required",
                    keys.keys().len()
                )?;
            }
            (None, _) | (Some(_), AuthenticationMode::Off) => {}
        }
        match self.answer {
            Announced::Time => Ok(()),
            Announced::Unsynchronized => f.write_str(", answers \"unsynchronized\""),
        }
    }
}

impl Policy {
    /// Returns whether it needs to know the clients.
    pub fn remembers(&self) -> bool {
        self.limit.mode != RuleMode::Off || self.budget != RuleMode::Off
    }

    /// Returns the variables that are announced here, where the server as a whole announces `variables`.
    pub fn announced(&self, variables: SystemVariables) -> SystemVariables {
        if self.answer == Announced::Unsynchronized {
            variables.unusable(ReferenceId::AWAY)
        } else if variables.stratum > self.max_stratum {
            variables.unusable(ReferenceId::HIGH)
        } else {
            variables
        }
    }

    /// Returns whether the time is announced here, where the server as a whole announces one of this `stratum`.
    pub fn announces_time(&self, stratum: u8) -> bool {
        self.answer == Announced::Time && stratum <= self.max_stratum
    }

    /// Returns why no request gets an answer, where the server as a whole `answers`, or is silent in a dispute.
    pub fn refusals(&self, answers: bool) -> Refusals {
        let all = (!answers).then_some(Verdict::RefusedDisputed);
        let requires_nts = self.nts == NtsMode::Require;
        let mac = all.or(requires_nts.then_some(Verdict::RefusedNtsRequired));
        let requires_mac = self.authentication == AuthenticationMode::Require;
        let plain = mac.or(requires_mac.then_some(Verdict::RefusedMacRequired));
        Refusals { all, mac, plain }
    }

    /// Decides about a request, and tells `annotate` what else is worth counting.
    #[inline]
    pub fn rule(
        &self,
        clients: &mut Clients,
        asked: &RequestContext<'_>,
        random: &mut Random,
        mut annotate: impl FnMut(Annotation),
    ) -> Ruling {
        if !self.access.allows(asked.source) {
            match self.access.mode {
                RuleMode::On => return self.denial(asked),
                RuleMode::DryRun => annotate(Annotation::WouldDeny),
                RuleMode::Off => {}
            }
        }
        if !self.remembers() {
            return Ruling::Answer;
        }
        let (limited, shed) = clients.decide(&self.limit, asked, random);
        if shed && self.budget == RuleMode::On {
            return Ruling::Refuse(Verdict::RefusedBudget);
        }
        if let Some(ruling) = self.limited(limited, &mut annotate) {
            return ruling;
        }
        if shed {
            annotate(Annotation::WouldShed);
        }
        Ruling::Answer
    }

    /// Returns whether requests of `source` get no reply at all, not even a kiss.
    pub fn drops(&self, source: IpAddr) -> bool {
        self.access.mode == RuleMode::On && self.access.on_deny == OnDeny::Drop && !self.access.allows(source)
    }

    fn denial(&self, asked: &RequestContext<'_>) -> Ruling {
        match self.access.on_deny {
            // A kiss is worth an answer only where there is room for it.
            OnDeny::Kiss if self.budget == RuleMode::On && !asked.allowance.take_other(asked.now) => {
                Ruling::Refuse(Verdict::RefusedDenied)
            }
            OnDeny::Drop => Ruling::Refuse(Verdict::RefusedDenied),
            OnDeny::Kiss => Ruling::Kiss {
                verdict: Verdict::KissedDenied,
                code: ReferenceId::DENY,
                poll: i8::MIN,
            },
        }
    }

    /// Returns the limit's reason not to answer, if there is one.
    fn limited(&self, limited: Limited, annotate: &mut impl FnMut(Annotation)) -> Option<Ruling> {
        match (self.limit.mode, limited) {
            (RuleMode::Off, _) | (_, Limited::Within) => None,
            (RuleMode::DryRun, Limited::Refused | Limited::Kissed) => {
                annotate(Annotation::WouldLimit);
                None
            }
            (RuleMode::DryRun, Limited::Leaked | Limited::RetriesWhenDropped) => None,
            (RuleMode::On, Limited::Leaked) => {
                annotate(Annotation::Leaked);
                None
            }
            (RuleMode::On, Limited::RetriesWhenDropped) => {
                annotate(Annotation::RetriesWhenDropped);
                None
            }
            (RuleMode::On, Limited::Kissed) => Some(Ruling::Kiss {
                verdict: Verdict::KissedRate,
                code: ReferenceId::RATE,
                poll: self.limit.poll(),
            }),
            (RuleMode::On, Limited::Refused) => Some(Ruling::Refuse(Verdict::RefusedRate)),
        }
    }
}
