//! Pure. The values of the file and the flags, before they are validated.
//!
//! Each value is kept as it was written, with its place; `validate` makes the configuration of it. The tables are made
//! of their rows (`keys`). (That serde denies unknown fields never shows: `lenient` puts them aside before.)

use serde::Deserialize;

use super::keys::{
    RawAccess, RawBudget, RawCensus, RawClock, RawControl, RawFastPath, RawHistory, RawInterleaved, RawLimit,
    RawListener, RawLocal, RawLog, RawMetrics, RawNts, RawNtsClient, RawProcess, RawSmear, RawSources,
    RawSymmetricKeys, RawUpstream,
};
use super::raw_value::{Origin, RawValue, Section, Sections};
use super::sources::FoundSources;
use crate::cli::Flags;
use crate::cli::environment::{
    Environment, LISTEN, LOG_FORMAT, LOG_LEVEL, METRICS, MIN_SOURCES, UPSTREAM, WORKERS,
};

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
    pub(super) sources: Section<RawSources>,
    pub(super) upstream: Sections<RawUpstream>,
    /// From flags only: the values for a family of listeners, and the upstreams.
    #[serde(skip)]
    pub(super) ipv4: Family,
    #[serde(skip)]
    pub(super) ipv6: Family,
    #[serde(skip)]
    pub(super) upstream_flags: Vec<RawValue>,
    /// From files of other programs only: further upstreams.
    #[serde(skip)]
    pub(super) found: FoundSources,
}

/// The flags for the listeners of a family.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) workers: Option<RawValue>,
    /// Whether the addresses are all listeners of the family, even if there are none.
    pub(super) replaces: bool,
    pub(super) addresses: Vec<RawValue>,
}

impl Raw {
    /// Adds the environment, which takes precedence over the file, and the flags, which take precedence over both.
    pub(super) fn fill(&mut self, flags: &Flags) {
        self.fill_environment(&flags.environment);
        let debug = flags.debug.then_some("debug");
        flag("-u", flags.user.as_deref(), &mut self.process.said.user);
        flag("-r", flags.chroot.as_deref(), &mut self.process.said.chroot);
        flag("-d", debug, &mut self.log.said.level);
        flag(
            "--min-sources",
            flags.min_sources.as_deref(),
            &mut self.clock.said.min_sources,
        );
        let format = flags.log_format.as_deref();
        flag("--log-format", format, &mut self.log.said.format);
        flag("-4", flags.ipv4_workers.as_deref(), &mut self.ipv4.workers);
        flag("-6", flags.ipv6_workers.as_deref(), &mut self.ipv6.workers);
        for (family, name, addresses) in [
            (&mut self.ipv4, "-a", &flags.ipv4_address),
            (&mut self.ipv6, "-b", &flags.ipv6_address),
        ] {
            if !addresses.is_empty() {
                family.addresses = repeated(Origin::Flag(name), addresses);
                family.replaces = true;
            }
        }
        if !flags.upstream.is_empty() {
            self.upstream_flags = repeated(Origin::Flag("-s"), &flags.upstream);
        }
    }

    fn fill_environment(&mut self, environment: &Environment) {
        let variable = |name, text: &Option<String>, slot: &mut Option<RawValue>| {
            if let Some(text) = text {
                *slot = Some(RawValue::text(text, Origin::Variable(name)));
            }
        };
        let Environment {
            config: _,
            upstream,
            listen,
            workers,
            min_sources,
            log_level,
            log_format,
            metrics,
        } = environment;
        variable(WORKERS, workers, &mut self.ipv4.workers);
        variable(WORKERS, workers, &mut self.ipv6.workers);
        variable(MIN_SOURCES, min_sources, &mut self.clock.said.min_sources);
        variable(LOG_LEVEL, log_level, &mut self.log.said.level);
        variable(LOG_FORMAT, log_format, &mut self.log.said.format);
        variable(METRICS, metrics, &mut self.metrics.said.listen);
        self.upstream_flags = repeated(Origin::Variable(UPSTREAM), upstream);
        if !listen.is_empty() {
            let is_ipv6 = |text: &&String| text.starts_with('[');
            let (ipv6, ipv4): (Vec<&String>, Vec<&String>) = listen.iter().partition(is_ipv6);
            for (family, addresses) in [(&mut self.ipv4, ipv4), (&mut self.ipv6, ipv6)] {
                family.addresses = repeated(Origin::Variable(LISTEN), addresses);
                family.replaces = true;
            }
        }
    }
}

fn flag(name: &'static str, text: Option<&str>, slot: &mut Option<RawValue>) {
    if let Some(text) = text {
        *slot = Some(RawValue::text(text, Origin::Flag(name)));
    }
}

fn repeated<'a>(origin: Origin, texts: impl IntoIterator<Item = &'a String>) -> Vec<RawValue> {
    let values = texts.into_iter().map(|text| RawValue::text(text, origin.clone()));
    values.collect()
}
