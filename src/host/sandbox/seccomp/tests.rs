//! Impure. Tests of the filters: the kernel's answer to each call, and what threads can do with them applied.

use super::*;
use crate::host::sys::Batch;
use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use libc::{c_int, c_long};
use nix::sys::prctl::set_dumpable;
use nix::sys::signal::Signal;
use nix::unistd::{chown, execv};

#[track_caller]
fn denied<T>(result: io::Result<T>) {
    assert_eq!(
        result.err().and_then(|error| error.raw_os_error()),
        Some(libc::EPERM)
    );
}

/// Filters belong to a thread, so that they can be tried here.
fn in_a_thread_with(filters: Vec<BpfProgram>, job: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        filters.iter().for_each(|filter| apply_filter(filter).unwrap());
        job();
    });
    thread.join().unwrap();
}

const ALL: NeededCalls = NeededCalls {
    attaches: true,
    journal: true,
    records: true,
};

fn of_all_threads(needs: NeededCalls) -> Vec<BpfProgram> {
    vec![
        of_deadly(needs).unwrap(),
        of_process(needs).unwrap(),
        of_future().unwrap(),
    ]
}

fn of_a_worker(needs: NeededCalls) -> Vec<BpfProgram> {
    let mut filters = of_all_threads(needs);
    filters.push(super::of_workers().unwrap());
    filters
}

#[test]
fn a_worker_serves_waits_and_panics_and_does_nothing_else() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client.send_to(&[1; 48], server.local_addr().unwrap()).unwrap();
    in_a_thread_with(of_a_worker(NeededCalls::default()), move || {
        let mut batch = Batch::new(4);
        assert_eq!(batch.receive(server.as_fd(), 4).unwrap(), 1);
        batch.datagram(0).unwrap().reply.fill(2);
        batch.reply(0, 48);
        assert_eq!(batch.send(server.as_fd()).sent, 1);
        thread::sleep(Duration::from_millis(1));
        denied(server.set_nonblocking(true));
        denied(server.set_read_timeout(None));
        // Large enough to be mapped, and given back.
        drop(vec![1_u8; 1 << 24]);
        denied(File::open("/etc/hosts"));
        denied(UdpSocket::bind("127.0.0.1:0"));
        denied(server.connect("127.0.0.1:1"));
        denied(server.try_clone());
        // musl reports no other reason for a missing thread.
        let no_thread = if cfg!(target_env = "musl") {
            libc::EAGAIN
        } else {
            libc::EPERM
        };
        let error = thread::Builder::new().spawn(|| ()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(no_thread));
        assert!(std::panic::catch_unwind(|| panic!("a worker can still say why")).is_err());
    });
    assert_eq!(client.recv(&mut [0; 100]).unwrap(), 48);
}

fn of_a_ke_thread() -> Vec<BpfProgram> {
    let mut filters = of_all_threads(NeededCalls::default());
    filters.push(super::of_key_establishment().unwrap());
    filters
}

#[test]
fn a_thread_of_key_establishment_accepts_and_answers_and_does_nothing_else() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = thread::spawn(move || {
        let mut client = std::net::TcpStream::connect(address).unwrap();
        io::Write::write_all(&mut client, &[1; 100]).unwrap();
        let mut answer = Vec::new();
        io::Read::read_to_end(&mut client, &mut answer).unwrap();
        answer
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    in_a_thread_with(of_a_ke_thread(), move || {
        listener.set_nonblocking(true).unwrap_err();
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 100];
        io::Read::read_exact(&mut stream, &mut request).unwrap();
        let pieces = [io::IoSlice::new(&[2; 10]), io::IoSlice::new(&[3; 10])];
        assert_eq!(io::Write::write_vectored(&mut stream, &pieces).unwrap(), 20);
        crate::host::tcp::reset(&stream);
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        runtime.block_on(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            // Another thread's task is ended by waking that thread.
            let task = tokio::spawn(std::future::pending::<()>());
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        });
        denied(File::open("/etc/hosts"));
        denied(UdpSocket::bind("127.0.0.1:0"));
        denied(std::net::TcpListener::bind("127.0.0.1:0"));
        denied(std::net::TcpStream::connect(address));
        denied(stream.set_read_timeout(Some(Duration::from_secs(1))));
        assert!(thread::Builder::new().spawn(|| ()).is_err());
        assert!(std::panic::catch_unwind(|| panic!("it can still say why")).is_err());
    });
    assert_eq!(client.join().unwrap().len(), 20);
}

