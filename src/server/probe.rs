//! Pure. Questions to a worker about clients: it looks for one after each batch, and answers without waiting.
//!
//! What a worker knows of its clients is in its own memory. The supervisor leaves a question in a published value, with
//! room for the answer: a worker may not get memory from the system. Where there is none, the worker reads one number.

use std::net::IpAddr;
use std::time::Duration;

use crate::published::{Publisher, Subscriber, published};
use crate::server::policy::limit::ClientState;

/// The knowledge of a client at one worker.
#[derive(Clone, Copy, Debug)]
pub struct ClientFinding {
    /// The knowledge of the limit and the budget.
    pub state: ClientState,
    /// The time since its last request, if the census knows it.
    pub last_request: Option<Duration>,
}

/// A question, and its answer.
#[derive(Debug, Default)]
struct Question {
    clients: Vec<IpAddr>,
    /// As many places as there are clients.
    findings: Vec<Option<ClientFinding>>,
    is_answered: bool,
}

/// The asking end.
#[derive(Debug)]
pub(in crate::server) struct ProbeWriter(Publisher<Question>);

/// The worker's end.
#[derive(Debug)]
pub(in crate::server) struct ProbeReader(Subscriber<Question>);

/// Returns both ends, without a question.
pub(in crate::server) fn probe() -> (ProbeWriter, ProbeReader) {
    let (publisher, subscriber) = published(Question::default());
    (ProbeWriter(publisher), ProbeReader(subscriber))
}

impl ProbeWriter {
    /// Asks about these clients, in place of an earlier question.
    pub(in crate::server) fn ask(&self, clients: &[IpAddr]) {
        let question = Question {
            clients: clients.to_vec(),
            findings: vec![None; clients.len()],
            is_answered: false,
        };
        self.0.change(|asked| *asked = question);
    }

    /// Returns the answer, in the order of the question; `None` while there is none.
    pub(in crate::server) fn findings(&self) -> Option<Vec<ClientFinding>> {
        self.0
            .try_access(|asked| {
                let findings = asked.findings.iter().copied().flatten().collect();
                asked.is_answered.then_some(findings)
            })
            .flatten()
    }
}

impl ProbeReader {
    /// Whether there is a question.
    #[inline]
    pub(in crate::server) fn is_asked(&self) -> bool {
        self.0.is_changed()
    }

    /// Answers it with what `find` finds of each client, unless it is just being changed.
    #[cold]
    pub(in crate::server) fn answer(&mut self, mut find: impl FnMut(IpAddr) -> ClientFinding) {
        self.0.take(|asked| {
            for (place, client) in asked.findings.iter_mut().zip(&asked.clients) {
                *place = Some(find(*client));
            }
            asked.is_answered = true;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::policy::RuleMode;
    use crate::server::policy::limit::{Bucket, Clients, RateLimit};
    use crate::server::policy::probability::Probability;
    use std::net::Ipv4Addr;

    fn finding(last: u8) -> ClientFinding {
        let limit = RateLimit {
            mode: RuleMode::Off,
            client: Bucket {
                interval: Duration::from_secs(1),
                burst: 8,
                ipv4_prefix: 32,
                ipv6_prefix: 64,
            },
            wide: None,
            leak: Probability::NONE,
            kiss: Probability::NONE,
            clients: 0,
        };
        ClientFinding {
            state: Clients::new(0, [1, 2]).state_of(&limit, Ipv4Addr::LOCALHOST.into()),
            last_request: Some(Duration::from_secs(last.into())),
        }
    }

    #[test]
    fn each_question_has_its_own_answer_in_its_order() {
        let (writer, mut reader) = probe();
        assert!(!reader.is_asked() && writer.findings().is_none());
        let clients = [[192, 0, 2, 7], [192, 0, 2, 3]].map(IpAddr::from);
        let find = |client: IpAddr| match client {
            IpAddr::V4(v4) => finding(v4.octets()[3]),
            IpAddr::V6(_) => finding(0),
        };
        writer.ask(&clients);
        assert!(reader.is_asked() && writer.findings().is_none());
        reader.answer(find);
        assert!(!reader.is_asked());
        let found = writer.findings().unwrap();
        let seconds = |found: &ClientFinding| found.last_request.unwrap().as_secs();
        assert_eq!(found.iter().map(seconds).collect::<Vec<_>>(), [7, 3]);
        writer.ask(&clients[1..]);
        assert!(reader.is_asked() && writer.findings().is_none());
        reader.answer(find);
        assert_eq!(writer.findings().unwrap().len(), 1);
    }

    #[test]
    fn a_worker_does_not_wait_for_a_question_that_is_being_written() {
        let (writer, mut reader) = probe();
        writer.ask(&[Ipv4Addr::LOCALHOST.into()]);
        writer.0.try_access(|_| reader.answer(|_| finding(1)));
        assert!(reader.is_asked() && writer.findings().is_none());
        reader.answer(|_| finding(1));
        assert_eq!(writer.findings().unwrap().len(), 1);
    }
}
