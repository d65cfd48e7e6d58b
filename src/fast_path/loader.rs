//! Impure. The program (`program/ntp.bpf.c`) in the kernel, at interfaces, and the memory that it shares with us.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aya::maps::Map;
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfError, EbpfLoader};

use super::layout::{
    AllBoundaries4, AllBoundaries6, BothRules, Cells, CpuCells, LISTENERS, PublishedState, WORD,
};
use super::mode::{AttachMode, Attachment};
use super::requirements;
use crate::host::limits;
use crate::host::sys::bpf::{Shared, attach_xdp};

/// Whether this build has the fast path.
pub const AVAILABLE: bool = true;

/// The object that `program/build` makes from `program/ntp.bpf.c`. A parser of object files wants it aligned.
#[repr(C, align(8))]
struct Object<Bytes: ?Sized>(Bytes);
static OBJECT: &Object<[u8]> = &Object(*include_bytes!("program/ntp.bpf.o"));

/// The program in the kernel, and what it shares with us. It is gone when this is dropped.
#[derive(Debug)]
pub struct Program {
    kernel: Ebpf,
    state: Arc<Shared>,
    rules: Shared,
    boundaries4: Shared,
    boundaries6: Shared,
    counters: Shared,
    cpus: Shared,
}

/// The reason why there is no program.
#[derive(Debug)]
pub enum LoadError {
    /// The kernel, or its verifier, refuses: a remedy, and its words.
    Refused(String, String),
    /// Any other fault.
    Failed(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(remedy, why) => write!(f, "the kernel does not take the program: {why}: {remedy}"),
            Self::Failed(why) => write!(f, "the program can't be loaded: {why}"),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Failed(limits::explain(&error))
    }
}

impl From<EbpfError> for LoadError {
    fn from(error: EbpfError) -> Self {
        Self::of(&error)
    }
}

impl From<ProgramError> for LoadError {
    fn from(error: ProgramError) -> Self {
        Self::of(&error)
    }
}

const RIGHTS: &str =
    "start as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (systemd: the drop-in 20-fast-path.conf)";
/// The remedy where the program's maps count as locked memory, which the kernel refuses in the same words.
const RIGHTS_AND_LOCKED_MEMORY: &str = "start as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and before Linux \
    5.11 with no limit of locked memory (systemd: the drop-in 20-fast-path.conf has both; else `ulimit -l unlimited`)";
const NEEDS: &str = "it needs a 64-bit machine with BPF's JIT compiler";
const VERIFIER: &str = "this is a fault of ntpfront: report it, with the output of `uname -r`";

impl LoadError {
    /// Makes the error of a chain of errors, at whose end is the kernel's own reason.
    ///
    /// The verifier's text is long, so only its last words are kept.
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        if let Some(shortage) = limits::shortage(error) {
            return Self::Failed(shortage);
        }
        let chain = std::iter::successors(Some(error), |error| error.source());
        let kernel = chain.filter_map(|error| error.downcast_ref::<io::Error>()).last();
        let words = error.to_string();
        let Some(kernel) = kernel else {
            return Self::Failed(last_words(&words));
        };
        let too_old = requirements::impossible();
        let locks_memory = requirements::locks_memory();
        let remedy = remedy(kernel.kind(), is_of_verifier(&words), too_old, locks_memory);
        Self::Refused(remedy, format!("{} ({kernel})", last_words(&words)))
    }
}

/// Returns the remedy for a refusal, by the verifier or not, on a kernel that may be too old or count maps as locked memory.
fn remedy(kind: io::ErrorKind, is_of_verifier: bool, too_old: Option<String>, locks_memory: bool) -> String {
    match too_old {
        Some(too_old) => too_old,
        None if is_of_verifier => VERIFIER.to_owned(),
        None if kind == io::ErrorKind::PermissionDenied && locks_memory => {
            RIGHTS_AND_LOCKED_MEMORY.to_owned()
        }
        None if kind == io::ErrorKind::PermissionDenied => RIGHTS.to_owned(),
        None => NEEDS.to_owned(),
    }
}

/// The first words of lines that the verifier writes at the end, whatever it decides.
const STATISTICS: [&str; 3] = ["processed ", "verification time ", "stack depth "];

