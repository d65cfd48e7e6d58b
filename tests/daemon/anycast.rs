//! Proves that a route follows the health of its host: two nodes with one anycast address, each with ntpfront, a watch over its
//! health and a real BIRD; a router that spreads flows over both; a client that asks from ever new ports, and counts.
//!
//! The bounds are those of a busy machine. What it found is printed (`cargo test --test daemon anycast -- --nocapture`).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::client::{ahead, request};
use crate::common::daemon::{Daemon, Reload};
use crate::common::neighbor::Host;
use crate::common::network::ip;
use crate::common::program::program;
use crate::common::scripted::{Scripted, good};
use crate::common::{SOON, TempDir, peer, root, run, wait_until};
use ntpfront::time::NtpDuration;
use ntpfront::wire::{HEADER_LEN, Header, Leap};

/// The address of the service, on both nodes.
const ANYCAST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 123);
/// Interval of the client's questions.
const PACE: Duration = Duration::from_millis(5);
/// The longest time until an answer counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);
/// A time that is further off is wrong.
const WRONG: f64 = 1.0;
/// The longest time for which a machine that others use, too, may be slower than it should be.
const SLACK: f64 = 2.0;

/// A process that is killed when dropped.
struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The programs of BIRD.
#[derive(Clone)]
struct Bird {
    server: PathBuf,
    client: PathBuf,
}

