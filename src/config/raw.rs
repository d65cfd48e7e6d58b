//! Pure. The values of the file and the flags, before they are validated.
//!
//! Each value is kept as it was written, with its place; `validate` makes the configuration of it. The tables are made
//! of their rows (`keys`). (That serde denies unknown fields never shows: `lenient` puts them aside before.)

use serde::Deserialize;

use super::keys::{
    RawAccess, RawBudget, RawCensus, RawClock, RawControl, RawFastPath, RawHistory, RawInterleaved, RawLimit,
    RawListener, RawLocal, RawLog, RawMetrics, RawNts, RawNtsClient, RawProcess, RawSmear, RawSymmetricKeys,
    RawUpstream,
};
use super::raw_value::{Origin, RawValue, Section, Sections};
use crate::cli::Flags;

/// All values that a file and flags can have.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Raw {
    pub(super) process: Section<RawProcess>,
    pub(super) log: Section<RawLog>,
    pub(super) clock: Section<RawClock>,
    pub(super) local: Section<RawLocal>,
    pub(super) control: Section<RawControl>,
    pub(super) census: Section<RawCensus>,
    pub(super) metrics: Section<RawMetrics>,
    pub(super) history: Section<RawHistory>,
    pub(super) fast_path: Section<RawFastPath>,
    pub(super) nts_client: Section<RawNtsClient>,
    pub(super) access: Section<RawAccess>,
    pub(super) limit: Section<RawLimit>,
    pub(super) budget: Section<RawBudget>,
    pub(super) smear: Section<RawSmear>,
    pub(super) interleaved: Section<RawInterleaved>,
    pub(super) symmetric_keys: Section<RawSymmetricKeys>,
    pub(super) listener: Sections<RawListener>,
    pub(super) nts: Section<RawNts>,
    pub(super) upstream: Sections<RawUpstream>,
    /// From flags only: the values for a family of listeners, and the upstreams.
    #[serde(skip)]
    pub(super) ipv4: Family,
    #[serde(skip)]
    pub(super) ipv6: Family,
    #[serde(skip)]
    pub(super) upstream_flags: Vec<RawValue>,
}

/// The flags for the listeners of a family.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) workers: Option<RawValue>,
    pub(super) addresses: Vec<RawValue>,
}

impl Raw {
    /// Adds the flags, which take precedence over the file.
    pub(super) fn fill(&mut self, flags: &Flags) {
        let debug = flags.debug.then_some("debug");
        flag("-u", flags.user.as_deref(), &mut self.process.said.user);
        flag("-r", flags.chroot.as_deref(), &mut self.process.said.chroot);
        flag("-d", debug, &mut self.log.said.level);
        let format = flags.log_format.as_deref();
        flag("--log-format", format, &mut self.log.said.format);
        flag("-4", flags.ipv4_workers.as_deref(), &mut self.ipv4.workers);
        flag("-6", flags.ipv6_workers.as_deref(), &mut self.ipv6.workers);
        self.ipv4.addresses = repeated("-a", &flags.ipv4_address);
        self.ipv6.addresses = repeated("-b", &flags.ipv6_address);
        self.upstream_flags = repeated("-s", &flags.upstream);
    }
}

fn flag(name: &'static str, text: Option<&str>, slot: &mut Option<RawValue>) {
    if let Some(text) = text {
        *slot = Some(RawValue::text(text, Origin::Flag(name)));
    }
}

fn repeated(name: &'static str, texts: &[String]) -> Vec<RawValue> {
    texts
        .iter()
        .map(|text| RawValue::text(text, Origin::Flag(name)))
        .collect()
}
