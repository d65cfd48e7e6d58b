//! What a listener with a smear would have served around a leap second, look by look.

use ntpfront::clock::SmearedReference;
use ntpfront::leap::{LeapEvent, LeapKind, Smear};
use ntpfront::time::{NtpDuration, NtpTimestamp};
use ntpfront::wire::Leap;

use super::host::Host;

/// Nobody knows to the microsecond when a leap second happens.
const MOMENT: f64 = 0.05;
/// How far the host's clock and the raw counter may be apart after a minute.
const HANDED_OVER: f64 = 100e-6;

/// All that was seen of the smeared time.
#[derive(Debug)]
pub(crate) struct SmearRecord {
    smear: Smear,
    event: LeapEvent,
    /// The last look: true time, and the smeared time then.
    last: Option<(f64, Option<NtpTimestamp>)>,
    pub(crate) faults: Vec<String>,
    /// Largest offset from the smear of true time.
    pub(crate) worst_error: f64,
    /// True seconds at whose end no time was announced.
    pub(crate) without: f64,
    /// Looks at which a leap second was warned of.
    pub(crate) warned: u32,
    /// The largest offset from UTC that was served.
    pub(crate) farthest: f64,
}

impl SmearRecord {
    pub(crate) fn new(smear: Smear, event: LeapEvent) -> Self {
        Self {
            smear,
            event,
            last: None,
            faults: Vec::new(),
            worst_error: 0.0,
            without: 0.0,
            warned: 0,
            farthest: 0.0,
        }
    }

    /// The numbers start anew; the faults stay.
    pub(crate) fn anew(self) -> Self {
        Self {
            last: self.last,
            faults: self.faults,
            ..Self::new(self.smear, self.event)
        }
    }

    /// The time that every smeared clock should show.
    fn truth(&self, host: &Host) -> NtpTimestamp {
        let count = host.truth.start + NtpDuration::from_seconds(host.now());
        count + self.smear.offset(&self.event, count)
    }

    /// A worker with the smear looks at what is published.
    pub(crate) fn look(&mut self, host: &Host, smeared: Option<&SmearedReference>) {
        let (now, moment) = (host.now(), host.moment());
        let Some(smeared) = smeared else {
            return;
        };
        let variables = smeared.at(self.smear, moment);
        let (since, before) = self.last.map_or((now, None), |last| last);
        if variables.leap == Leap::Unsynchronized {
            self.without += now - since;
            self.last = Some((now, None));
            return;
        }
        self.warned += u32::from(variables.leap != Leap::NoWarning);
        let served = smeared
            .time(self.smear)
            .of(smeared.reference.clock.served(moment));
        let error = (served - self.truth(host)).to_seconds();
        let distance = (variables.root_delay.to_duration().half() + variables.root_dispersion.to_duration())
            .to_seconds();
        self.worst_error = self.worst_error.max(error.abs());
        if error.abs() > distance {
            self.fault(
                now,
                &format!("{error:+.6} s off the smear, announced ±{distance:.6} s"),
            );
        }
        if variables.reference_timestamp.is_after(served) {
            self.fault(now, "reference time after the served time");
        }
        let back = before.map_or(0.0, |before| (before - served).to_seconds());
        // A correction of the served clock is made by a slew, which never turns it back. Where the raw counter takes over from
        // the host's clock, and after that, both are known to some microseconds only.
        if back > HANDED_OVER {
            self.fault(now, &format!("it went back by {back:.9} s"));
        }
        if !host.leaps_within(MOMENT) {
            let from_utc = (served - host.utc()).to_seconds();
            self.farthest = self.farthest.max(from_utc.abs());
        }
        self.last = Some((now, Some(served)));
    }

    fn fault(&mut self, now: f64, what: &str) {
        if self.faults.len() < 5 {
            self.faults.push(format!("at {now:.3} s, smeared: {what}"));
        }
    }
}

/// The leap second whose day after it begins at `midnight`.
pub(crate) fn event(midnight: i64, kind: LeapKind) -> LeapEvent {
    LeapEvent { midnight, kind }
}
