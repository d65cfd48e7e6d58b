//! Pure. The judgement of a plain request of an address at a listener, by the functions that decide about packets.
//!
//! Nothing is taken from any bucket: they get copies. Where chance decides, many requests are tried.

use std::net::IpAddr;
use std::time::Duration;

use crate::clock::SystemVariables;
use crate::server::policy::allowance::Allowance;
use crate::server::policy::limit::{ClientState, RequestClass, RequestContext};
use crate::server::policy::probability::Random;
use crate::server::policy::{Annotation, Policy, Ruling};
use crate::server::{ReplyBuffer, Request, Verdict, respond};
use crate::time::NtpTimestamp;
use crate::wire::HEADER_LEN;

/// The requests that are tried where chance decides.
const TRIES: u16 = 400;
/// The first byte of a request of mode 3 (client) and version 4.
const CLIENT: u8 = 4 << 3 | 3;
/// The port of a client.
const PORT: u16 = 49_152;

/// The state of a listener, as far as a judgement depends on it.
#[derive(Clone, Copy, Debug)]
pub struct ListenerView<'a> {
    /// Its policy.
    pub policy: &'a Policy,
    /// The variables that the server announces there, before its policy changes them.
    pub variables: SystemVariables,
    /// Whether the server answers at all, or is silent in a dispute.
    pub answers: bool,
    /// The rest of the budget.
    pub allowance: &'a Allowance,
}

/// The verdicts that are possible about the next request of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdicts, each with its share of all tries: 0 to 1. The largest share first; never empty.
    pub verdicts: Vec<(Verdict, f64)>,
    /// The remarks, each with its share: 0 to 1.
    pub remarks: Vec<(Annotation, f64)>,
    /// Whether an answer has a time in it.
    pub announces_time: bool,
}

/// Judges the next plain request of `source` at a listener at `now`, by the raw counter.
///
/// `client` is what the worker knows that would get it.
pub fn judge(listener: &ListenerView<'_>, source: IpAddr, client: &ClientState, now: Duration) -> Judgement {
    let policy = listener.policy;
    let variables = policy.announced(listener.variables);
    let refused = policy.refusals(listener.answers).plain;
    let (mut verdicts, mut remarks) = ([0_u16; Verdict::COUNT], [0_u16; Annotation::COUNT]);
    let (mut random, mut tries) = (Random::new(1), 0);
    while tries < TRIES {
        let before = random.clone();
        let (mut clients, allowance) = (client.table(), listener.allowance.copied());
        let asked = RequestContext {
            source,
            class: RequestClass::Plain,
            now,
            budget: policy.budget,
            allowance: &allowance,
        };
        let rule = || match refused {
            Some(refused) => Ruling::Refuse(refused),
            None => policy.rule(&mut clients, &asked, &mut random, |remark| {
                count(&mut remarks, remark.index());
            }),
        };
        count(&mut verdicts, verdict(source, rule, &variables).index());
        tries += 1;
        if random == before {
            // No chance: the next one would get the same.
            break;
        }
    }
    let mut verdicts: Vec<_> = shares(Verdict::all(), &verdicts, tries);
    verdicts.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    Judgement {
        verdicts,
        remarks: shares(Annotation::all(), &remarks, tries),
        announces_time: variables.stratum > 0,
    }
}

/// The verdict about a request of mode 3 and version 4.
fn verdict(source: IpAddr, rule: impl FnOnce() -> Ruling, variables: &SystemVariables) -> Verdict {
    let (mut payload, mut reply) = ([0; HEADER_LEN], [0; HEADER_LEN]);
    if let Some(first) = payload.first_mut() {
        *first = CLIENT;
    }
    let at = NtpTimestamp::from_bits(1);
    let request = Request {
        payload: &payload,
        source,
        source_port: PORT,
        unicast: true,
        received_at: at,
    };
    respond(&request, at, rule, variables, &mut ReplyBuffer::new(&mut reply))
}

fn count(counts: &mut [u16], index: usize) {
    if let Some(count) = counts.get_mut(index) {
        *count += 1;
    }
}

