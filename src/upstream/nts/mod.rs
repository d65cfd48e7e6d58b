//! NTS for an upstream: when keys are established, what is asked with them, and which certificates count.
//!
//! `key_establishment` connects to a server and is impure; the rest is pure: `key_state` (all of one upstream), `session`
//! (keys and cookies), `cookie_jar`, `schedule` (when to establish keys, politely), `certificate` (the time at which it has to
//! be valid), `ke_fault` (the reasons why there are no keys), `ke_findings` (the result
//! of `query --nts`), `trusted` (authorities).

pub mod certificate;
pub mod cookie_jar;
pub mod ke_fault;
pub mod ke_findings;
pub mod key_establishment;
pub mod key_state;
pub mod schedule;
pub mod session;
pub mod trusted;
