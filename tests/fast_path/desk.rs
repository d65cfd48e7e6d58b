//! The program in the kernel, with a listener at one address of each family, and a time to tell.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ntpfront::clock::{ClockModel, Reference, SystemVariables};
use ntpfront::fast_path::loader::Program;
use ntpfront::fast_path::{
    Device, HostNetwork, LISTENERS, ListenerSlot, LocalAddress, Rules, TimeSegment, count_step, counts,
    publish, rules, steps, stop, write_copy,
};
use ntpfront::host::clock;
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
    segment: Option<TimeSegment>,
    /// For listeners with a budget.
    pub(crate) allowance: u32,
    pub(crate) is_leap_near: bool,
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
        Self::interleaving(policy, true)
    }

    /// The same, at listeners that answer in interleaved mode, or not.
    pub(crate) fn interleaving(policy: &Policy, interleaves: bool) -> Self {
        let policy = Arc::new(policy.clone());
        let slot = |address| ListenerSlot {
            address,
            policy: Some(Arc::clone(&policy)),
            interleaves,
        };
        let slots = [
            slot(([0, 0, 0, 0], 123).into()),
            slot((Ipv6Addr::UNSPECIFIED, 123).into()),
        ];
        let addresses = [(1, MINE4.into()), (1, MINE6.into()), (0, TAGGED.into())];
        let addresses = addresses.map(|(untagged, ip)| LocalAddress { ip, untagged });
        let device = Device {
            index: 1,
            address: OURS,
            number: 0,
        };
        let places = policy.limit.clients / 4;
        let network = HostNetwork {
            addresses: &addresses,
            broadcasts: &BROADCASTS,
            devices: &[device],
        };
        let rules = rules(&slots, network, [3, 4], places);
        let program = Program::load(places).unwrap();
        let maps = [program.rules(), program.boundaries4(), program.boundaries6()];
        write_copy(maps, 1, &rules);
        let now = readings();
        let mut desk = Self {
            program,
            rules,
            number: 0,
            segment: None,
            allowance: u32::MAX,
            is_leap_near: false,
            reference: reference(now.clocks),
        };
        desk.publish();
        desk
    }

    /// What the reference says now, or a stop if it says nothing.
    pub(crate) fn publish(&mut self) {
        self.publish_with(|_| ());
    }

    pub(crate) fn publish_with(&mut self, change: impl Fn(&mut TimeSegment)) {
        let steps = steps(self.program.state());
        let now = readings();
        self.reference.published = now.clocks;
        self.segment = TimeSegment::new(&self.reference, &now);
        self.number += 1;
        let publication = match &mut self.segment {
            None => stop(self.number, 1),
            Some(segment) => {
                change(segment);
                let rules = &self.rules;
                let answering = rules.answering(segment.variables, self.is_leap_near, self.allowance);
                segment.publication(self.number, steps, 1, answering)
            }
        };
        publish(self.program.state(), &publication);
    }

    /// The host's clock was stepped, as the program is told.
    pub(crate) fn step(&self) {
        count_step(self.program.state());
    }

    pub(crate) fn stop(&mut self) {
        self.number += 1;
        publish(self.program.state(), &stop(self.number, 1));
    }

    /// What is announced, with the root dispersion that a reply `said`, which has to be one of this segment's until now.
    pub(crate) fn variables_in(&self, said: &Header) -> SystemVariables {
        let Some(segment) = self.segment.filter(|_| said.stratum != 0) else {
            return self.reference.at(readings().clocks);
        };
        let age = readings().clocks.boot.saturating_sub(segment.start);
        let possible = [Duration::ZERO, age].map(|age| segment.root_dispersion_after(age).to_bits());
        let [least, most] = possible;
        let root_dispersion = said.root_dispersion;
        assert!(
            (least..=most).contains(&root_dispersion.to_bits()),
            "{root_dispersion:?} {possible:?}"
        );
        SystemVariables {
            root_dispersion,
            ..segment.variables
        }
    }

    pub(crate) fn served_now(&self) -> NtpTimestamp {
        self.reference.clock.served(readings().clocks)
    }

    pub(crate) fn ask(&mut self, frame: &[u8]) -> (Action, Vec<u8>) {
        // A shorter one is meant to end.
        let is_kept = self
            .segment
            .is_some_and(|segment| segment.length > Duration::from_millis(200));
        loop {
            if is_kept {
                self.refresh();
            }
            let (action, out) = self.program.try_on(frame).unwrap();
            let action = match action {
                1 => Action::Drop,
                PASS => Action::Pass,
                3 => Action::Send,
                other => panic!("action {other}"),
            };
            // While others kept this machine busy, the segment ended: nothing was asked.
            if !(is_kept && action == Action::Pass && self.is_over()) {
                return (action, out);
            }
        }
    }

    /// Has the segment ended?
    fn is_over(&self) -> bool {
        self.segment
            .is_some_and(|segment| readings().clocks.boot.saturating_sub(segment.start) > segment.length)
    }

    /// A long test outlives a segment.
    fn refresh(&mut self) {
        let Some(segment) = &self.segment else {
            return;
        };
        let age = readings().clocks.boot.saturating_sub(segment.start);
        if age > Duration::from_millis(50) {
            self.publish();
        }
    }

    pub(crate) fn counted(&self) -> Counts {
        (0..LISTENERS)
            .map(|listener| counts(self.program.counters(), listener))
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