impl Bird {
    fn start(&self, directory: &Path, text: &str) -> Process {
        let file = directory.join("bird.conf");
        std::fs::write(&file, text).unwrap();
        let log = std::fs::File::create(directory.join("bird.log")).unwrap();
        let child = Command::new(&self.server)
            .args(["-f", "-c"])
            .arg(file)
            .arg("-s")
            .arg(directory.join("bird.ctl"))
            .arg("-P")
            .arg(directory.join("bird.pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Process(child)
    }
}

/// A node: a host with the anycast address, its server, and what announces its route.
struct Node {
    host: Host,
    directory: Arc<TempDir>,
    bird: Bird,
    configuration: String,
    /// The time of one upstream of two is wrong.
    is_false: Arc<AtomicBool>,
    _upstreams: [Scripted; 2],
    _routing: Process,
    server: Option<Daemon>,
    watch: Option<Process>,
}

impl Node {
    /// Number 1 or 2: it has 10.8.NUMBER.2 in front of the router, and its stratum is 1 more than its number.
    fn start(router: &Host, number: u8, bird: Bird) -> Self {
        let (host, directory) = (Host::start(), Arc::new(TempDir::new()));
        cable(router, &host, number);
        let is_false = Arc::new(AtomicBool::new(false));
        let (switch, path) = (Arc::clone(&is_false), Arc::clone(&directory));
        let (upstreams, routing) = host.run({
            let bird = bird.clone();
            move || {
                ip(&format!("addr add {ANYCAST}/32 dev lo"));
                let sample = include_str!("../../packaging/doc/ntpfront-bird.conf");
                let text = sample
                    .replace("router id 192.0.2.1;", &format!("router id 10.8.{number}.2;"))
                    .replace("neighbor 192.0.2.254 ", &format!("neighbor 10.8.{number}.1 "));
                let constant = Arc::new(AtomicBool::new(false));
                let upstreams = [switch, constant].map(|switch| upstream(number + 1, switch));
                (upstreams, bird.start(path.path(), &text))
            }
        });
        let tables = upstreams.each_ref().map(|upstream| {
            let address = upstream.address();
            format!("[[upstream]]\naddress = \"{address}\"\nminpoll = 0\nmaxpoll = 0\n")
        });
        let socket = directory.path().join("control.sock");
        let configuration = format!(
            "[control]\nsocket = \"{}\"\n{}[[listener]]\naddress = \"0.0.0.0:123\"\n",
            socket.display(),
            tables.concat()
        );
        let mut node = Self {
            host,
            directory,
            bird,
            configuration,
            is_false,
            _upstreams: upstreams,
            _routing: routing,
            server: None,
            watch: None,
        };
        node.serve();
        node.watch();
        node
    }

    /// Starts its server.
    fn serve(&mut self) {
        let text = self.configuration.clone();
        let started = self
            .host
            .run(move || Daemon::configured(&text).answering(SocketAddr::from((Ipv4Addr::LOCALHOST, 123))));
        self.server = Some(started);
    }

    /// Starts its watch, as the unit does.
    fn watch(&mut self) {
        let control = self.directory.path().join("bird.ctl");
        let birdc = |word: &str| {
            let (client, control) = (self.bird.client.display(), control.display());
            format!("'{client}' -s '{control}' {word} anycast")
        };
        let log = std::fs::File::create(self.directory.path().join("watch.log")).unwrap();
        let child = Command::new(program())
            .args(["health", "--watch", "--up-after", "1s", "--exec"])
            .arg(birdc("enable"))
            .arg("--exec-down")
            .arg(birdc("disable"))
            .arg("--socket")
            .arg(self.directory.path().join("control.sock"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.watch = Some(Process(child));
    }

    /// How often the watch saw the health end.
    fn ends(&self) -> usize {
        let log = std::fs::read_to_string(self.directory.path().join("watch.log")).unwrap();
        log.lines().filter(|line| line.starts_with("not healthy")).count()
    }

    fn signal(&self, signal: Signal) {
        self.server.as_ref().unwrap().signal(signal);
    }

    /// Runs a subcommand that changes the server.
    fn command(&self, words: &[&str]) {
        let socket = self.directory.path().join("control.sock");
        let outcome = run(Command::new(program()).args(words).arg("--socket").arg(socket));
        assert_eq!(outcome.status, Some(0), "{words:?}: {}", outcome.said());
    }

    fn reload(&self, keys: &str) {
        let text = self.configuration.clone() + keys;
        assert_eq!(self.server.as_ref().unwrap().reload(&text), Reload::Done);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for file in ["watch.log", "bird.log"] {
                let text = std::fs::read_to_string(self.directory.path().join(file));
                eprintln!("--- {file}:\n{}---", text.unwrap_or_default());
            }
        }
    }
}

/// An upstream of this stratum, whose time is wrong by 9 s while that is wanted.
fn upstream(stratum: u8, is_false: Arc<AtomicBool>) -> Scripted {
    Scripted::start(move |ask| {
        let mut reply = good(ask);
        reply.stratum = stratum;
        if is_false.load(Ordering::Relaxed) {
            for time in [&mut reply.receive_timestamp, &mut reply.transmit_timestamp] {
                *time = *time + NtpDuration::from_seconds(9.0);
            }
        }
        vec![reply.into()]
    })
}

/// Joins a host to the router: the router has 10.8.NUMBER.1, the host 10.8.NUMBER.2.
fn cable(router: &Host, host: &Host, number: u8) {
    let there = host.number;
    router.run(move || {
        ip(&format!(
            "link add r{number} type veth peer name e0 netns {there}"
        ));
        ip(&format!("addr add 10.8.{number}.1/24 dev r{number}"));
        ip(&format!("link set r{number} up"));
    });
    host.run(move || {
        ip(&format!("addr add 10.8.{number}.2/24 dev e0"));
        ip("link set e0 up");
        ip(&format!("route add default via 10.8.{number}.1"));
    });
}

/// The router's own configuration: it takes the routes of both nodes, and uses both.
const ROUTER: &str = "router id 10.8.1.1;
protocol device { scan time 1; }
protocol kernel { ipv4 { export all; import none; }; merge paths on; }
protocol direct { ipv4; }
template bgp node { local as 64501; ipv4 { import all; export none; }; hold time 3; keepalive time 1; }
protocol bgp a from node { neighbor 10.8.1.2 as 64500; }
protocol bgp b from node { neighbor 10.8.2.2 as 64500; }
";

/// A question from a port of its own.
struct Flow {
    socket: UdpSocket,
    sent: Duration,
}

/// What became of the questions.
#[derive(Debug, Default)]
struct Tally {
    sent: usize,
    /// Answers of each stratum; 0 is "unsynchronized".
    answered: [usize; 16],
    wrong: usize,
    lost: usize,
    /// When the last one left that was lost, or told "unsynchronized": seconds since the start.
    last_bad: f64,
    /// When the first one left that was told "unsynchronized".
    first_unsynchronized: Option<f64>,
}

impl Tally {
    fn unsynchronized(&self) -> usize {
        self.answered[0]
    }

    fn note_bad(&mut self, flow: &Flow) {
        self.last_bad = self.last_bad.max(flow.sent.as_secs_f64());
    }

    fn take(&mut self, flow: &Flow, bytes: &[u8]) {
        let Ok(header) = Header::parse(bytes) else {
            self.wrong += 1;
            return;
        };
        self.answered[usize::from(header.stratum)] += 1;
        if header.leap == Leap::Unsynchronized {
            self.note_bad(flow);
            self.first_unsynchronized.get_or_insert(flow.sent.as_secs_f64());
        } else if ahead(&header).abs() > WRONG {
            self.wrong += 1;
        }
    }
}

/// Asks from ever new ports until it is told to stop, and waits for the last answers.
fn ask(stop: &AtomicBool) -> Tally {
    let (start, mut tally, mut flows) = (Instant::now(), Tally::default(), Vec::<Flow>::new());
    while !stop.load(Ordering::Relaxed) || !flows.is_empty() {
        if !stop.load(Ordering::Relaxed) {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect((ANYCAST, 123)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.send(&request(4, 3)).unwrap();
            tally.sent += 1;
            let sent = start.elapsed();
            flows.push(Flow { socket, sent });
        }
        std::thread::sleep(PACE);
        collect(&mut flows, &mut tally, start.elapsed());
    }
    tally
}

/// Takes what came, and gives up what takes too long.
fn collect(flows: &mut Vec<Flow>, tally: &mut Tally, now: Duration) {
    let mut ready: Vec<_> = flows
        .iter()
        .map(|flow| PollFd::new(flow.socket.as_fd(), PollFlags::POLLIN))
        .collect();
    poll(&mut ready, PollTimeout::ZERO).unwrap();
    let mut ready: Vec<bool> = ready.iter().map(|one| one.any().unwrap_or_default()).collect();
    flows.retain(|flow| {
        let mut buffer = [0; HEADER_LEN];
        // A node whose server is gone refuses: that is no answer, and none comes any more.
        let came = ready.remove(0).then(|| flow.socket.recv(&mut buffer));
        match came {
            Some(Ok(length)) => tally.take(flow, &buffer[..length]),
            Some(Err(_)) => {
                tally.lost += 1;
                tally.note_bad(flow);
            }
            None if now - flow.sent < PATIENCE => return true,
            None => {
                tally.lost += 1;
                tally.note_bad(flow);
            }
        }
        false
    });
}

/// The whole network.
struct Network {
    client: Host,
    nodes: [Node; 2],
    _router: (Host, Process, TempDir),
}

impl Network {
    fn start(bird: &Bird) -> Self {
        let (router, client, directory) = (Host::start(), Host::start(), TempDir::new());
        router.run(|| {
            for (key, value) in [
                ("ip_forward", "1"),
                // Flows are told apart by their ports.
                ("fib_multipath_hash_policy", "1"),
                ("conf/all/rp_filter", "0"),
                ("conf/default/rp_filter", "0"),
            ] {
                std::fs::write(format!("/proc/sys/net/ipv4/{key}"), value).unwrap();
            }
        });
        let nodes = [1, 2].map(|number| Node::start(&router, number, bird.clone()));
        cable(&router, &client, 3);
        let process = router.run({
            let (bird, path) = (bird.clone(), directory.path().to_owned());
            move || bird.start(&path, ROUTER)
        });
        Self {
            client,
            nodes,
            _router: (router, process, directory),
        }
    }

    /// Asks while `event` happens, which returns when it began, until that has been over for a while.
    fn during(&self, name: &str, event: impl FnOnce(&Self) -> Instant) -> (Tally, f64) {
        self.both_answer();
        let stop = Arc::new(AtomicBool::new(false));
        let begin = Instant::now();
        let (tally, began) = std::thread::scope(|scope| {
            let asking = scope.spawn({
                let stop = Arc::clone(&stop);
                move || self.client.run(move || ask(&stop))
            });
            std::thread::sleep(Duration::from_millis(500));
            let began = event(self);
            std::thread::sleep(Duration::from_millis(2500));
            stop.store(true, Ordering::Relaxed);
            (asking.join().unwrap(), began)
        });
        let after = (tally.last_bad - (began - begin).as_secs_f64()).max(0.0);
        println!(
            "anycast: {name}: {} sent, {} lost, {} \"unsynchronized\", {} wrong; the last bad one {after:.3} s after it",
            tally.sent,
            tally.lost,
            tally.unsynchronized(),
            tally.wrong
        );
        assert_eq!(tally.wrong, 0, "{name}: {tally:?}");
        assert!(
            tally.answered[3] > 0,
            "{name}: the other node answered nothing: {tally:?}"
        );
        (tally, after)
    }

    /// Waits until the router has the routes of both.
    fn both_answer(&self) {
        wait_until("answers of both nodes", SOON, || {
            let tally = self.client.run(|| {
                let stop = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        std::thread::sleep(Duration::from_millis(300));
                        stop.store(true, Ordering::Relaxed);
                    });
                    ask(&stop)
                })
            });
            let bad = tally.lost + tally.wrong + tally.unsynchronized();
            (bad == 0 && tally.answered[2] > 0 && tally.answered[3] > 0).then_some(())
        });
    }
}

