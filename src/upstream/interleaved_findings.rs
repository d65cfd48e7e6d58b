//! Pure. The result of questions to one server in interleaved mode, as text and as JSON.

use std::fmt;

use serde::Serialize;

use super::findings::Findings;
use super::interleaved::ReplyReading;
use super::packet::{Exchange, measure};
use crate::time::{NtpDuration, Timescale};
use crate::wire::Header;

/// The result of `ntpfront query --interleaved`. As JSON its names and units are stable: times in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InterleavedFindings {
    /// Whether the server answered in interleaved mode.
    pub interleaved: bool,
    /// Questions until then, or all of them.
    pub questions: u32,
    /// The time from the announced transmit timestamp of a response to the true one; none before there is one.
    pub late: Option<f64>,
    /// The correction of the offset by it.
    pub correction: Option<f64>,
    /// The measurement: the corrected one, if there is one.
    #[serde(flatten)]
    pub findings: Findings,
    /// The header of the last reply in basic mode.
    #[serde(skip)]
    basic: Option<Header>,
}

impl InterleavedFindings {
    /// Returns the result of no question in this mode yet, after an answer, or none.
    pub fn new(findings: Findings) -> Self {
        Self {
            interleaved: false,
            questions: 0,
            late: None,
            correction: None,
            findings,
            basic: None,
        }
    }

    /// Adds a reply of the server that was found, as it was `read` with its exchange.
    pub fn add(&mut self, read: &ReplyReading, exchange: &Exchange, scale: &Timescale, precision: i8) {
        self.questions += 1;
        let Some((header, corrected)) = &read.corrected else {
            self.basic = (read.header.origin_timestamp == exchange.nonce).then_some(read.header);
            return;
        };
        self.interleaved = true;
        let Some(address) = self.findings.address else {
            return;
        };
        if let Some(basic) = self
            .basic
            .filter(|basic| basic.receive_timestamp == header.receive_timestamp)
        {
            let offset = |header: &Header| measure(header, corrected, scale, precision).offset;
            let late: NtpDuration = header.transmit_timestamp - basic.transmit_timestamp;
            self.late = Some(late.to_seconds());
            self.correction = Some((offset(header) - offset(&basic)).to_seconds());
        }
        let server = self.findings.server.clone();
        self.findings = Findings::of_answer(&server, address, header, corrected, scale, precision);
    }
}

impl fmt::Display for InterleavedFindings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.fmt(f)?;
        if self.findings.answer.is_none() {
            return Ok(());
        }
        let questions = self.questions;
        if self.interleaved {
            writeln!(f, "interleaved      yes, after {questions} questions")?;
        } else {
            writeln!(f, "interleaved      no: {questions} answers in basic mode")?;
        }
        match self.late.zip(self.correction) {
            None => Ok(()),
            Some((late, correction)) => writeln!(
                f,
                "left             {late:+.9} s after the announced time: the offset is corrected by {correction:+.9} s"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ClockReadings, NtpTimestamp};
    use std::time::Duration;

    fn at(microseconds: i64) -> NtpTimestamp {
        NtpTimestamp::from_unix(1_700_000_000, 0) + NtpDuration::from_nanos(microseconds * 1000)
    }

    fn scale() -> Timescale {
        Timescale::new(ClockReadings {
            realtime: at(0),
            raw: Duration::from_secs(100),
            boot: Duration::ZERO,
        })
    }

    fn exchange(nonce: u64) -> Exchange {
        Exchange {
            nonce: NtpTimestamp::from_bits(nonce),
            sent: Duration::from_secs(100),
            arrived: Duration::from_secs(100) + Duration::from_micros(300),
        }
    }

    fn reading(nonce: u64, transmit: i64, corrected: Option<(Header, Exchange)>) -> ReplyReading {
        let header = Header {
            stratum: 1,
            precision: -24,
            origin_timestamp: NtpTimestamp::from_bits(nonce),
            receive_timestamp: at(100),
            transmit_timestamp: at(transmit),
            ..Header::request(at(0))
        };
        let assumed = None;
        ReplyReading {
            header,
            assumed,
            corrected,
        }
    }

    #[test]
    fn it_tells_how_late_a_response_left() {
        let silent = Findings::of_silence("s", Some(([192, 0, 2, 1], 123).into()), "none".to_owned());
        let mut found = InterleavedFindings::new(silent);
        assert!(!found.to_string().contains("interleaved"));
        let basic = reading(7, 110, None);
        found.add(&basic, &exchange(7), &scale(), -24);
        assert_eq!((found.interleaved, found.questions, found.late), (false, 1, None));
        let true_one = Header {
            transmit_timestamp: at(150),
            ..basic.header
        };
        found.add(
            &reading(9, 130, Some((true_one, exchange(7)))),
            &exchange(8),
            &scale(),
            -24,
        );
        let text = found.to_string();
        assert!(
            text.contains("interleaved      yes, after 2 questions\n"),
            "{text}"
        );
        let left = "left             +0.000040000 s after the announced time: the offset is corrected by +0.000020000 s";
        assert!(text.contains(left), "{text}");
        assert!(text.contains("usable           yes\n"), "{text}");
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["interleaved"], true);
        assert_eq!(json["stratum"], 1);
    }
}
