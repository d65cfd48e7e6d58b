//! Pure. What one question to one server found out, for people and for programs.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use super::packet::{Exchange, Reject, measure, root_distance, usable};
use crate::time::{NtpDuration, Timescale};
use crate::wire::Header;

/// The answer of `ntpfront query`. As JSON its names and units are stable: times in seconds, `leap` 0 to 3 as on
/// the wire.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Findings {
    /// As it was asked for.
    pub server: String,
    /// Who answered; none if nobody did.
    pub address: Option<SocketAddr>,
    /// Could a client take its time from it?
    pub usable: bool,
    /// If not, why.
    pub reason: Option<String>,
    /// What it answered; none if it didn't.
    #[serde(flatten)]
    pub answer: Option<Answer>,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Seconds by which the server's clock is ahead of this host's.
    pub offset: f64,
    /// Round trip in seconds, without the server's own time.
    pub delay: f64,
    /// How wrong the server's time may be, in seconds: half of both delays and both dispersions.
    pub root_distance: f64,
    /// 1 to 15; 0 and 16 have no time.
    pub stratum: u8,
    /// 0 nothing, 1 insert and 2 delete a second at the end of the day, 3 not synchronized.
    pub leap: u8,
    /// Whom the server follows: four letters, or eight hexadecimal digits.
    pub reference_id: String,
    /// Round trip from the server to the reference clock, in seconds.
    pub root_delay: f64,
    /// How wrong the server says its clock may be, in seconds, beside half of the root delay.
    pub root_dispersion: f64,
    /// Precision of the server's clock, log2 seconds.
    pub precision: i8,
    /// Protocol version of the answer.
    pub version: u8,
}

impl Findings {
    /// An authentic answer, judged as that of an upstream would be with the default configuration.
    ///
    /// `scale` is the host's time of day as it was during the exchange.
    pub fn of_answer(
        server: &str,
        address: SocketAddr,
        header: &Header,
        exchange: &Exchange,
        scale: &Timescale,
        precision: i8,
    ) -> Self {
        let sample = measure(header, exchange, scale, precision);
        let verdict = usable(header, &sample, &[], NtpDuration::SECOND);
        Self {
            server: server.to_owned(),
            address: Some(address),
            usable: verdict.is_ok(),
            reason: verdict.err().map(|reject: Reject| reject.name().to_owned()),
            answer: Some(Answer {
                offset: sample.offset.to_seconds(),
                delay: sample.delay.to_seconds(),
                root_distance: root_distance(header, &sample, sample.at).to_seconds(),
                stratum: header.stratum,
                leap: header.leap.to_bits(),
                reference_id: header.reference_id.to_string(),
                root_delay: header.root_delay.to_duration().to_seconds(),
                root_dispersion: header.root_dispersion.to_duration().to_seconds(),
                precision: header.precision,
                version: header.version.number(),
            }),
        }
    }

    /// Nobody answered, for this reason.
    pub fn of_silence(server: &str, address: Option<SocketAddr>, reason: String) -> Self {
        Self {
            server: server.to_owned(),
            address,
            usable: false,
            reason: Some(reason),
            answer: None,
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) if address.to_string() != self.server => {
                writeln!(f, "server           {} ({address})", self.server)?
            }
            _ => writeln!(f, "server           {}", self.server)?,
        }
        match &self.reason {
            None => writeln!(f, "usable           yes")?,
            Some(reason) => writeln!(f, "usable           no: {reason}")?,
        }
        self.answer.as_ref().map_or(Ok(()), |answer| answer.fmt(f))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.offset < 0.0 { "behind" } else { "ahead of" };
        writeln!(
            f,
            "offset           {:+.9} s (the server is {whose} this host)",
            self.offset
        )?;
        writeln!(f, "delay            {:.9} s", self.delay)?;
        writeln!(f, "root distance    {:.9} s", self.root_distance)?;
        writeln!(f, "stratum          {}", self.stratum)?;
        let leap = [
            "nothing to warn of",
            "insert a second",
            "delete a second",
            "not synchronized",
        ];
        let words = leap.get(usize::from(self.leap)).copied().unwrap_or_default();
        writeln!(f, "leap             {} ({words})", self.leap)?;
        writeln!(f, "reference ID     {}", self.reference_id)?;
        writeln!(f, "root delay       {:.9} s", self.root_delay)?;
        writeln!(f, "root dispersion  {:.9} s", self.root_dispersion)?;
        writeln!(f, "precision        2^{} s", self.precision)?;
        writeln!(f, "version          {}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{ClockReadings, NtpTimestamp};
    use crate::wire::Leap;
    use std::time::Duration;

    fn found(change: impl FnOnce(&mut Header)) -> Findings {
        let at = |seconds| NtpTimestamp::from_unix(1_700_000_000, 0) + NtpDuration::from_seconds(seconds);
        let exchange = Exchange {
            nonce: NtpTimestamp::ZERO,
            sent: Duration::ZERO,
            arrived: Duration::from_millis(500),
        };
        let scale = Timescale::new(ClockReadings {
            realtime: at(0.0),
            raw: Duration::ZERO,
            boot: Duration::ZERO,
        });
        let mut header = Header {
            stratum: 2,
            precision: -20,
            reference_timestamp: at(0.0),
            receive_timestamp: at(0.0),
            ..Header::request(at(0.0))
        };
        change(&mut header);
        Findings::of_answer(
            "time.example",
            ([192, 0, 2, 1], 123).into(),
            &header,
            &exchange,
            &scale,
            -20,
        )
    }

    #[test]
    fn for_people() {
        let text = found(|_| ()).to_string();
        assert!(
            text.starts_with("server           time.example (192.0.2.1:123)\nusable           yes\n"),
            "{text}"
        );
        assert!(
            text.contains("offset           -0.250000000 s (the server is behind this host)\n"),
            "{text}"
        );
    }

    #[test]
    fn for_programs() {
        let json = serde_json::to_value(found(|header| header.leap = Leap::Unsynchronized)).unwrap();
        assert_eq!(json["usable"], false);
        assert_eq!(json["reason"], "unsynchronized");
        assert_eq!(
            (json["offset"].as_f64(), json["leap"].as_u64()),
            (Some(-0.25), Some(3))
        );
        let silence = Findings::of_silence("time.example", None, "no such name".to_owned());
        let json = serde_json::to_value(silence).unwrap();
        assert_eq!(
            (json["usable"].as_bool(), json.get("offset")),
            (Some(false), None)
        );
    }
}
