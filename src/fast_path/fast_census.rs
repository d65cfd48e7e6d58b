//! Impure. The census of the program's clients: takes the samples that the program wrote, and tells it how many to write.

use std::net::IpAddr;
use std::time::Duration;

use super::loader::Program;
use super::maps::{ReadSamples, census_packets, cpus, samples, set_sampling};
use crate::census::{CensusSettings, SampledCensus, SampledHistory};

/// The time between two choices of the sampling.
const APART: Duration = Duration::from_millis(100);

/// The census, and how far the samples of each CPU were read.
#[derive(Debug)]
pub(super) struct FastCensus {
    census: SampledCensus,
    read: Vec<ReadSamples>,
    packets: u64,
    adapted_at: Duration,
}

impl FastCensus {
    /// An empty one: the program begins to write samples.
    pub(super) fn new(settings: CensusSettings, program: &Program, now: Duration) -> Self {
        let census = SampledCensus::new(settings, now);
        set_sampling(program.state(), Some(census.sampling()));
        Self {
            census,
            read: vec![ReadSamples::default(); cpus(program.cpus()).count()],
            packets: census_packets(program.cpus()),
            adapted_at: now,
        }
    }

    /// Takes what the program wrote since the last time.
    pub(super) fn take(&mut self, program: &Program, secret: [u64; 2], now: Duration) {
        for (cpu, read) in cpus(program.cpus()).zip(&mut self.read) {
            samples(cpu, read, secret, |sample| self.census.note(&sample, now));
        }
        let packets = census_packets(program.cpus());
        self.census.count(packets.wrapping_sub(self.packets), now);
        self.packets = packets;
        if now.saturating_sub(self.adapted_at) >= APART {
            set_sampling(program.state(), Some(self.census.adapt(now)));
            self.adapted_at = now;
        }
    }

    /// Returns the time until `now` since the last request of a client, if it is followed.
    pub(super) fn last_request(&self, client: IpAddr, now: Duration) -> Option<Duration> {
        self.census.last_request(client, now)
    }

    /// The counts so far.
    pub(super) fn history(&self) -> &SampledHistory {
        self.census.history()
    }
}
