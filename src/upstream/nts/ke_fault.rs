//! Pure. The reasons why there are no keys for an upstream with NTS.

use strum::{IntoStaticStr, VariantArray};

/// The reason why there are no keys. Its text is for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum KeFault {
    /// Keys were not established yet since the start.
    Waiting,
    /// The server can't be reached at its port of key establishment, or closes the connection.
    Connect,
    /// No server listens at the port of key establishment.
    NotListening,
    /// The sandbox, or a rule of this host, forbids the connection.
    Sandbox,
    /// Key establishment took too long.
    TimedOut,
    /// TLS 1.3 can't be agreed upon, or was broken off.
    Tls,
    /// The server speaks TLS, and not the protocol of key establishment.
    Protocol,
    /// The certificate is signed by no authority that is trusted.
    UnknownIssuer,
    /// The certificate is for other names.
    WrongName,
    /// The certificate has ended.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate can't be used for another reason.
    BadCertificate,
    /// The server's answer is no valid message.
    Answer,
    /// The server refuses, or has no AEAD or protocol that is known here.
    Refused,
    /// The address of the NTP server that it names can't be used.
    Server,
    /// The server's replies were NAKs: it does not know the keys any more.
    Nak,
    /// All cookies are used up: the server did not reply to the last questions.
    NoCookies,
    /// The certificate was not valid at the time that the upstreams agree on.
    CastOut,
}

impl KeFault {
    /// The number of faults.
    pub const COUNT: usize = Self::VARIANTS.len();

    /// Returns the place of its counter.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns all faults, each at its [`KeFault::index`].
    pub fn all() -> impl Iterator<Item = Self> {
        Self::VARIANTS.iter().copied()
    }

    /// Returns its word in metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns whether the server or its certificate is at fault, and not the way to it.
    ///
    /// Another attempt soon is of no use then.
    pub const fn is_lasting(self) -> bool {
        match self {
            Self::Tls
            | Self::Protocol
            | Self::UnknownIssuer
            | Self::WrongName
            | Self::Expired
            | Self::NotYetValid
            | Self::BadCertificate
            | Self::Answer
            | Self::Refused
            | Self::Server
            | Self::Sandbox
            | Self::CastOut => true,
            Self::Waiting
            | Self::Connect
            | Self::NotListening
            | Self::TimedOut
            | Self::Nak
            | Self::NoCookies => false,
        }
    }

    /// Returns the text for the operator, with the remedy where there is one.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Waiting => "no keys: key establishment is about to begin",
            Self::Connect => "no keys: the connection for key establishment failed",
            Self::NotListening => {
                "no keys: no server listens at its port of key establishment (see ke-port; nts = true needs an NTS server)"
            }
            Self::Sandbox => {
                "no keys: this host forbids the connection to its ke-port: a new port needs a restart (process.landlock), or a firewall is in the way"
            }
            Self::TimedOut => {
                "no keys: key establishment took more than 10 s (does a firewall drop TCP to its ke-port?)"
            }
            Self::Tls => "no keys: TLS failed (TLS 1.3 is needed)",
            Self::Protocol => "no keys: what listens at its ke-port is no server of key establishment",
            Self::UnknownIssuer => {
                "no keys: its certificate is signed by no trusted authority (name its authority with ca, or see nts-client.roots)"
            }
            Self::WrongName => {
                "no keys: its certificate is for other names (address must be a name in its certificate)"
            }
            Self::Expired => "no keys: its certificate has ended (or the clock of this host is ahead)",
            Self::NotYetValid => {
                "no keys: its certificate is not valid yet (is the clock of this host behind? see nts-client.certificate-time)"
            }
            Self::BadCertificate => "no keys: its certificate can't be used",
            Self::Answer => "no keys: its answer in key establishment is not valid",
            Self::Refused => "no keys: its server of key establishment refuses",
            Self::Server => "no keys: the address of the NTP server that it names can't be used",
            Self::Nak => "no keys: it rejected ours (NAK), new ones are established soon",
            Self::NoCookies => "no keys: no replies, so all cookies are used up; new ones are fetched soon",
            Self::CastOut => "no keys: its certificate was not valid at the time that the upstreams agree on",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_has_a_text_of_its_own() {
        let texts: BTreeSet<_> = KeFault::all().map(KeFault::text).collect();
        assert_eq!(texts.len(), KeFault::all().count());
        assert!(texts.iter().all(|text| text.starts_with("no keys: ")));
    }
}