#[test]
fn the_process_can_do_what_it_needs_and_not_more() {
    in_a_thread_with(of_all_threads(NeededCalls::default()), || {
        File::open("/etc/hosts").unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap();
        thread::spawn(|| ()).join().unwrap();
        denied(std::fs::create_dir("/tmp/ntpfront-must-not-be"));
        denied(std::os::unix::fs::symlink("/a", "/tmp/ntpfront-must-not-be"));
        denied(UnixDatagram::unbound());
        denied(fs::set_permissions("/tmp", fs::Permissions::from_mode(0o777)));
        denied(fs::remove_file("/tmp/ntpfront-must-not-be"));
        denied(fs::rename(
            "/tmp/ntpfront-must-not-be",
            "/tmp/ntpfront-must-not-be",
        ));
        denied(chown("/tmp", None, None).map_err(io::Error::from));
        denied(set_dumpable(true).map_err(io::Error::from));
        nix::ifaddrs::getifaddrs().unwrap();
    });
    in_a_thread_with(of_all_threads(ALL), || {
        UnixDatagram::unbound().unwrap();
        denied(UnixListener::bind("/tmp/ntpfront-must-not-be"));
    });
}

/// Returns what the kernel does to a call with these arguments.
///
/// It runs the filters as the kernel does (seccomp(2), classic BPF), and takes the strictest answer.
fn answer(filters: &[BpfProgram], call: libc::c_long, arguments: [u64; 6]) -> CallResult {
    // struct seccomp_data: the call, the architecture, the address of the instruction, the arguments.
    let call = u32::try_from(call).unwrap();
    let mut words = vec![call, ARCHITECTURE, 0, 0];
    for argument in arguments {
        let [low, high] = [argument & u64::from(u32::MAX), argument >> 32];
        words.extend([low, high].map(|half| u32::try_from(half).unwrap()));
    }
    let returned = filters.iter().map(|filter| match run(filter, &words) {
        0x8000_0000 => CallResult::Kills,
        0x7fff_0000 => CallResult::Open,
        other => CallResult::Fails(other & 0xffff),
    });
    returned.max().unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CallResult {
    Open,
    Fails(u32),
    Kills,
}

const REFUSED: CallResult = CallResult::Fails(libc::EPERM as u32);
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

fn run(filter: &BpfProgram, words: &[u32]) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let step = &filter[at];
        at += 1;
        let jump = |is: bool| usize::from(if is { step.jt } else { step.jf });
        match step.code {
            0x20 => accumulator = words[step.k as usize / 4],
            0x54 => accumulator &= step.k,
            0x05 => at += step.k as usize,
            0x15 => at += jump(accumulator == step.k),
            0x25 => at += jump(accumulator > step.k),
            0x35 => at += jump(accumulator >= step.k),
            0x06 => return step.k,
            other => panic!("an instruction that this test doesn't know: {other:#x}"),
        }
    }
}

/// Returns the calls that are permitted with some arguments: each known call with those that the tables name.
fn open(filters: &[BpfProgram], judged: &[Judged]) -> Vec<libc::c_long> {
    let is_open = |call: &libc::c_long| {
        let of_it = judged.iter().filter(|judged| judged.call == *call);
        let asked = of_it.flat_map(|judged| &judged.any_of).map(|tests| {
            let mut arguments = [0; 6];
            for test in tests {
                arguments[usize::from(test.index)] = u64::from(test.value);
            }
            arguments
        });
        let plain = [[u64::from(u32::MAX); 6]];
        asked
            .chain(plain)
            .any(|arguments| answer(filters, *call, arguments) == CallResult::Open)
    };
    (0..=calls::NEWEST).filter(is_open).collect()
}

