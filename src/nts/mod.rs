//! Pure. Network Time Security (RFC 8915): the AEADs, and the keys of an association.
//!
//! Nothing here knows sockets, TLS or the clock: time and randomness are arguments.

pub mod aead;
mod keys;

pub use keys::Keys;
