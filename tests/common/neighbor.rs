//! A second host at the other end of a cable.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::network::{enter, ip};

/// Another host: a thread in a namespace of its own, where nothing but `lo` is up. What it starts is there, too.
pub(crate) struct Host {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// The number of its thread, which names its namespace.
    pub(crate) number: i32,
}

type Job = Box<dyn FnOnce() + Send>;

impl Host {
    pub(crate) fn start() -> Self {
        let (jobs, todo) = channel::<Job>();
        let (ready, is_ready) = channel();
        let thread = std::thread::spawn(move || {
            enter();
            ready.send(nix::unistd::gettid()).unwrap();
            todo.iter().for_each(|job| job());
        });
        let number = is_ready.recv().expect("the host is up").as_raw();
        Self {
            jobs: Some(jobs),
            thread: Some(thread),
            number,
        }
    }

    /// Runs `job` over there and gives what it gives.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = Box::new(move || {
            let _ = done.send(job());
        });
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().expect("the host did its job (its panic is above)")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A host that is joined to this thread's by a cable with the ends `near` (here) and `far` (there), 192.0.2.1/24 and
/// fe80::1 here, 192.0.2.2/24 and fe80::2 there.
pub(crate) struct Neighbor(Host);

impl Neighbor {
    pub(crate) fn plug_in() -> Self {
        let host = Host::start();
        ip(&format!(
            "link add near type veth peer name far netns {}",
            host.number
        ));
        configure("near", 1);
        host.run(|| configure("far", 2));
        Self(host)
    }

    /// Runs `job` over there and gives what it gives.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.0.run(job)
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