/// The numbers that packaging/doc/privileges.md states. A further one must not come unnoticed.
#[test]
fn so_many_calls_are_open() {
    let pid = own_number();
    let of_process = |needs| open(&of_all_threads(needs), &arguments::of_process(needs, pid)).len();
    let of_worker = open(&of_a_worker(ALL), &arguments::of_workers(pid)).len();
    let of_ke = open(&of_a_ke_thread(), &arguments::of_key_establishment(pid)).len();
    let found = [
        of_process(NeededCalls::default()),
        of_process(ALL),
        of_worker,
        of_ke,
    ];
    println!(
        "open: the process {}, with journald and the fast path {}; a worker {}; key establishment {}",
        found[0], found[1], found[2], found[3]
    );
    let expected = if cfg!(target_arch = "x86_64") {
        X86_64
    } else {
        AARCH64
    };
    assert_eq!(found, expected);
    let document = include_str!("../../../../packaging/doc/privileges.md");
    let said = format!(
        "{} system calls for the process, {} for a worker, and {} for a thread of key establishment",
        X86_64[0], X86_64[2], X86_64[3]
    );
    assert!(document.contains(&said), "privileges.md does not say: {said}");
}

const X86_64: [usize; 4] = [99, 109, 39, 42];
const AARCH64: [usize; 4] = [91, 99, 37, 40];

/// Calls with their first arguments: those that every process may make, and those that none may.
type Uses = Vec<(libc::c_long, [c_int; 3])>;

const INET: [c_int; 2] = [libc::AF_INET, libc::AF_INET6];
const FLAGS: c_int = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
const MPTCP: c_int = 262;

fn internet_sockets() -> (Uses, Uses) {
    let (mut open, mut refused) = (Vec::new(), Vec::new());
    for family in INET {
        for flags in [0, FLAGS, libc::SOCK_CLOEXEC] {
            open.push((libc::SYS_socket, [family, libc::SOCK_DGRAM | flags, 0]));
            open.push((
                libc::SYS_socket,
                [family, libc::SOCK_DGRAM | flags, libc::IPPROTO_UDP],
            ));
            open.push((libc::SYS_socket, [family, libc::SOCK_STREAM | flags, 0]));
            open.push((
                libc::SYS_socket,
                [family, libc::SOCK_STREAM | flags, libc::IPPROTO_TCP],
            ));
            for protocol in [MPTCP, libc::IPPROTO_SCTP, libc::IPPROTO_UDP, 5] {
                refused.push((libc::SYS_socket, [family, libc::SOCK_STREAM | flags, protocol]));
            }
            for protocol in [
                libc::IPPROTO_ICMP,
                libc::IPPROTO_ICMPV6,
                libc::IPPROTO_UDPLITE,
                libc::IPPROTO_TCP,
            ] {
                refused.push((libc::SYS_socket, [family, libc::SOCK_DGRAM | flags, protocol]));
            }
            for kind in [
                libc::SOCK_RAW,
                libc::SOCK_SEQPACKET,
                libc::SOCK_RDM,
                libc::SOCK_DCCP,
            ] {
                refused.push((libc::SYS_socket, [family, kind | flags, 0]));
            }
        }
    }
    (open, refused)
}

fn other_sockets() -> (Uses, Uses) {
    let mut refused = Vec::new();
    let route = [libc::AF_NETLINK, libc::SOCK_RAW | FLAGS, libc::NETLINK_ROUTE];
    let open = vec![(libc::SYS_socket, route)];

    for protocol in 1..32 {
        refused.push((libc::SYS_socket, [libc::AF_NETLINK, libc::SOCK_RAW, protocol]));
    }
    refused.push((
        libc::SYS_socket,
        [libc::AF_NETLINK, libc::SOCK_DGRAM, libc::NETLINK_ROUTE],
    ));
    for family in (0..46).filter(|family| !INET.contains(family)) {
        refused.push((libc::SYS_socket, [family, libc::SOCK_STREAM, 0]));
        refused.push((libc::SYS_socket, [family, libc::SOCK_DGRAM, 0]));
    }
    (open, refused)
}

