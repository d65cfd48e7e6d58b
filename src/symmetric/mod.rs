//! Pure. Symmetric keys (RFC 5905 §7.3): the keys that two hosts share, and the MAC that one puts behind a packet.
//!
//! They are for network gear and sites that know nothing else. Their secrets have to be brought to both ends by hand,
//! and a client is known by them: where both ends can, Network Time Security is better.

mod key;
pub mod key_file;
#[cfg(test)]
pub(crate) mod test_keys;

pub use key::{DigestType, KeyId, MacOctets, SymmetricKey};

/// The keys of a file, each with an identifier of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyTable {
    /// In the order of their identifiers.
    keys: Vec<SymmetricKey>,
}

impl KeyTable {
    /// The keys of the table, in the order of their identifiers.
    pub fn keys(&self) -> &[SymmetricKey] {
        &self.keys
    }

    /// Returns the key with this identifier.
    pub fn get(&self, id: KeyId) -> Option<&SymmetricKey> {
        let place = self.keys.binary_search_by_key(&id, SymmetricKey::id).ok()?;
        self.keys.get(place)
    }

    /// Keeps the keys whose identifier is one of `trusted`.
    #[must_use]
    pub fn trusted(mut self, trusted: &[KeyId]) -> Self {
        self.keys.retain(|key| trusted.contains(&key.id()));
        self
    }
}
