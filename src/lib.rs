//! ntpfront: an NTP server that fronts several upstream servers, on every core, without touching the host's clock.
//!
//! This page is the map. The program (`main.rs`) only hands its arguments to these rooms:
//!
//! | room | what lives there |
//! | --- | --- |
//! | [`cli`] | the flags and subcommands, as words |
//! | [`commands`] | the subcommands, one a file: what each asks for, prints and ends with |
//! | [`config`] | an operator's words: said (`raw`) → meant (`validate`), with all faults and their places; and those of chronyd, ntpd and ntpd-rs (`import`) |
//! | [`time`] | the ground: timestamp, duration and short format of NTP, what the host's clocks read, the timescale of samples (pure) |
//! | [`mod@published`] | a value that one thread gives to others, which never wait for it; tried with a model checker |
//! | [`wire`] | NTP on the wire: header, extension fields and MAC, reference ID (pure) |
//! | [`nts`] | Network Time Security: `aead` (both AEADs, for a batch of packets), the `keys` of an association, which a `cookie` holds, sealed under a key of the `keyring`; `server`: from a request to its keys, from a header to a sealed reply; `ke`: both sides of key establishment, inside TLS (pure) |
//! | [`mod@clock`] | what is announced: the `model` of the served clock, the system `variables`, how they age, how they reach the workers (`publish`) and the next process (`handover`) |
//! | [`mod@hash`] | a keyed hash of addresses (pure) |
//! | [`census`] | who asks: counts of clients in a fixed memory, by estimate (pure) |
//! | [`server`] | a client's packet: `worker` (thread; `settings`, `batch_sizer`) → `respond` (t3 by `transmit_predictor`), by `policy` (`access`, `limit`, `budget`; pure) → `worker`; each has one `verdict` |
//! | [`fast`] | the kernel's fast path: the time (`line`) and who is answered (`rules`), as words for the program `host/xdp/ntp.bpf.c` (pure) |
//! | [`upstream`] | an upstream's sample: `poller` (task) → `identity`, `addresses` (whom), `fault`, `packet`, `association`, `filter`, `candidate`, `select`, `system_process`, `discipline`, `leap` (pure) |
//! | [`observe`] | the log, and the `throttle` that lets the network write a line a minute and kind at most; the `snapshot` of everything (`clock_status`, `upstream_status`), and what is made from it: `status_text`, `metrics`, `health`; the NTP `pool`'s rules (pure); and `clients_text`: the census |
//! | [`host`] | what the OS gives: sockets, `sys` (the only unsafe code), clock, randomness, names, `limits`, the kernel's news of the network (`changes`), files kept in reach (`anchor`, `opener`), UNIX sockets, privileges, `sandbox` |
//! | [`control`] | how the running server is asked about itself: the `protocol` of its control socket (pure), its ends `client` and `server`; and `http` |
//! | [`supervisor`] | owns every handle: the order of the start (`start`, `confine`), the loop, the end; `inspect`: the snapshot of all; what it `needs` and which listeners it waits for (`absence`) is pure |
//!
//! The first line of a file says whether it is **pure** (a function of its arguments, time and randomness
//! included: no sockets, threads, files, log) or **impure** (thin, touches the world). Decisions live in pure files.
//! Who may use whom is held by `tests/layers.rs`: `time`, `hash` and `published` use nothing of ours, `wire` and `host` only `time`, `nts` only `wire`;
//! `server` and `upstream` never each other; only `supervisor` knows all that runs, and `commands` what a subcommand needs.
//!
//! What is to be seen comes from the supervisor, as a snapshot (`supervisor::inspect`), through [`control::server`] or
//! [`control::http`]; workers only count, in cells of their own.
//!
//! # Three journeys
//!
//! ```text
//! packet   host::sys --batch, as large as batch_sizer says--> server::respond(request, t3, rule, &variables, &mut reply) -> verdict
//!          t2: the kernel's stamp; t3: the clock, or in a batch of more than eight when transmit_predictor expects this reply to be sent
//!          rule: policy of the listener (exchange: the newest, once a batch) -> access -> limit -> budget -> answer, kiss, silence
//!          --batch--> host::sys -> census                 every verdict counted, in the worker's own cells
//! config   SIGHUP -> config::file::Loader: flags + file -> raw -> validate -> Config, or all faults and nothing else
//!          -> diff(running, wanted) -> listeners.prepare (all that can fail, beside what is there)
//!          -> commit: log level, leap seconds, clock_manager.reconfigure (pollers, system process), listeners: policies, steer, drain, close
//! sample   poller: addresses (whom next?) -> question, or fault -> packet::authentic -> measure -> usable
//!          -> association (reach, filter, when to ask again; after a fault also when the kernel's routes change)
//!          -> report -> supervisor::clock_manager -> system_process: candidate -> select (who agrees?) -> cluster -> combine
//!          -> mirror, announce or track (discipline) -> Reference -> publish -> every worker at its next batch
//! ```
//!
//! # What always holds
//!
//! * A reply is never longer than its request, and an answer is never answered.
//! * Leap 3 and stratum 0 come together or not at all; past `not_after` a worker says so by itself, so a stuck
//!   supervisor can't keep a stale time alive (it renews a published time for 10 s each second).
//! * All samples are measured against `CLOCK_MONOTONIC_RAW`, which nobody slews or steps.
//! * Two clocks can be served. `system` is the host's `CLOCK_REALTIME`, never corrected: its measured offset is a part of
//!   the announced dispersion, and a worker that sees it stepped says "unsynchronized" by itself. `tracked` is a linear
//!   function of the raw counter, steered (slewed by 500 ppm at most, or stepped once) after those who agree. The raw
//!   counter stands still while the host sleeps: a worker sees that by itself, too.
//! * The true time is inside the served time ± root distance, as long as a minority of the upstreams lies: of `n` that answer,
//!   or did in the last hours, (n - 1) / 2 rounded down. The distance covers every instant that a majority of their
//!   claims allows, of two what either claims, and grows with the rates that a majority allows. Nothing that one
//!   upstream says of itself makes it narrower, and none takes the vote of another.
//! * What that cannot promise: with one upstream its word is the time, with two the time is between what both say. A majority
//!   that lies together is believed. A path that delays the packets of most upstreams one way, by more than the delay that is
//!   measured, can't be. An oscillator that changes its frequency at once by more than is usual is noticed with the next
//!   answer, and a jump of the host's clocks against each other within a second.
//! * No majority among the upstreams: the last time goes on for three rounds, then it is a dispute, and by default that
//!   is "unsynchronized". Nobody is believed for answering first.
//! * A kiss or any other word of an upstream counts only with our 64 random bits in it, and none ends an upstream for good.
//! * Nobody is asked who is ourselves, and what a name stands for never decides which clock is served.
//! * The packet path has no allocation and no log, and takes a lock (without waiting) only when the published
//!   reference is new, and to lay its census down, once a second each, or a policy is. What a worker remembers of its
//!   clients has a fixed size.
//! * Addresses of clients leave the process through the control socket alone (`ntpfront clients`), and never its memory
//!   otherwise: `[census] enabled = false` keeps none.
//! * Whom to answer is asked only about requests that could be answered: junk takes nobody's tokens.
//! * No capability is in use after the start but the one for ports below 1024, while one is opened; workers have none,
//!   and hardly a system call but to receive and to send. Files but a few are out of reach; what replaces one of those among
//!   files of others a second process opens (`host::opener`).
//! * A panic anywhere ends the process. A worker or a supervisor that stands still ends it, too, by the watchdog.
//! * The kernel's fast path answers only what a worker would, as it would: past its line's end, after a step of the host's
//!   clock, and for all that is not plain, packets pass to the workers. It is gone with the process. It can't see a slew of the
//!   host's clocks, so its announced error grows by an eighth of the passing time, until it is told the time again (5 ms).
//! * A host's clock that is slewed moves away from what was checked: what it moved against the raw counter since is announced.
//! * Nobody is answered whose address can't be a host's.
//! * A listener whose address is not there keeps nobody else from serving, unless it is required: it is opened when the
//!   kernel says that the address came.
//! * A reload happens as a whole or not at all, and no change of workers loses a request: new ones get packets once they
//!   run, old ones are steered away from first, and answer what they have.
//! * A restart keeps the sockets with their queues, and the time that was announced, in systemd's descriptor store.
//!   That time is judged before it is believed: one that no ntpfront can have announced a moment ago on this boot is refused.
//!
//! # Where this departs from the RFC, and why
//!
//! `tests/rfc/5905.toml` lists what RFC 5905 asks for, statement by statement: by which tests it is proved, or why it is
//! done otherwise, or not at all; so do its neighbors for 7822 and 9769. Lines like `//= RFC 5905 §8 bogus` say in the source where a
//! statement is implemented, or departed from. In short:
//!
//! **A word of an upstream is believed as far as a minority of liars can be borne.**
//!
//! * A claimed turnaround shortens a measured delay by 200 us at most (`upstream::packet`). Nothing of a packet is kept
//!   that is not the answer to our question.
//! * The intersection is only where the *most* claims overlap (`upstream::select`), midpoints do not matter, and a server has one
//!   vote, however many of its addresses are configured. Where two places are equally deep, those of both are truechimers, and
//!   the announced error covers both.
//! * Of three upstreams and more two have to agree, and who answers first is not believed for that.
//! * Upstreams that answer no more keep their votes for 4 hours, with claims that grow (`upstream::candidate`).
//! * The announced root distance is not the system peer's: it covers the hull of what a majority of all claims contains, falsetickers
//!   counted, and grows with the rates that a majority allows, not with 15 ppm. The RFC's own takes the word of one upstream
//!   for its error, and the nearest is chosen for that word.
//! * The combined offset weighs by 1/distance², and is kept within what a majority finds plausible (an eighth of each
//!   distance): a near liar moves it no further.
//! * A leap second is one of the list or of a majority, never of the system peer alone.
//! * After DENY or RSTR an address is left alone for hours, but not for good. Any other answer of stratum 0 ends the belief in
//!   what was said before.
//!
//! **The frequency is wanted too, and the clock is a number.**
//!
//! * The clock filter is a weighted line through up to 64 samples (`upstream::filter`); jitter, dispersion and distance
//!   are what it leaves open.
//! * There is no PLL or FLL, and there are no states: the tracked clock is arithmetic (`upstream::discipline`), slewed over 4 s or
//!   stepped at once. No offset ends the process, and no step voids samples: nothing of the host's is set.
//! * The reference time is when the served clock was last corrected, as §7.3 has it, not the system peer's (figure 25).
//! * The daemon that keeps the clock which we serve is mirrored: its stratum and all its words are passed on.
//!
//! **Others are spared.**
//!
//! * A burst has 4 questions, not 8, and is sent at the start and when a server is back. After it the intervals widen step by
//!   step, as a frequency is known only as well as samples are far apart; then they follow how long samples fit the line.
//!   They are spread by an eighth. A silent server is asked half as often after 4 questions, not 24.
//! * A question says nothing but a random number, and comes from a new port (RFC 9109). The poll field of an answer is not
//!   heeded, since it is an echo.
//! * A system peer stays until another one is better clearly and for long, and who survived needs more to be an outlier.
//! * A symmetric peer gets an answer, and no association.
//!
//! Not of the RFC: a local reference is a fallback of every clock (`[local]`), not a third clock source.
//!
//! Some departures nobody decided: the list says `not intended` there.
//!
//! # Words
//!
//! RFC 5905's. An `upstream` is a server that we ask, a `client` asks us, a `listener` is an address where we
//! answer, a `worker` is a thread with one socket of it.
//!
//! # Not here yet
//!
//! NTS, interleaved mode, leap smear.

pub mod census;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod fast;
pub mod hash;
pub mod host;
pub mod nts;
pub mod observe;
pub mod published;
pub mod server;
pub mod supervisor;
pub mod time;
pub mod upstream;
pub mod wire;
