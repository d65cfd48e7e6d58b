//! The program in the kernel, with a listener at one address of each family, and a time to tell.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ntpfront::clock::{ClockModel, Reference, SystemVariables};
use ntpfront::fast::{
    CELLS, Device, LISTENERS, Line, Own, RULES, Rules, STATE, Seat, Site, TURNS4, TURNS6, counted, lay_down,
    line, publish, rules, silence,
};
use ntpfront::host::clock;
use ntpfront::host::xdp::{Program, Sizes};
use ntpfront::server::Counts;
use ntpfront::server::policy::Policy;
use ntpfront::time::{AlignedReadings, ClockReadings, NtpDuration, NtpTimestamp};
use ntpfront::wire::{Header, Leap, ReferenceId};

use crate::frames::OURS;

pub(crate) const MINE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// An address of another interface, as of a VLAN.
pub(crate) const TAGGED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// Of its network, and of another one of this host.
pub(crate) const BROADCASTS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 255), Ipv4Addr::new(203, 0, 113, 127)];
pub(crate) const MINE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

pub(crate) const SIZES: Sizes = Sizes {
    state: STATE,
    rules: RULES,
    turns4: TURNS4,
    turns6: TURNS6,
    cells: CELLS,
    listeners: LISTENERS,
};

/// What the program decided (linux/bpf.h, `enum xdp_action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Drop,
    Pass,
    Send,
}

const PASS: u32 = 2;

pub(crate) struct Desk {
    program: Program,
    rules: Rules,
    number: u64,
    line: Option<Line>,
    pub(crate) reference: Reference,
}

/// As without a word about access and limits.
pub(crate) fn policy() -> Policy {
    let text = ntpfront::config::file::load(&ntpfront::cli::Flags::default());
    let config = text.map(|loaded| loaded.config).unwrap();
    Policy::clone(&config.listeners[0].policy)
}

impl Desk {
    pub(crate) fn new(policy: &Policy) -> Self {
        let policy = Arc::new(policy.clone());
        let seat = |address| Seat {
            address,
            policy: Some(Arc::clone(&policy)),
        };
        let seats = [
            seat(([0, 0, 0, 0], 123).into()),
            seat((Ipv6Addr::UNSPECIFIED, 123).into()),
        ];
        let own = [
            (false, MINE4.into()),
            (false, MINE6.into()),
            (true, TAGGED.into()),
        ];
        let own = own.map(|(tagged, ip)| Own { tagged, ip });
        let device = Device {
            index: 1,
            address: OURS,
        };
        let places = policy.limit.clients / 4;
        let site = Site {
            own: &own,
            broadcasts: &BROADCASTS,
            devices: &[device],
        };
        let rules = rules(&seats, site, [3, 4], places);
        let program = Program::load(SIZES, places).unwrap();
        lay_down([program.rules(), program.turns4(), program.turns6()], 1, &rules);
        let now = readings();
        let mut desk = Self {
            program,
            rules,
            number: 0,
            line: None,
            reference: reference(now.clocks),
        };
        desk.publish();
        desk
    }

    /// What the reference says now, or silence if it says nothing.
    pub(crate) fn publish(&mut self) {
        self.publish_with(|_| ());
    }

    pub(crate) fn publish_with(&mut self, change: impl Fn(&mut Line)) {
        let now = readings();
        self.reference.published = now.clocks;
        self.line = line(&self.reference, &now);
        self.number += 1;
        let words = match &mut self.line {
            None => silence(self.number, 1),
            Some(line) => {
                change(line);
                line.words(self.number, 1, self.rules.answering(line.variables))
            }
        };
        publish(self.program.state(), &words);
    }

    pub(crate) fn silence(&mut self) {
        self.number += 1;
        publish(self.program.state(), &silence(self.number, 1));
    }

    /// What is announced, with the root dispersion that a reply `said`, which has to be one of this line's until now.
    pub(crate) fn variables_in(&self, said: &Header) -> SystemVariables {
        let Some(line) = self.line.filter(|_| said.stratum != 0) else {
            return self.reference.at(readings().clocks);
        };
        let age = readings().monotonic.saturating_sub(line.start);
        let possible = [Duration::ZERO, age].map(|age| line.root_dispersion_after(age).to_bits());
        let [least, most] = possible;
        let root_dispersion = said.root_dispersion;
        assert!(
            (least..=most).contains(&root_dispersion.to_bits()),
            "{root_dispersion:?} {possible:?}"
        );
        SystemVariables {
            root_dispersion,
            ..line.variables
        }
    }

    pub(crate) fn served_now(&self) -> NtpTimestamp {
        self.reference.clock.served(readings().clocks)
    }

    pub(crate) fn ask(&mut self, frame: &[u8]) -> (Action, Vec<u8>) {
        // While others keep this machine busy, a line may end, and two readings of clocks be far apart.
        if self
            .line
            .is_some_and(|line| line.length > Duration::from_millis(200))
        {
            self.refresh();
        }
        // Where this thread is kept from running just between two readings of the clocks, the program passes.
        let mut tries = 20;
        let (action, out) = loop {
            let (action, out) = self.program.try_on(frame).unwrap();
            tries -= 1;
            if action != PASS || tries == 0 {
                break (action, out);
            }
        };
        let action = match action {
            1 => Action::Drop,
            PASS => Action::Pass,
            3 => Action::Send,
            other => panic!("action {other}"),
        };
        (action, out)
    }

    /// A long test outlives a line.
    fn refresh(&mut self) {
        let Some(line) = &self.line else {
            return;
        };
        let age = readings().monotonic.saturating_sub(line.start);
        if age > Duration::from_millis(50)
            && line.tai_ahead.abs_diff(readings().tai_ahead) < Duration::from_micros(5)
        {
            self.publish();
        }
    }

    pub(crate) fn counted(&self) -> Counts {
        (0..LISTENERS)
            .map(|listener| counted(self.program.counters(), listener))
            .fold(Counts::default(), Counts::plus)
    }
}

fn readings() -> AlignedReadings {
    let now = std::iter::repeat_with(clock::aligned).flatten().next().unwrap();
    AlignedReadings {
        raw_faster: Some(0.0),
        ..now
    }
}

fn reference(now: ClockReadings) -> Reference {
    Reference {
        leap: Leap::NoWarning,
        stratum: 3,
        reference_id: ReferenceId::from_bytes([192, 0, 2, 77]),
        root_delay: NtpDuration::from_seconds(0.02),
        root_dispersion: NtpDuration::from_seconds(0.001),
        growth: 15e-6,
        reference_time: now.realtime - NtpDuration::from_seconds(3.0),
        precision: -23,
        clock: ClockModel::Host,
        published: now,
        answers: true,
        epoch: now.raw,
        not_after: now.raw + Duration::from_secs(3600),
    }
}
