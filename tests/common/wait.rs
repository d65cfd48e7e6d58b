//! Waiting for what must happen soon, and the clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ntpfront::time::NtpTimestamp;

/// Asks `found` again and again until it finds something.
pub(crate) fn wait_until<T>(what: &str, patience: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The host's clock.
pub(crate) fn now() -> NtpTimestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    NtpTimestamp::from_unix(i64::try_from(now.as_secs()).unwrap(), now.subsec_nanos())
}
