//! Pure. The attachment of the program to an interface: as it is wanted, and as it could be had.

use strum::{IntoStaticStr, VariantArray};

/// The way in which the operator wants the program to be attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum AttachMode {
    /// The best that can be had; without any, the sockets answer alone.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// Before the network stack, or not at all: any driver can.
    Generic,
}

/// The way in which the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Attachment {
    /// In the driver.
    Native,
    /// Before the network stack.
    Generic,
}

impl AttachMode {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The attachments to try, the best first.
    pub const fn candidates(self) -> &'static [Attachment] {
        match self {
            Self::Auto => &[Attachment::Native, Attachment::Generic],
            Self::Native => &[Attachment::Native],
            Self::Generic => &[Attachment::Generic],
        }
    }
}

impl Attachment {
    /// The word for it.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Linux' number for it (linux/if_link.h, `XDP_FLAGS_DRV_MODE` and `XDP_FLAGS_SKB_MODE`).
    pub const fn flags(self) -> u32 {
        match self {
            Self::Native => 1 << 2,
            Self::Generic => 1 << 1,
        }
    }
}
