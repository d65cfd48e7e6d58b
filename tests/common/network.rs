//! Network namespaces of a test's own.
//!
//! A network namespace belongs to a thread here: its sockets, threads and child processes all are in it.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use super::{root, run};

/// Runs `inside` in a network namespace that has nothing but `lo`, up; does nothing where root is left out.
pub(crate) fn in_own_network(inside: impl FnOnce() + Send) {
    if !root() {
        return;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter();
            inside();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// This thread goes to a new one.
pub(super) fn enter() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (root, and CAP_SYS_ADMIN)");
    ip("link set lo up");
}

/// `ip` with these words.
pub(crate) fn ip(words: &str) {
    let outcome = run(Command::new("ip").args(words.split_whitespace()));
    assert_eq!(outcome.status, Some(0), "ip {words}: {}", outcome.said());
}
