//! Pure. The rows of `[fast-path]`.

use crate::config::address::Refusal;
use crate::config::effective::quoted;
use crate::config::kind::{Texts, texts, word};
use crate::config::row::table;
use crate::fast_path::AttachMode;

table! {
    /// Plain requests answered in the kernel, before its network stack sees them (XDP).
    ///
    /// A request then takes a tenth of the CPU time. THESE REQUESTS BYPASS THIS HOST'S FIREWALL (nftables,
    /// iptables), rp_filter, AND tcpdump ON THE INTERFACE: only [access] and [limit] apply, and `ntpfront status`
    /// counts them. This needs Linux 5.10 and, at the start, more privileges: root, or the drop-in 20-fast-path.conf.
    /// The document fast-path.md lists what is left to the sockets.
    "[fast-path]": Reload, RawFastPath
    /// The interfaces where plain requests are answered before the network stack sees them.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FastPath {
        /// The interfaces where requests arrive, as `ip link` names them or as patterns ("eth*"), at most 16.
        ///
        /// Untagged requests are answered at addresses of these interfaces, of the bridge or bond that one is a port
        /// of, of macvlans on it, and of "lo"; requests with VLAN tags at all addresses of this host. Empty: no fast
        /// path; only a restart changes that, while a reload changes the interfaces of a running one.
        interfaces: Vec<String> = Vec::new(), interfaces();
        /// The place of the program: "native" or "generic", or "auto" for the best one available.
        ///
        /// "native" runs in the driver. "generic" runs before the network stack, for other drivers, and is about
        /// half as fast. With "native" or "generic", the start fails if that mode is not available. With "auto", the
        /// server then runs without the fast path.
        mode: AttachMode = AttachMode::Auto, word();
    }
}

impl FastPath {
    /// Returns whether there is a fast path.
    pub const fn is_wanted(&self) -> bool {
        !self.interfaces.is_empty()
    }

    /// Returns whether this dotted path is one of its keys.
    pub(in crate::config) fn has(key: &str) -> bool {
        key.starts_with("fast-path.")
    }
}

fn interfaces() -> Texts<String> {
    texts(
        |name| match is_interface(name) {
            true => Ok(name.to_owned()),
            false => Err(Refusal::new(
                "the name of a network interface, as `ip link` shows it, or a pattern such as \"eth*\"",
            )),
        },
        |name| quoted(name),
    )
}

/// Whether Linux accepts `name` for an interface (`dev_valid_name` of its net/core/dev.c).
fn is_interface(name: &str) -> bool {
    (1..16).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':'))
}
