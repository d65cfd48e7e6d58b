//! Pure. What the fast path's program is asked for: how it is attached to an interface, and the sizes of its memory.

use strum::{IntoStaticStr, VariantArray};

/// What is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Mode {
    /// The best that can be had; without any, the sockets answer alone.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// Before the network stack, or not at all: any driver can.
    Generic,
}

/// What could be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Attached {
    /// In the driver.
    Native,
    /// Before the network stack.
    Generic,
}

/// How many words each memory has that is shared.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Of the map `state`.
    pub state: usize,
    /// Of the map `rules`.
    pub rules: usize,
    /// Of the map `turns4`.
    pub turns4: usize,
    /// Of the map `turns6`.
    pub turns6: usize,
    /// Of an entry of the map `counters`.
    pub cells: usize,
    /// Entries of that map for each CPU.
    pub listeners: usize,
}

impl Mode {
    /// The word for it in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What to try, the best first.
    pub const fn ways(self) -> &'static [Attached] {
        match self {
            Self::Auto => &[Attached::Native, Attached::Generic],
            Self::Native => &[Attached::Native],
            Self::Generic => &[Attached::Generic],
        }
    }
}

impl Attached {
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
