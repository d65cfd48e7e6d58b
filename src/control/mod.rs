//! How the running server is asked about itself: over HTTP (`http`).

pub mod http;
