//! Pure. The result of one question to one server, as text and as JSON.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use super::packet::{Exchange, Reject, measure, root_distance, usable};
use crate::time::{NtpDuration, Timescale};
use crate::wire::Header;

/// The result of `ntpfront query`.
///
/// As JSON its names and units are stable: times in seconds, `leap` 0 to 3 as on the wire.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Findings {
    /// The server as the command line names it.
    pub server: String,
    /// The address that answered, or was asked last; none if the name has no address.
    pub address: Option<SocketAddr>,
    /// Whether a client could take its time from it.
    pub usable: bool,
    /// The reason if it is not usable.
    pub reason: Option<String>,
    /// The answer; none if there was none.
    #[serde(flatten)]
    pub answer: Option<Answer>,
}

/// A server's answer, and the sample that it gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Offset of the server's clock from this host's in seconds; positive if it is ahead.
    pub offset: f64,
    /// Round-trip delay in seconds, without the server's turnaround (200 us of it at most).
    pub delay: f64,
    /// Root distance, the maximum error of the server's time, in seconds: half of both delays and both dispersions.
    pub root_distance: f64,
    /// Stratum: 1 to 15; 0 and 16 mean not synchronized.
    pub stratum: u8,
    /// Leap indicator: 0 nothing, 1 insert and 2 delete a second at the end of the day, 3 not synchronized.
    pub leap: u8,
    /// Reference ID: four letters, or eight hexadecimal digits.
    pub reference_id: String,
    /// Round-trip delay from the server to the reference clock, in seconds.
    pub root_delay: f64,
    /// Root dispersion that the server announces, in seconds.
    pub root_dispersion: f64,
    /// Precision of the server's clock, log2 seconds.
    pub precision: i8,
    /// Protocol version of the answer.
    pub version: u8,
}

impl Findings {
    /// Checks an authentic answer as that of an upstream with the default configuration.
    ///
    /// `scale` is the host's time of day during the exchange.
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

    /// Returns the result without an answer, for this reason.
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
