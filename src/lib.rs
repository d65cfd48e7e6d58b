//! ntpfront: an NTP server that serves the time of several upstream servers, without touching the host's clock.
//!
//! It uses every core. This page is the map. The program (`main.rs`) only hands its arguments to these rooms:
//!
//! * [`cli`]: the flags and subcommands, as words
//! * [`commands`]: the subcommands, one per file: each asks, prints and ends with an exit status
//! * [`config`]: the configuration: a row per key (`keys`), as written (`raw`, of the file and its `drop_ins`, with the
//!   `sources` of other programs) → as meant (`validate`), with all errors and their places; the rule of a list that decides
//!   about an address (`deciding`); the formats of chronyd, ntpd and
//!   ntpd-rs (`import`)
//! * [`time`]: timestamp, duration and short format of NTP, readings of the host's clocks, the timescale of samples,
//!   rates (pure); all rooms may use it
//! * [`log`]: the log, its levels and forms (text, JSON, the journal's fields), and `throttle`, which limits lines that
//!   the network can cause to one per minute and kind
//! * [`mod@published`]: a value that one thread publishes to others, which never wait for it; checked with a model
//!   checker
//! * [`leap`]: leap seconds: the list (`table`) with the warning before one, the `smear` of one, dates (`calendar`) (pure)
//! * [`wire`]: NTP on the wire: header, extension fields and MAC, reference ID (pure)
//! * [`nts`]: Network Time Security: `aead` (both AEADs, for a batch of packets), the `keys` of an association, which a
//!   `cookie` holds, sealed under a key of the `keyring`; `server`: from a request to its keys, from a header to a
//!   sealed reply; `client`: a sealed question and the opening of its reply; `ke`: both sides of key establishment, inside
//!   TLS; `key_schedule`: the keyring of each period (pure)
//! * [`ke`]: key establishment as a server: `thread` accepts, `session` speaks TLS and answers; `admission` decides which
//!   sessions begin, wait, or make room (pure)
//! * [`symmetric`]: symmetric keys: the file of them, and the MAC that one makes of a packet (pure)
//! * [`mod@clock`]: the announced time: the `model` of the served clock, the system `variables` and how they age, the
//!   same for listeners with a smear (`smeared`), the way to the workers (`publish`) and to the next process (`handover`);
//!   a made-up time that runs through a leap second (`rehearsal`)
//! * [`mod@hash`]: a keyed hash of addresses (pure)
//! * [`census`]: counts of clients, by estimate, in a fixed memory; those of the fast path as samples (`sampled`); their
//!   number (`client_number`), those of one of them (`one_client`), and those that are `wanted` (pure)
//! * [`server`]: a client's packet: `worker` (thread; `settings`, `batch_sizer`) → `respond` (t3 by
//!   `transmit_predictor`), or with a MAC `respond_mac`, with NTS `respond_nts`, by `policy` (`access`, `limit`,
//!   `budget`; pure) → `reply` → `worker`; each packet has one `verdict`; `interleaved`: when earlier replies left, which the
//!   kernel tells, and replies that tell it to the clients; `judgement`: what a request would get (pure), with what a worker
//!   knows of its client, when it is asked through `probe`
//! * [`fast_path`]: the kernel's fast path: the `program` in C; the time (`time_segment`) and which clients get a reply
//!   (`rules`, `destinations`) in the layout that both share (`layout`; pure); `maps`, `loader`, `driver`, which
//!   keeps it attached and up to date, and `step_watch`, which tells it steps of the host's clock
//! * [`upstream`]: an upstream's sample: `registry` (all upstreams, and what is known of each; of a `pool` its members),
//!   `poller` (task) → `addresses`, `fault`, `packet`, `interleaved`, `association`, `filter`, `candidate`, `select`,
//!   `system_process` (by the operator's `clock_policy`), `discipline`, `smearers` (pure); `nts`: keys and cookies
//!   of an upstream with NTS, and how they are got
//! * [`observe`]: the `snapshot` of everything (`clock_status`, `upstream_status`), with what is not as it should be and
//!   what to do (`advisor`), and its forms: lines of a `screen` with their tones (`status_text`, `upstreams_text`,
//!   `listeners_text`), `metrics`, `health` (and `health_watch`, `nagios`); the NTP `pool`'s rules, a `query_table`,
//!   `leap_status` and `leap_forecast` (pure); `clients_text`: the census, `client_status`: one client; `journal`: what the
//!   log says of it
//! * [`host`]: the operating system: sockets, `sys` (the only unsafe code), clock, randomness, names, `limits`, the
//!   kernel's reports on the network (`changes`), files that stay accessible (`rooted_file`, `opener_process`), UNIX
//!   sockets, privileges, `sandbox`, `tls` and its certificates (pure)
//! * [`history`]: the record of what was served: `observer` finds what is to be recorded, the `recorder` (thread) has a
//!   `writer` put it into files, and `files` reads them; a `moment`, `curves`, a `picture`, a `report` are made of them, and
//!   the `chain` proves that they were not changed; `ring` is the memory of the running server
//! * [`control`]: requests to the running server: the `protocol` of its control socket, with `command`s that change it
//!   (pure), the places of that `socket`, its ends `client` and `server`; and `http`. Those that watch the health get
//!   answers without end, from `supervisor::watchers`
//! * [`supervisor`]: owns every handle: the order of the start (`start`, `confine`), the loop, the end; `requests` and
//!   `commands` of the control socket, with the time of each `drain` and the `overlay` of the upstreams (pure); `reload`,
//!   for which `listeners::plan` (pure) decides the steps, and `file_watch` (pure) sees that one was forgotten; `inspect`:
//!   the snapshot of all; `client`: what some clients would get; what it `needs` and which listeners it waits for
//!   (`absence`) are pure; `nts_manager`: keyring, certificates and threads of NTS
//!
//! The first line of a file says whether it is **pure** (a function of its arguments, which include time and
//! randomness; no sockets, threads, files, log) or **impure** (thin, with access to the world). Decisions are in pure
//! files. `tests/pure/layers.rs` checks which room may use which: `time`, `hash`, `log` and `published` use no other
//! room, `wire` and `host` only `time`, `nts` and `symmetric` only `wire`, `ke` only `nts`, `host` and `log`; `server` and
//! `upstream` never use each other; only `supervisor` knows everything that runs, and `commands` what a subcommand needs.
//! (Of `host`, pure files use types and memory: `large_table` asks for huge pages, `prefetch` loads ahead.)
//! `tests/pure/circles.rs` checks that no files use each other in a circle.
//!
//! All that is displayed comes from the supervisor as a snapshot (`supervisor::inspect`), through [`control::server`]
//! or [`control::http`]; workers only count, in cells of their own.
//!
//! # Three paths through the rooms
//!
//! ```text
//! packet   host::sys --batch, as large as batch_sizer says-->
//!          server::respond(request, t3, rule, &variables, &mut reply) -> verdict
//!          t2: the kernel's receive timestamp
//!          t3: the clock, or in a batch of more than eight when transmit_predictor expects the reply to be sent
//!          rule: policy of the listener (the newest, checked once per batch)
//!          -> access -> limit -> budget -> answer, kiss or no reply
//!          with a MAC, after the plain packets: server::respond_mac
//!          access -> MAC -> limit of genuine requests -> budget -> t3 -> answer or kiss with a MAC
//!          with fields of NTS, after the plain packets, eight at a time: server::respond_nts
//!          access -> open -> NAK, or -> limit of genuine requests -> budget -> t3 -> sealed answer or kiss
//!          for a candidate for interleaved mode: server::interleaved, and once it was sent the kernel's transmit timestamp
//!          (a few other replies get that, too, which transmit_sampler chooses: they correct transmit_predictor)
//!          --batch--> host::sys -> census                 every verdict counted, in the worker's own cells
//!          files: server::worker, host::sys::datagrams, server::{respond, reply}, server::policy::{exchange, mod}
//! config   SIGHUP -> config::file::Loader: flags + environment + files -> raw -> validate -> Config, or all errors and no change
//!          -> config::diff: Difference (settings, upstreams, listeners, what needs a restart)
//!          -> listeners::plan: steps (pure)
//!          -> listeners::apply: prepare (all that can fail, beside what runs), and once that has succeeded
//!          -> commit: log level, leap seconds, clock_manager.reconfigure (registry: plan; then pollers and system
//!          process), budget, steps: policies, serve, close
//!          files: supervisor::{reading, reload}, config::{file, validate, diff}, supervisor::listeners::{plan, apply}
//! sample   poller: (nts: key_establishment, if keys are due) -> addresses (the next one) -> question, or fault
//!          -> packet::authentic (nts: session) -> measure -> usable
//!          -> association (reach, filter, poll interval; after a fault, changes of the kernel's routes count, too)
//!          -> report -> supervisor::clock_manager -> registry
//!          -> system_process: candidate -> select (truechimers) -> cluster -> combine
//!          -> mirror (the values of the daemon that keeps the host's clock), announce, or track (discipline)
//!          -> Reference -> publish -> every worker at its next batch
//!          files: upstream::{poller, packet, association, filter}, supervisor::clock_manager, upstream::{system_process,
//!          system_process::selection, select, system_process::announce}, clock::publish
//! ```
//!
//! # What always holds
//!
//! * A reply is never longer than its request, and a reply never gets a reply.
//! * Leap 3 and stratum 0 come together or not at all. Past `not_after` a worker announces them by itself, so a hanging
//!   supervisor can't keep an old time valid (it renews a published time for 10 s each second).
//! * All samples are measured against `CLOCK_MONOTONIC_RAW`, which can't be slewed or stepped.
//! * Two clocks can be served. `system` is the host's `CLOCK_REALTIME`, never corrected: its measured offset is a part
//!   of the announced dispersion, and a worker that sees it stepped says "unsynchronized" by itself. `tracked` is a
//!   linear function of the raw counter, steered to the upstreams that agree: slewed by at most 500 ppm, or stepped
//!   once. The raw counter stops while the host sleeps, which a worker sees by itself, too.
//! * The true time is inside the served time ± root distance while only a minority of the upstreams is false: of `n`
//!   that answer, or did in the last hours, (n - 1) / 2 rounded down. The distance covers every instant that a majority
//!   of their correctness intervals allows, of two upstreams both intervals, and grows with the rates that a majority
//!   allows. No upstream can make it narrower by what it says of itself, and none takes the vote of another.
//! * This does not hold in these cases. With one upstream its word is the time; with two the time is between what both
//!   say. A majority that is false in the same way is followed. A path that delays the packets of most upstreams in one
//!   direction, by more than the measured delay, can't be detected. An oscillator that suddenly changes its frequency
//!   by more than is usual is noticed with the next answer, and a jump of the host's clocks against each other within a
//!   second.
//! * Without a majority among the upstreams the last time stays in effect for three rounds. Then it is a dispute, and
//!   by default that is "unsynchronized". No upstream is believed because it answers first.
//! * A kiss or any other answer of an upstream counts only with the 64 random bits of the question in it, and none ends
//!   the polling of an upstream for good.
//! * An upstream with NTS is never polled without, and nothing of a packet counts that is not authenticated (a NAK only
//!   costs new keys). Without a time, certificates are checked for all but their dates, and against the time that a
//!   majority agrees on before that is announced. Plain upstreams are no majority without a majority of the authenticated
//!   ones, unless the operator says so.
//! * An upstream with a symmetric key is never polled without, and only replies with a MAC of that key count.
//! * This host is never its own upstream, and the address behind a name never decides which clock is served.
//! * The time at which an earlier reply left is told once, to the address that got that reply, and never after a step of
//!   the announced time. It is never that of another reply.
//! * The packet path has no allocation and no log. It takes a lock (without waiting) only when a new reference, a new policy
//!   or a question about clients is published, and once per second to publish its census. A worker's memory of its clients
//!   has a fixed size.
//! * Addresses of clients leave the process only through the control socket (`ntpfront clients` and `client`); with
//!   `[census] enabled = false` none are kept.
//! * The rate limit is applied only to requests that could be answered: junk takes no client's tokens. Authenticated
//!   requests have tokens of their own, which are taken after the authentication.
//! * A request with fields of NTS gets an authenticated reply, a NAK or nothing, and never a plain reply, unless the
//!   server has no keys or the listener ignores NTS. A request with a MAC gets a reply with a MAC of the same key or nothing,
//!   unless the server has no symmetric keys or the listener ignores MACs. What a plain request costs is the same with
//!   and without them.
//! * Time service never waits for the record: a queue that is never waited for is between them, and what finds no room in it
//!   is counted and becomes a gap. The record has no addresses of clients.
//! * After the start no capability is in use except the one for ports below 1024, while a socket is bound; workers have
//!   none, and hardly a system call except those to receive and to send. Only few files are accessible; a second
//!   process opens those that replace one of them in a directory with other files (`host::opener_process`).
//! * A panic anywhere ends the process. So does a worker or a supervisor that hangs, by the watchdog.
//! * The kernel's fast path gives the replies that a worker would give, or none: past the end of its time segment,
//!   after a step of the host's clock or a sleep of the host, and if anything about a packet is unusual, packets pass to
//!   the workers. It ends with the process. It reads only the time since boot, so a thread of its own tells it each step
//!   as soon as the kernel reports it (on a busy host that may take until the next time is published: 5 ms). It can't
//!   see a slew, so its announced error grows by an eighth of the time that passes until it gets the time again.
//! * A host's clock that is slewed moves away from what was checked: its movement against the raw counter since then is
//!   part of the announced error.
//! * A request from an address that can't be a host's gets no reply.
//! * A listener whose address is not there does not keep the others from serving, unless it is required: it is opened
//!   when the kernel reports the address.
//! * An upstream has one identity from its start to its end, across reloads, and it is never used again. All that is
//!   remembered of it is found by that identity; the order of the configuration is displayed, and decides nothing.
//! * A reload happens as a whole or not at all, and no change of workers loses a request: new ones get packets once
//!   they run; packets are steered away from old ones first, which then answer what they have.
//! * All listeners announce one time. Around a leap second, one with a smear announces a function of it, which
//!   `leap::smear` alone computes, for the packets as for what is shown. Upstreams that smear never become UTC.
//! * Keys of cookies follow from a secret and the number of a period, so servers with one secret understand each other's
//!   cookies. While the time is not known, cookies of any period are accepted.
//! * A connection for key establishment takes memory and CPU time of TLS only when its ClientHello is there and a limit of
//!   its client allows it. Private keys are read by the supervisor, at the start, at a reload and when they change.
//! * A restart keeps the sockets with their queues, and the time that was announced, in systemd's descriptor store.
//!   That time is checked first: one that ntpfront can't have announced within the last seconds on this boot is
//!   refused.
//!
//! # Where this departs from the RFC, and why
//!
//! `tests/rfc/5905.toml` lists what RFC 5905 requires, statement by statement: the tests that prove it, or why it is
//! done otherwise, or not at all; so do its neighbors for 7822 and 9769. Lines like `//= RFC 5905 §8 bogus` say in the
//! source where a statement is implemented, or departed from. In short:
//!
//! **An upstream's word counts only as far as a minority of false upstreams can do no harm.**
//!
//! * A claimed turnaround shortens a measured delay by at most 200 us (`upstream::packet`). Nothing is kept of a packet
//!   that is not the answer to the question.
//! * The intersection is only where the *most* correctness intervals overlap (`upstream::select`). Midpoints do not
//!   matter, and a server has one vote, however many of its addresses are configured. Where two places are equally
//!   deep, the upstreams of both are truechimers, and the announced error covers both.
//! * Of three upstreams and more at least two have to agree, and the first answers are not enough for that.
//! * Upstreams that stop answering keep their votes for 4 hours, with growing intervals (`upstream::candidate`).
//! * The announced root distance is not the system peer's: it covers the hull of what a majority of all correctness
//!   intervals contains, falsetickers counted, and grows with the rates that a majority allows, not with 15 ppm. The
//!   RFC's relies on what one upstream says of its error, and the nearest upstream is chosen by that same value.
//! * The combined offset weighs by 1/distance², and is kept within what a majority finds plausible (an eighth of each
//!   distance): a false upstream that seems to be near moves it no further.
//! * A leap second is one of the list or of a majority, never of the system peer alone.
//! * After DENY or RSTR an address is not polled for hours, but not for good. Any other answer of stratum 0 makes the
//!   upstream's earlier answers unusable.
//!
//! **The frequency is estimated too, and the served clock is computed.**
//!
//! * The clock filter is a weighted line through up to 64 samples (`upstream::filter`); jitter, dispersion and distance
//!   are computed from its residuals.
//! * There is no PLL or FLL, and there are no states: the tracked clock is arithmetic (`upstream::discipline`), slewed
//!   over 4 s or stepped at once. No offset ends the process, and no step voids samples, since the host's clock is
//!   never set.
//! * The reference time is when the served clock was last corrected, as §7.3 has it, not the system peer's (figure 25).
//! * If the host's clock is served, the daemon that keeps it is mirrored: its stratum and its other fields are passed
//!   on.
//!
//! **The load on others is kept low.**
//!
//! * A burst has 4 questions, not 8, and is sent at the start and when a server is back. After it the intervals widen
//!   step by step, since a longer distance between samples gives a better frequency; then they follow how long samples
//!   fit the line. They are randomized by an eighth. A silent server is polled half as often after 4 questions, not 24.
//! * A question contains nothing except a random number, and comes from a new port (RFC 9109). In interleaved mode it has
//!   another random number, and the receive timestamp of the last answer (`upstream::interleaved`). The poll field of an
//!   answer is ignored, since it is an echo.
//! * A system peer stays until another one is clearly better for a while, and a survivor has to be further off than
//!   others to become an outlier.
//! * A symmetric peer gets an answer, and no association.
//!
//! Not of the RFC: a local reference is a fallback of every clock (`[local]`), not a third clock source.
//!
//! Some departures were not intended: the list says `not intended` there.
//!
//! # Words
//!
//! RFC 5905's. An `upstream` is a server that ntpfront polls, a `client` polls ntpfront, a `listener` is an address
//! where ntpfront answers, a `worker` is a thread with one socket of a listener. The `claim` of an upstream is its
//! correctness interval (§11.2.1).

pub mod census;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod fast_path;
pub mod hash;
pub mod history;
pub mod host;
pub mod ke;
pub mod leap;
pub mod log;
pub mod nts;
pub mod observe;
pub mod published;
pub mod server;
pub mod supervisor;
pub mod symmetric;
pub mod time;
pub mod upstream;
pub mod wire;
