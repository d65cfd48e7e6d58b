//! Networks of a test's own: free ports of this host, namespaces, and a second host at the other end of a cable.
//!
//! A network namespace belongs to a thread here: its sockets, threads and child processes all are in it.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sched::{CloneFlags, unshare};

use super::run;

/// A UDP port that nobody uses on either family, below the ports that the kernel gives by itself.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another test program may look at the same time: each begins elsewhere.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (start.wrapping_add(step.wrapping_mul(7))) % COUNT;
        let free = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
            && UdpSocket::bind((Ipv6Addr::LOCALHOST, port)).is_ok();
        if free {
            return port;
        }
    }
    panic!("no free UDP port from {FIRST} on");
}

/// Runs `inside` in a network namespace that has nothing but `lo`, up. Needs root: ask [`super::root`] first.
pub(crate) fn in_own_network(inside: impl FnOnce() + Send) {
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

fn enter() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (root, and CAP_SYS_ADMIN)");
    ip("link set lo up");
}

/// `ip` with these words.
pub(crate) fn ip(words: &str) {
    let outcome = run(Command::new("ip").args(words.split_whitespace()));
    assert_eq!(outcome.status, Some(0), "ip {words}: {}", outcome.said());
}

/// Another host: a namespace of its own, joined to this thread's by a cable with the ends `near` (here) and `far`
/// (there), 192.0.2.1/24 and fe80::1 here, 192.0.2.2/24 and fe80::2 there.
pub(crate) struct Neighbor {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Neighbor {
    pub(crate) fn plug_in() -> Self {
        let (jobs, todo) = channel::<Job>();
        let (ready, is_ready) = channel();
        let thread = std::thread::spawn(move || {
            enter();
            ready.send(nix::unistd::gettid()).unwrap();
            todo.iter().for_each(|job| job());
        });
        let there = is_ready.recv().expect("the neighbor is up");
        let neighbor = Self {
            jobs: Some(jobs),
            thread: Some(thread),
        };
        ip(&format!(
            "link add near type veth peer name far netns {}",
            there.as_raw()
        ));
        configure("near", 1);
        neighbor.run(|| configure("far", 2));
        neighbor
    }

    /// Runs `job` over there and gives what it gives.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = Box::new(move || {
            let _ = done.send(job());
        });
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result
            .recv()
            .expect("the neighbor did its job (its panic is above)")
    }
}

/// Addresses without duplicate detection, so that they are there at once.
fn configure(device: &str, number: u8) {
    ip(&format!("addr add 192.0.2.{number}/24 dev {device}"));
    ip(&format!("link set {device} addrgenmode none"));
    ip(&format!("addr add fe80::{number}/64 dev {device} nodad"));
    ip(&format!("link set {device} up"));
}

/// The number of a network device of this thread's namespace: the scope of a link-local address.
pub(crate) fn device_number(device: &str) -> u32 {
    nix::net::if_::if_nametoindex(device).unwrap()
}

impl Drop for Neighbor {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
