//! Impure. Real sockets in real directories; as root, since the risk is in what root does.

use super::*;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::mkdtemp;

/// Some user and group; they need not exist.
const THEM: (u32, u32) = (54_321, 54_322);

fn them() -> Option<(Uid, Gid)> {
    Some((Uid::from_raw(THEM.0), Gid::from_raw(THEM.1)))
}

/// Runs in a thread with a umask of its own; not at all where `tests/run` left root out.
fn as_root_alone(inside: impl FnOnce(PathBuf) + Send + 'static) {
    let without = std::env::var("NTPFRONT_WITHOUT").unwrap_or_default();
    if without.split_whitespace().any(|word| word == "root") {
        return;
    }
    assert!(
        geteuid().is_root(),
        "this test needs root: leave it out with NTPFRONT_WITHOUT=root"
    );
    let top = mkdtemp(&std::env::temp_dir().join("ntpfront-socket-XXXXXX")).unwrap();
    mode(&top, 0o755);
    let of_thread = top.clone();
    thread::spawn(move || {
        unshare(CloneFlags::CLONE_FS).unwrap();
        inside(of_thread);
    })
    .join()
    .unwrap();
    fs::remove_dir_all(top).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn directory(top: &Path, name: &str, owner: (u32, u32), bits: u32) -> PathBuf {
    let path = top.join(name);
    fs::create_dir(&path).unwrap();
    chown(&path, Some(owner.0), Some(owner.1)).unwrap();
    mode(&path, bits);
    path
}

/// User, group and mode.
fn about(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

#[test]
fn user_group_and_mode_are_as_documented() {
    as_root_alone(|top| {
        umask(Mode::empty());
        let roots = directory(&top, "roots", (0, 0), 0o755);
        let theirs = directory(&top, "theirs", THEM, 0o755);
        let group = directory(&top, "group", (0, 9), 0o2755);
        let everybody = directory(&top, "everybody", (0, 0), 0o1777);
        for (directory, expected) in [
            (&roots, (THEM.0, THEM.1, 0o660)),
            (&theirs, (THEM.0, THEM.1, 0o660)),
            (&group, (THEM.0, 9, 0o660)),
            (&everybody, (THEM.0, THEM.1, 0o660)),
        ] {
            let path = directory.join("socket");
            let first = open(&path, them()).unwrap();
            assert_eq!(about(&path), expected, "{path:?}");
            let taken = open(&path, them()).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse, "{path:?}");
            drop(first);
            // The dead one is replaced.
            let _second = open(&path, them()).unwrap();
            assert_eq!(about(&path), expected, "{path:?}");
        }
        let ours = roots.join("ours");
        let _ours = open(&ours, None).unwrap();
        assert_eq!(about(&ours), (0, 0, 0o660));
        // No file is removed except a dead socket.
        fs::write(roots.join("file"), "").unwrap();
        assert!(open(&roots.join("file"), them()).is_err());
        // It is all again as it was.
        assert_eq!(umask(Mode::empty()), Mode::empty());
        fs::write(roots.join("roots"), "").unwrap();
        assert_eq!(about(&roots.join("roots")), (0, 0, 0o666));
    });
}

#[test]
fn root_lends_nothing_in_a_directory_of_others() {
    as_root_alone(|top| {
        let strangers = directory(&top, "strangers", (12_345, 12_345), 0o755);
        let error = open(&strangers.join("socket"), them()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("as user 54321"), "{error}");
        // A link to a place of root's, as the directory's owner may put it there.
        let secret = directory(&top, "secret", (0, 0), 0o755);
        let theirs = directory(&top, "theirs", THEM, 0o755);
        symlink(secret.join("socket"), theirs.join("socket")).unwrap();
        assert!(open(&theirs.join("socket"), them()).is_err());
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 0);
    });
}

/// A user keeps swapping its directory with a link to one of root's: no file of root's ever becomes the user's.
#[test]
fn a_link_that_is_swapped_in_hits_nothing() {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    as_root_alone(|top| {
        let home = directory(&top, "home", THEM, 0o755);
        let run = directory(&home, "run", THEM, 0o755);
        let secret = directory(&top, "secret", (0, 0), 0o755);
        // The files that root would change after a swap: a file, and a dead socket of root's.
        fs::write(secret.join("file"), "root's").unwrap();
        mode(&secret.join("file"), 0o600);
        drop(UnixListener::bind(secret.join("socket")).unwrap());
        mode(&secret.join("socket"), 0o600);
        let before = [about(&secret.join("file")), about(&secret.join("socket"))];
        let goes_on = Arc::new(AtomicBool::new(true));
        let swapper = {
            let (goes_on, run, aside) = (Arc::clone(&goes_on), run.clone(), home.join("aside"));
            let secret = secret.clone();
            thread::spawn(move || {
                while goes_on.load(Ordering::Relaxed) {
                    let _ = fs::rename(&run, &aside);
                    let _ = symlink(&secret, &run);
                    let _ = fs::remove_file(&run);
                    let _ = fs::rename(&aside, &run);
                }
            })
        };
        let mut opened = 0;
        // On a busy host the directory may be away all the time at first.
        for attempt in 0..2_000_000 {
            for name in ["socket", "file"] {
                opened += usize::from(open(&run.join(name), them()).is_ok());
            }
            if attempt >= 2000 && opened > 0 {
                break;
            }
        }
        goes_on.store(false, Ordering::Relaxed);
        swapper.join().unwrap();
        assert!(opened > 0);
        assert_eq!(
            [about(&secret.join("file")), about(&secret.join("socket"))],
            before
        );
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 2);
    });
}

/// A frozen server accepts nothing, and its queue gets full: a client must not hang there.
#[test]
fn a_full_queue_is_not_waited_for_longer_than_the_limit() {
    let directory = mkdtemp(&std::env::temp_dir().join("ntpfront-socket-XXXXXX")).unwrap();
    let path = directory.join("socket");
    let address = UnixAddr::new(&path).unwrap();
    let server = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    let limit = Duration::from_millis(50);
    let kind = |path: &Path| connect(path, limit).map(drop).map_err(|error| error.kind());
    assert_eq!(kind(&path), Err(io::ErrorKind::NotFound));
    nix::sys::socket::bind(server.as_raw_fd(), &address).unwrap();
    assert_eq!(kind(&path), Err(io::ErrorKind::ConnectionRefused));
    nix::sys::socket::listen(&server, nix::sys::socket::Backlog::new(1).unwrap()).unwrap();
    let waiting: Vec<_> = std::iter::from_fn(|| connect(&path, limit).ok())
        .take(10)
        .collect();
    assert!((1..10).contains(&waiting.len()), "{}", waiting.len());
    let start = crate::host::clock::raw();
    assert_eq!(kind(&path), Err(io::ErrorKind::WouldBlock));
    assert!(crate::host::clock::raw() - start >= limit);
    fs::remove_dir_all(directory).unwrap();
}