#[test]
fn a_route_follows_the_health_of_its_host() {
    let (Some(server), Some(client)) = (peer("bird", "bird"), peer("bird", "birdc")) else {
        return;
    };
    if !root() {
        return;
    }
    let mut network = Network::start(&Bird { server, client });

    let (tally, after) = network.during("kill -9", |network| {
        let began = Instant::now();
        network.nodes[0].signal(Signal::SIGKILL);
        began
    });
    assert!(after < 0.3 + SLACK && tally.lost > 0, "{tally:?}");
    network.nodes[0].serve();

    let (tally, after) = network.during("frozen", |network| {
        let began = Instant::now();
        network.nodes[0].signal(Signal::SIGSTOP);
        began
    });
    assert!(after < 0.5 + SLACK && tally.lost > 0, "{tally:?}");
    network.nodes[0].signal(Signal::SIGCONT);

    let (tally, _) = network.during("the watch ends (drained)", |network| {
        let began = Instant::now();
        network.nodes[0].watch.as_ref().unwrap().signal(Signal::SIGTERM);
        began
    });
    assert_eq!((tally.lost, tally.unsynchronized()), (0, 0), "{tally:?}");
    network.nodes[0].watch();

    // The health ends at once, and clients get the time until the route is gone.
    let ends = network.nodes[0].ends();
    let (tally, _) = network.during("drain --after 2s", |network| {
        let began = Instant::now();
        network.nodes[0].command(&["drain", "--after", "2s"]);
        began
    });
    assert_eq!((tally.lost, tally.unsynchronized()), (0, 0), "{tally:?}");
    assert!(network.nodes[0].ends() > ends, "{tally:?}");
    network.nodes[0].command(&["undrain"]);
    network.both_answer();

    let ends = network.nodes[0].ends();
    let (tally, after) = network.during("answer = \"unsynchronized\"", |network| {
        let began = Instant::now();
        network.nodes[0].reload("answer = \"unsynchronized\"\n");
        began
    });
    assert_eq!(tally.lost, 0, "{tally:?}");
    // A machine that has nothing else to do withdraws the route before any client is told "unsynchronized".
    assert!(after < 0.3 + SLACK && network.nodes[0].ends() > ends, "{tally:?}");
    network.nodes[0].reload("");

    // Until there is no majority any more it serves what it knew, which is right.
    let (tally, _) = network.during("upstreams false", |network| {
        let ends = network.nodes[0].ends();
        network.nodes[0].is_false.store(true, Ordering::Relaxed);
        wait_until("the end of the majority", SOON, || {
            (network.nodes[0].ends() > ends).then_some(())
        });
        Instant::now()
    });
    assert_eq!(tally.lost, 0, "{tally:?}");
    let from = tally.first_unsynchronized.unwrap_or(tally.last_bad);
    assert!(tally.last_bad - from < 0.3 + SLACK, "{tally:?}");
    network.nodes[0].is_false.store(false, Ordering::Relaxed);
    network.both_answer();
}
