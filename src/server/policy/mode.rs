//! Pure. Whether a rule is applied.

/// Whether a rule of a policy is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RuleMode {
    /// It is not applied.
    Off,
    /// It is on trial: what it would refuse is counted, and answered.
    DryRun,
    /// It is applied.
    #[default]
    On,
}

impl RuleMode {
    /// The word for it in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::DryRun => "dry-run",
            Self::On => "on",
        }
    }
}
