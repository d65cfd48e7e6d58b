//! Pure. Whether a rule is applied.

use strum::{IntoStaticStr, VariantArray};

/// Whether a rule of a policy is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum RuleMode {
    /// Not applied.
    Off,
    /// On trial: a request that it would refuse is counted, and answered.
    DryRun,
    /// Applied.
    #[default]
    On,
}

impl RuleMode {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