/// Returns whether these words are the verifier's, which ends its log with the number of instructions that it read.
fn is_of_verifier(words: &str) -> bool {
    words
        .lines()
        .any(|line| line.trim_start().starts_with("processed "))
}

/// Returns the last line of a long text that is a reason.
fn last_words(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut reasons = lines.filter(|line| !STATISTICS.iter().any(|start| line.starts_with(start)));
    let last = reasons.next_back().unwrap_or_default();
    last.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// A program's place at an interface; it is free again when this is dropped, or the process is gone.
#[derive(Debug)]
pub struct Link(#[expect(dead_code, reason = "it stays attached while this is held")] OwnedFd);

impl Program {
    /// Loads it, with `places` for clients. Needs `CAP_BPF`, `CAP_NET_ADMIN` and `CAP_PERFMON`, or root.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load(places: u32) -> Result<Self, LoadError> {
        if let Ok(program) = Self::load_object(&OBJECT.0, places) {
            return Ok(program);
        }
        // Before Linux 5.18 no program can take packets of several pages.
        Self::load_object(&without_fragments(), places)
    }

    /// Loads this object, which has to be aligned to 8 bytes, as [`Program::load`] loads the built one.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn load_object(object: &[u8], places: u32) -> Result<Self, LoadError> {
        let cpus = nr_cpus().map_err(|(_, error)| LoadError::from(error))?;
        let entries = cpus.saturating_mul(LISTENERS);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mut kernel = EbpfLoader::new()
            .map_max_entries("counters", number(entries))
            .map_max_entries("cpus", number(cpus))
            .map_max_entries("clients", places.max(1))
            .load(object)?;
        program(&mut kernel)?.load()?;
        Ok(Self {
            state: Arc::new(shared::<PublishedState>(&kernel, "state", 1)?),
            rules: shared::<BothRules>(&kernel, "rules", 1)?,
            boundaries4: shared::<AllBoundaries4>(&kernel, "boundaries4", 1)?,
            boundaries6: shared::<AllBoundaries6>(&kernel, "boundaries6", 1)?,
            counters: shared::<Cells>(&kernel, "counters", entries)?,
            cpus: shared::<CpuCells>(&kernel, "cpus", cpus)?,
            kernel,
        })
    }

    /// Attaches it to the interface of this number, in the best way that `mode` allows.
    ///
    /// Another program that is there already stays there. Needs no right: only the program.
    ///
    /// # Errors
    /// The kernel's answer to the last way that was tried.
    pub fn attach(&self, interface: u32, mode: AttachMode) -> io::Result<(Link, Attachment)> {
        let program = self.kernel.program(NAME).ok_or(io::ErrorKind::NotFound)?;
        let fd = program.fd().map_err(io::Error::other)?;
        let mut outcome = Err(io::Error::from(io::ErrorKind::Unsupported));
        for attachment in mode.candidates() {
            let link = attach_xdp(fd.as_fd(), interface, attachment.flags());
            outcome = link.map(|link| (Link(link), *attachment));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Returns the map `state`: the time that is served.
    pub fn state(&self) -> &[AtomicU64] {
        self.state.words()
    }

    /// Returns the same for another thread.
    pub fn shared_state(&self) -> Arc<Shared> {
        Arc::clone(&self.state)
    }

    /// Returns the map `rules`: the decisions about requests.
    pub fn rules(&self) -> &[AtomicU64] {
        self.rules.words()
    }

    /// The boundaries of access lists, for IPv4: the map `boundaries4`.
    pub fn boundaries4(&self) -> &[AtomicU64] {
        self.boundaries4.words()
    }

    /// The same for IPv6: the map `boundaries6`.
    pub fn boundaries6(&self) -> &[AtomicU64] {
        self.boundaries6.words()
    }

    /// Returns the map `counters`: the counts of all CPUs.
    pub fn counters(&self) -> &[AtomicU64] {
        self.counters.words()
    }

    /// Returns the map `cpus`: the answers at each interface, and the samples for the census.
    pub fn cpus(&self) -> &[AtomicU64] {
        self.cpus.words()
    }

    /// Runs it on `frame`, as if that came to the loopback interface (for tests).
    ///
    /// Returns its decision (linux/bpf.h, `enum xdp_action`), and the frame as it left it.
    ///
    /// # Errors
    /// The error of `bpf(2)`.
    pub fn try_on(&mut self, frame: &[u8]) -> io::Result<(u32, Vec<u8>)> {
        let mut out = vec![0; frame.len() + 256];
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.data_out = Some(&mut out);
        let program = program(&mut self.kernel).map_err(io::Error::other)?;
        let result = program.test_run(options).map_err(io::Error::other)?;
        out.truncate(usize::try_from(result.data_size_out).unwrap_or(0));
        Ok((result.return_value, out))
    }
}

/// Returns the object with its program in the section `xdp` instead of `xdp.frags`: for packets of one page alone.
///
/// The name is one of those that end with a zero: it ends where the dot was. So does that of its relocations.
fn without_fragments() -> Vec<u8> {
    const FRAGMENTS: &[u8] = b"xdp.frags\0";
    let mut object = OBJECT.0.to_vec();
    let names = object.windows(FRAGMENTS.len()).enumerate();
    let found: Vec<usize> = names
        .filter(|(_, window)| *window == FRAGMENTS)
        .map(|(at, _)| at)
        .collect();
    for at in found {
        if let Some(dot) = object.get_mut(at + 3) {
            *dot = 0;
        }
    }
    object
}

/// The program's name in the object.
const NAME: &str = "ntp";

fn program(kernel: &mut Ebpf) -> Result<&mut Xdp, LoadError> {
    let program = kernel.program_mut(NAME).ok_or(io::ErrorKind::NotFound);
    let program = program.map_err(io::Error::from)?;
    program.try_into().map_err(LoadError::from)
}

/// Returns the memory of a map that has `entries` of one type.
fn shared<Entry>(kernel: &Ebpf, name: &str, entries: usize) -> Result<Shared, LoadError> {
    let words = (size_of::<Entry>() / WORD).saturating_mul(entries);
    let Some(Map::Array(map)) = kernel.map(name) else {
        return Err(LoadError::Failed(format!("it has no map {name}")));
    };
    // Both sides have to agree on the layout.
    let info = map.info().map_err(|error| LoadError::of(&error))?;
    let bytes = u64::from(info.value_size()) * u64::from(info.max_entries());
    if u64::try_from(words).ok() != Some(bytes / 8) {
        return Err(LoadError::Failed(format!(
            "its map {name} has {bytes} bytes: build ntp.bpf.o again"
        )));
    }
    Ok(Shared::of(map.fd().as_fd(), words)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of Linux 6.1's log of a program that it refused.
    const LOG: &str = "the BPF_PROG_LOAD syscall returned Invalid argument (os error 22).\n\
        Verifier output: 750: (bf) r1 = r9 ; R1_w=scalar()\n\
        751: (0f) r7 += r1\n\
        math between map_value pointer and register with unbounded min value is not allowed\n\
        verification time 8123 usec\n\
        stack depth 232+48+64\n\
        processed 10823 insns (limit 1000000) max_states_per_insn 14 total_states 341\n";

    #[test]
    fn the_verifiers_reason_is_told_and_not_its_statistics() {
        let reason = "math between map_value pointer and register with unbounded min value is not allowed";
        assert_eq!(last_words(LOG), reason);
        assert!(is_of_verifier(LOG) && !is_of_verifier("Operation not permitted"));
        assert_eq!(last_words("processed 3 insns\n\n"), "");
    }

    #[test]
    fn each_refusal_has_its_remedy() {
        use io::ErrorKind::{InvalidInput, PermissionDenied};
        let old = || Some("it needs Linux 5.10".to_owned());
        for (kind, is_of_verifier, too_old, locks_memory, expected) in [
            (PermissionDenied, false, None, false, RIGHTS),
            (PermissionDenied, false, None, true, RIGHTS_AND_LOCKED_MEMORY),
            (PermissionDenied, true, None, true, VERIFIER),
            (InvalidInput, true, None, false, VERIFIER),
            (InvalidInput, false, None, true, NEEDS),
            (InvalidInput, true, old(), true, "it needs Linux 5.10"),
        ] {
            assert_eq!(remedy(kind, is_of_verifier, too_old, locks_memory), expected);
        }
    }
}