fn other_uses(pid: c_int) -> (Uses, Uses) {
    let (mut open, mut refused) = (Vec::new(), Vec::new());
    let thread = libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND;
    open.push((libc::SYS_clone, [thread, 0, 0]));
    refused.push((libc::SYS_clone, [libc::SIGCHLD, 0, 0]));
    refused.push((libc::SYS_clone, [thread | libc::CLONE_NEWUSER, 0, 0]));
    open.push((libc::SYS_ioctl, [7, 0x5421, 0]));
    for request in [0x5412, 0x5401, 0x8914, 0] {
        refused.push((libc::SYS_ioctl, [7, request, 0]));
    }
    open.push((libc::SYS_prctl, [libc::PR_SET_NAME, 0, 0]));
    for option in [
        libc::PR_SET_DUMPABLE,
        libc::PR_SET_MM,
        libc::PR_SET_PTRACER,
        libc::PR_CAP_AMBIENT,
        libc::PR_SET_SECCOMP,
    ] {
        refused.push((libc::SYS_prctl, [option, 1, 0]));
    }
    open.push((libc::SYS_fcntl, [7, libc::F_GETFL, 0]));
    for command in [libc::F_SETOWN, libc::F_SETLEASE, libc::F_NOTIFY, libc::F_DUPFD] {
        refused.push((libc::SYS_fcntl, [7, command, 0]));
    }
    open.push((libc::SYS_tgkill, [pid, 1, 0]));
    refused.push((libc::SYS_tgkill, [1, 1, 9]));
    open.push((libc::SYS_prlimit64, [0, 7, 0]));
    refused.push((libc::SYS_prlimit64, [1, 7, 0]));
    open.push((libc::SYS_mmap, [0, 0, libc::PROT_READ | libc::PROT_WRITE]));
    refused.push((libc::SYS_mmap, [0, 0, libc::PROT_READ | libc::PROT_EXEC]));
    for call in [
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_linkat,
        libc::SYS_symlinkat,
        libc::SYS_mkdirat,
        libc::SYS_mknodat,
        libc::SYS_setresuid,
        libc::SYS_setfsuid,
        libc::SYS_umask,
        libc::SYS_kill,
    ] {
        refused.push((call, [0; 3]));
    }
    (open, refused)
}

/// The recorder writes files, and nothing else.
#[test]
fn the_recorder_makes_no_socket_and_no_thread() {
    let mut filters = of_all_threads(ALL);
    filters.push(of_recorder().unwrap());
    for (call, expected) in [
        (libc::SYS_openat, CallResult::Open),
        (libc::SYS_write, CallResult::Open),
        (libc::SYS_fdatasync, CallResult::Open),
        (libc::SYS_renameat, CallResult::Open),
        (libc::SYS_unlinkat, CallResult::Open),
        (libc::SYS_socket, REFUSED),
        (libc::SYS_connect, REFUSED),
        (libc::SYS_sendto, REFUSED),
        (libc::SYS_clone, REFUSED),
        (libc::SYS_seccomp, REFUSED),
        (libc::SYS_capset, REFUSED),
        (libc::SYS_adjtimex, REFUSED),
    ] {
        assert_eq!(answer(&filters, call, [0; 6]), expected, "{call}");
    }
}