/// Those that were counted at all.
fn shares<T>(all: impl Iterator<Item = T>, counts: &[u16], tries: u16) -> Vec<(T, f64)> {
    all.zip(counts)
        .filter(|(_, count)| **count > 0)
        .map(|(one, count)| (one, f64::from(*count) / f64::from(tries)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::policy::access::{Access, OnDeny};
    use crate::server::policy::allowance::Rates;
    use crate::server::policy::limit::{Bucket, Clients, RateLimit};
    use crate::server::policy::probability::Probability;
    use crate::server::policy::{Announced, AuthenticationMode, NtsMode, RuleMode};
    use crate::time::NtpShort;
    use crate::wire::{Leap, ReferenceId};

    const NOW: Duration = Duration::from_secs(1_000_000);
    const VARIABLES: SystemVariables = SystemVariables {
        leap: Leap::NoWarning,
        stratum: 2,
        precision: -24,
        root_delay: NtpShort::from_bits(7),
        root_dispersion: NtpShort::from_bits(8),
        reference_id: ReferenceId::from_bytes([192, 0, 2, 9]),
        reference_timestamp: NtpTimestamp::from_bits(9),
    };

    fn access(mode: RuleMode) -> Access {
        let denied = ("192.0.2.128/25".parse().unwrap(), false);
        Access::new(&[denied], true, OnDeny::Drop, mode)
    }

    fn policy() -> Policy {
        let client = Bucket {
            interval: Duration::from_secs(64),
            burst: 8,
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        };
        Policy {
            access: access(RuleMode::On),
            limit: RateLimit {
                mode: RuleMode::On,
                client,
                wide: None,
                leak: Probability::of(0.25),
                kiss: Probability::of(0.5),
                clients: 1024,
            },
            budget: RuleMode::Off,
            answer: Announced::Time,
            max_stratum: 15,
            nts: NtsMode::Accept,
            smear: None,
            authentication: AuthenticationMode::Accept,
            keys: None,
        }
    }

    /// The judgement about a client that was answered so often just now.
    fn after(
        requests: u32,
        policy: &Policy,
        answers: bool,
        allowance: &Allowance,
        source: &str,
    ) -> Judgement {
        let (source, mut clients) = (source.parse().unwrap(), Clients::new(1024, [1, 2]));
        let asked = RequestContext {
            source,
            class: RequestClass::Plain,
            now: NOW,
            budget: RuleMode::Off,
            allowance,
        };
        for _ in 0..requests {
            clients.decide(&policy.limit, &asked, &mut Random::new(7));
        }
        let listener = ListenerView {
            policy,
            variables: VARIABLES,
            answers,
            allowance,
        };
        let state = clients.state_of(&policy.limit, source);
        let judged = judge(&listener, source, &state, NOW);
        // It takes no token of its own.
        assert_eq!(judge(&listener, source, &state, NOW), judged);
        judged
    }

    fn only(judged: &Judgement) -> Verdict {
        assert_eq!(judged.verdicts.len(), 1, "{judged:?}");
        judged.verdicts[0].0
    }

    #[test]
    fn the_list_the_mode_and_the_address_decide() {
        let all = Allowance::default();
        let nts = Policy {
            nts: NtsMode::Require,
            ..policy()
        };
        let mac = Policy {
            authentication: AuthenticationMode::Require,
            ..policy()
        };
        let trial = Policy {
            access: access(RuleMode::DryRun),
            ..policy()
        };
        for (policy, answers, source, expected) in [
            (policy(), true, "192.0.2.1", Verdict::AnsweredClient),
            (policy(), true, "192.0.2.128", Verdict::RefusedDenied),
            (policy(), true, "224.0.0.1", Verdict::RefusedSource),
            (policy(), false, "192.0.2.1", Verdict::RefusedDisputed),
            (nts, true, "192.0.2.1", Verdict::RefusedNtsRequired),
            (mac, true, "2001:db8::1", Verdict::RefusedMacRequired),
            (trial, true, "192.0.2.128", Verdict::AnsweredClient),
        ] {
            let judged = after(0, &policy, answers, &all, source);
            assert_eq!(only(&judged), expected, "{source}");
            let would = policy.access.mode == RuleMode::DryRun;
            assert_eq!(
                judged.remarks,
                if would {
                    vec![(Annotation::WouldDeny, 1.0)]
                } else {
                    Vec::new()
                }
            );
        }
    }

    #[test]
    fn beyond_the_limit_chance_decides_in_the_shares_of_the_policy() {
        let all = Allowance::default();
        assert_eq!(
            only(&after(7, &policy(), true, &all, "192.0.2.1")),
            Verdict::AnsweredClient
        );
        let judged = after(8, &policy(), true, &all, "192.0.2.1");
        for (verdict, expected) in [
            (Verdict::AnsweredClient, 0.25),
            (Verdict::KissedRate, 0.375),
            (Verdict::RefusedRate, 0.375),
        ] {
            let share = judged.verdicts.iter().find(|(one, _)| *one == verdict).unwrap().1;
            assert!((share - expected).abs() < 0.08, "{judged:?}");
        }
    }

    #[test]
    fn without_tokens_of_the_budget_a_new_client_gets_nothing() {
        let policy = Policy {
            budget: RuleMode::On,
            ..policy()
        };
        let none = Allowance::new(Rates {
            light: 128.0,
            shed_threshold: 128.0,
            tokens: 0.0,
        });
        assert_eq!(
            only(&after(0, &policy, true, &none, "192.0.2.1")),
            Verdict::RefusedBudget
        );
        assert_eq!(none.taken(), Allowance::default().taken());
        let drained = Policy {
            answer: Announced::Unsynchronized,
            ..policy
        };
        let judged = after(0, &drained, true, &Allowance::default(), "192.0.2.1");
        assert_eq!(
            (only(&judged), judged.announces_time),
            (Verdict::AnsweredClient, false)
        );
    }
}
