//! Steps this machine's clock, a second ahead and back, while it asks an NTP server on the same machine without a pause,
//! and measures how long after each step the last answer from the time before it was given. For virtual machines alone.
//!
//! The fast path's answers are told from the sockets' by their timestamps: it reads one clock once, so that the transmit
//! timestamp is the next one after the receive timestamp (of a nanosecond, there are four). Each says when it was given: before a step the served clock and the time since boot
//! are at a known distance.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

/// Steps in both directions together.
const STEPS: i32 = 20;
/// A step, ns.
const STEP: i128 = 1_000_000_000;
/// The longest time for which the time before a step may be served, ns. (Without the thread that waits for steps, it is
/// served until the supervisor's next publication: up to 5 ms.)
const LONGEST: i128 = 1_000_000;
/// Questions without an answer at any time.
const IN_FLIGHT: usize = 16;
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_TO_UNIX: i128 = 2_208_988_800;

fn now(clock: ClockId) -> i128 {
    let time = clock_gettime(clock).expect("a clock");
    i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
}

/// How far the time of day is ahead of the time since boot.
fn ahead() -> i128 {
    now(ClockId::CLOCK_REALTIME) - now(ClockId::CLOCK_BOOTTIME)
}

fn send(socket: &UdpSocket, count: usize) {
    let mut packet = [0; 48];
    packet[0] = 4 << 3 | 3;
    for _ in 0..count {
        // One that is lost is asked again.
        let _sent = socket.send(&packet);
    }
}

/// The transmit timestamp of an answer of the fast path, ns since 1970; `None` for another one, or none in time.
fn receive(socket: &UdpSocket) -> Option<i128> {
    let mut packet = [0; 48];
    let length = socket.recv(&mut packet).ok()?;
    let field = |at: usize| u64::from_be_bytes(packet[at..at + 8].try_into().expect("8 bytes"));
    let (received, sent) = (field(32), field(40));
    let seconds = i128::from(sent >> 32) - NTP_TO_UNIX;
    let nanos = i128::from(sent & 0xffff_ffff) * 1_000_000_000 >> 32;
    (length == 48 && sent.wrapping_sub(received) <= 2 && packet[1] != 0).then_some(seconds * 1_000_000_000 + nanos)
}

fn until_it_answers(socket: &UdpSocket) -> Result<(), String> {
    let begun = Instant::now();
    while {
        send(socket, 1);
        receive(socket).is_none_or(|time| (time - now(ClockId::CLOCK_REALTIME)).abs() > STEP / 2)
    } {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("no answer of the fast path within 60 s".to_owned());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// How long after a step, as it was done, the last answer of the time before it was given, ns; and how many answers the
/// fast path gave in the milliseconds before.
fn last_answer_after(socket: &UdpSocket, step: i128) -> (i128, usize) {
    let (before, is_over) = (ahead(), AtomicBool::new(false));
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answers = Vec::new();
            send(socket, IN_FLIGHT);
            while !is_over.load(Ordering::Relaxed) {
                answers.extend(receive(socket));
                send(socket, 1);
            }
            // The rest is not for the next one.
            while socket.recv(&mut [0; 48]).is_ok() {}
            answers
        });
        thread::sleep(Duration::from_millis(30));
        let wanted = now(ClockId::CLOCK_REALTIME) + step;
        let wanted = Duration::from_nanos(u64::try_from(wanted).expect("after 1970"));
        clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from(wanted)).expect("the right to set the clock");
        let done = now(ClockId::CLOCK_BOOTTIME);
        thread::sleep(Duration::from_millis(30));
        is_over.store(true, Ordering::Relaxed);
        let answers = asking.join().expect("a list");
        // When each was given, by the time since boot, if it is of the time before.
        let old = answers.iter().map(|time| time - before - done);
        let old = old.filter(|at| at.abs() < STEP / 2);
        (old.clone().max().unwrap_or(i128::MIN), old.count())
    })
}

fn main() -> Result<(), String> {
    let address = std::env::args().nth(1).ok_or("whom to ask?")?;
    let socket = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        socket.connect((address, 123))?;
        Ok(socket)
    });
    let socket = socket.map_err(|error| error.to_string())?;
    let (mut last, mut answers) = (Vec::new(), 0);
    for number in 0..STEPS {
        until_it_answers(&socket)?;
        let step = if number % 2 == 0 { STEP } else { -STEP };
        let (after, before_it) = last_answer_after(&socket, step);
        last.push(after);
        answers += before_it;
    }
    last.sort_unstable();
    let (median, longest) = (last[last.len() / 2], last[last.len() - 1]);
    let micros = |nanos: i128| nanos / 1000;
    println!(
        "the last answer of the time before a step was given {} us after it, {} at worst ({STEPS} steps, {answers} answers)",
        micros(median),
        micros(longest)
    );
    if longest > LONGEST || answers < 20 {
        return Err(format!("it may take {} us", micros(LONGEST)));
    }
    Ok(())
}
