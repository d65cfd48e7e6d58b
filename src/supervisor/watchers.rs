//! Impure. Clients of the control socket that watch the health of the server: each gets it ten times per second.
//!
//! What they get is a sign of life, too: it comes from the supervisor's own loop, and from no task beside it.

use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::inspect::Inspection;
use crate::control::protocol::{ControlAnswer, ControlFailure};
use crate::control::server::WATCHERS;
use crate::observe::health::{Health, HealthCriteria};

/// Interval of what watchers get.
pub(super) const BEAT: Duration = Duration::from_millis(100);
/// Answers that may wait for a watcher to read: one that is further behind is dropped.
const WAITING: usize = 4;

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Watchers(Vec<Watcher>);

#[derive(Debug)]
struct Watcher {
    criteria: HealthCriteria,
    answers: Sender<ControlAnswer>,
}

impl Watchers {
    /// Adds one that gets the health by these criteria, beginning with its `first`.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn add(
        &mut self,
        criteria: HealthCriteria,
        first: Health,
    ) -> Result<Receiver<ControlAnswer>, ControlFailure> {
        self.0.retain(|watcher| !watcher.answers.is_closed());
        if self.0.len() >= WATCHERS {
            return Err(ControlFailure::TooManyWatchers);
        }
        let (answers, receiver) = mpsc::channel(WAITING);
        let _sent = answers.try_send(ControlAnswer::Health(first));
        self.0.push(Watcher { criteria, answers });
        Ok(receiver)
    }

    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sends each its health; those that do not read are dropped.
    pub(super) fn beat(&mut self, inspection: &Inspection<'_>) {
        let health = inspection.health(|view| {
            let each = self.0.iter();
            each.map(|watcher| Health::of(view, &watcher.criteria)).collect()
        });
        self.send(health);
    }

    /// Tells all that the server ends, and forgets them.
    pub(super) fn end(&mut self) {
        let ending = Health::unknown("the server is ending".to_owned());
        self.send(vec![ending; self.0.len()]);
        self.0.clear();
    }

    fn send(&mut self, health: Vec<Health>) {
        let mut health = health.into_iter();
        self.0.retain(|watcher| {
            let answer = health.next().map(ControlAnswer::Health);
            answer.is_some_and(|answer| watcher.answers.try_send(answer).is_ok())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health::unknown("a reason".to_owned())
    }

    #[test]
    fn their_number_is_limited_and_who_is_gone_makes_room() {
        let mut watchers = Watchers::default();
        let add = |watchers: &mut Watchers| watchers.add(HealthCriteria::default(), health());
        let mut all: Vec<_> = (0..WATCHERS).map(|_| add(&mut watchers).unwrap()).collect();
        assert!(matches!(add(&mut watchers), Err(ControlFailure::TooManyWatchers)));
        all.pop();
        all.push(add(&mut watchers).unwrap());
        assert!(matches!(add(&mut watchers), Err(ControlFailure::TooManyWatchers)));
        // One that does not read is dropped, and then there is room again.
        for _ in 0..WAITING {
            for reader in &mut all[1..] {
                assert_eq!(reader.try_recv(), Ok(ControlAnswer::Health(health())));
            }
            watchers.send(vec![health(); WATCHERS]);
        }
        assert_eq!(watchers.0.len(), WATCHERS - 1);
        let mut last = add(&mut watchers).unwrap();
        last.try_recv().unwrap();
        watchers.end();
        assert!(watchers.is_empty());
        let Ok(ControlAnswer::Health(ending)) = last.try_recv() else {
            panic!("it is told the end");
        };
        assert!(!ending.healthy);
        assert!(last.try_recv().is_err());
    }
}
