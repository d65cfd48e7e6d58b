//! Pure. Network Time Security (RFC 8915): AEADs, cookies, sealed packets, and the records of key establishment.
//!
//! Nothing here knows sockets, TLS or the clock: time and randomness are arguments.

pub mod aead;
pub mod client;
pub mod cookie;
mod jobs;
pub mod ke;
pub mod key_schedule;
pub mod keyring;
mod keys;
mod nonce;
pub mod secret_file;
pub mod server;

pub use keys::AssociationKeys;
pub use nonce::Nonces;

/// As many cookies a client has at most, and gets at once (RFC 8915 §5.7).
//= RFC 8915 §5.7 eight
pub const MOST_COOKIES: usize = 8;

#[cfg(test)]
pub(crate) mod test_client;