#[test]
fn arguments_decide() {
    let process = of_all_threads(NeededCalls::default());
    let rich = of_all_threads(ALL);
    let worker = of_a_worker(ALL);
    let tables = [internet_sockets(), other_sockets(), other_uses(own_number())];
    let (open, refused): (Vec<_>, Vec<_>) = tables.into_iter().unzip();
    let (open, refused) = (open.concat(), refused.concat());
    let full = |arguments: [c_int; 3]| {
        let [a, b, c] = arguments.map(|argument| u64::from(argument.cast_unsigned()));
        // The kernel doesn't look at the upper half of an int, and neither may the filter.
        [a | 0xdead << 32, b, c, 0, 0, 0]
    };
    for (call, arguments) in &open {
        assert_eq!(
            answer(&process, *call, full(*arguments)),
            CallResult::Open,
            "{call} {arguments:?}"
        );
        assert_eq!(
            answer(&rich, *call, full(*arguments)),
            CallResult::Open,
            "{call} {arguments:?}"
        );
    }
    let journal = (libc::SYS_socket, [libc::AF_UNIX, libc::SOCK_DGRAM, 0]);
    for (call, arguments) in &refused {
        assert_eq!(
            answer(&process, *call, full(*arguments)),
            REFUSED,
            "{call} {arguments:?}"
        );
        let is_of_record = calls::OF_RECORD.contains(call);
        let of_rich = if (*call, *arguments) == journal || is_of_record {
            CallResult::Open
        } else {
            REFUSED
        };
        assert_eq!(
            answer(&rich, *call, full(*arguments)),
            of_rich,
            "{call} {arguments:?}"
        );
        assert_eq!(
            answer(&worker, *call, full(*arguments)),
            REFUSED,
            "{call} {arguments:?}"
        );
    }
    for (command, with, without) in [
        (28, CallResult::Open, CallResult::Kills),
        (5, CallResult::Kills, CallResult::Kills),
    ] {
        assert_eq!(answer(&rich, libc::SYS_bpf, full([command, 0, 0])), with);
        assert_eq!(answer(&process, libc::SYS_bpf, full([command, 0, 0])), without);
        assert_ne!(
            answer(&worker, libc::SYS_bpf, full([command, 0, 0])),
            CallResult::Open
        );
    }
    for call in [
        libc::SYS_socket,
        libc::SYS_bind,
        libc::SYS_connect,
        libc::SYS_setsockopt,
        libc::SYS_ioctl,
        libc::SYS_prctl,
        libc::SYS_openat,
    ] {
        assert_eq!(answer(&worker, call, full([2, 2, 0])), REFUSED, "{call}");
    }
    assert_eq!(
        answer(&worker, libc::SYS_write, full([2, 0, 0])),
        CallResult::Open
    );
    assert_eq!(answer(&worker, libc::SYS_write, full([7, 0, 0])), REFUSED);
}

/// A table without an alternative would be a call that is always open.
#[test]
fn nothing_is_open_for_want_of_a_word() {
    let of_process = arguments::of_process(ALL, 1).into_iter();
    let mut tables: Vec<(Judged, Vec<c_long>)> = of_process
        .map(|judged| (judged, calls::OF_PROCESS.to_vec()))
        .collect();
    for (judged, open) in [
        (arguments::of_workers(1), calls::OF_WORKERS),
        (arguments::of_key_establishment(1), calls::OF_KEY_ESTABLISHMENT),
        (arguments::of_recorder(1), calls::OF_RECORDER),
    ] {
        let open = [calls::OF_THREADS, open].concat();
        tables.extend(judged.into_iter().map(|judged| (judged, open.clone())));
    }
    for (judged, always_open) in tables {
        let unasked = judged.any_of.iter().any(Vec::is_empty);
        assert!(!judged.any_of.is_empty(), "{}", judged.call);
        assert!(
            !unasked || judged.call == libc::SYS_memfd_create,
            "{}",
            judged.call
        );
        assert!(!always_open.contains(&judged.call), "{}", judged.call);
    }
}

/// Plays its own child, as the whole process is killed.
#[test]
fn to_execute_a_program_is_deadly() {
    const CHILD: &str = "NTPFRONT_DEADLY";
    if std::env::var_os(CHILD).is_some() {
        limit_process(NeededCalls::default()).unwrap();
        println!("limited");
        let error = execv(c"/bin/true", &[c"/bin/true"]).unwrap_err();
        panic!("it lives on: {error}");
    }
    let name = thread::current().name().unwrap().to_owned();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("limited"), "{said}");
    assert_eq!(child.status.signal(), Some(Signal::SIGSYS as i32), "{child:?}");
}

#[test]
fn no_call_is_deadly_and_needed() {
    let of_threads = [
        calls::OF_THREADS,
        calls::OF_WORKERS,
        calls::OF_KEY_ESTABLISHMENT,
        calls::OF_RECORDER,
    ]
    .concat();
    for call in calls::OF_PROCESS
        .iter()
        .chain(calls::OF_RECORD)
        .chain(&of_threads)
    {
        assert!(!calls::DEADLY.contains(call), "{call}");
        assert!(*call <= calls::NEWEST, "{call}");
    }
    // A thread's filter comes after that of the process.
    let process = calls::OF_PROCESS;
    let useless: Vec<_> = of_threads.iter().filter(|call| !process.contains(call)).collect();
    assert!(useless.is_empty(), "{useless:?}");
}
