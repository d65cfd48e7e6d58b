//! Impure. Datagrams in batches over real sockets.

use super::*;
use crate::time::NtpDuration;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

/// A socket as the workers have them.
fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true).unwrap();
    if socket.local_addr().unwrap().is_ipv4() {
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).unwrap();
    } else {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).unwrap();
    }
    socket
}

fn answers_from_the_address_that_was_asked(bind: &str, asked: &[&str]) {
    let server = socket(bind);
    let port = server.local_addr().unwrap().port();
    let mut batch = Batch::new(8);
    for address in asked {
        let address: IpAddr = address.parse().unwrap();
        let client = UdpSocket::bind(if address.is_ipv4() {
            "127.0.0.1:0"
        } else {
            "[::1]:0"
        })
        .unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        for payload in [&[1; 48][..], &[2; 600], &[]] {
            client.send_to(payload, (address, port)).unwrap();
            assert_eq!(batch.receive(server.as_fd(), 8).unwrap(), 1);
            let datagram = batch.datagram(0).unwrap();
            assert_eq!(datagram.payload, payload);
            let source = SocketAddr::new(datagram.source, datagram.source_port);
            assert_eq!(source, client.local_addr().unwrap());
            let age = crate::host::clock::realtime() - datagram.arrived_at.unwrap();
            assert!(age.abs() < NtpDuration::SECOND && datagram.unicast);
            let length = payload.len().min(48);
            datagram.reply[..length].fill(9);
            assert_eq!(datagram.reply.len(), payload.len(), "no longer than the request");
            batch.reply(0, length);
            assert_eq!(
                batch.send(server.as_fd()),
                SendOutcome {
                    sent: 1,
                    failed: 0,
                    full: 0
                }
            );
            let mut reply = [0; 100];
            let (received, from) = client.recv_from(&mut reply).unwrap();
            assert_eq!(
                (&reply[..received], from),
                (&[9; 48][..length], (address, port).into())
            );
        }
    }
}

#[test]
fn ipv4_wildcard() {
    answers_from_the_address_that_was_asked("0.0.0.0:0", &["127.0.0.1", "127.0.0.7", "127.1.2.3"]);
}

#[test]
fn ipv6_wildcard() {
    answers_from_the_address_that_was_asked("[::]:0", &["::1"]);
}

#[test]
fn a_batch_takes_what_is_there_and_one_refused_reply_holds_up_no_other() {
    let server = socket("127.0.0.1:0");
    let clients: Vec<UdpSocket> = (0..5).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for client in &clients {
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.send_to(&[7; 48], server.local_addr().unwrap()).unwrap();
    }
    let mut batch = Batch::new(4);
    assert_eq!(batch.receive_queued(server.as_fd()).unwrap(), 4);
    (0..4).for_each(|index| batch.reply(index, 1000));
    // This socket can't send to this family.
    batch.slots[1].peer.ss_family = libc::AF_UNIX.try_into().unwrap();
    assert_eq!(
        batch.send(server.as_fd()),
        SendOutcome {
            sent: 3,
            failed: 1,
            full: 0
        }
    );
    assert_eq!(batch.send(server.as_fd()), SendOutcome::default());
    for index in [0, 2, 3] {
        assert_eq!(
            clients[index].recv(&mut [0; 100]).unwrap(),
            48,
            "cut to the request's length"
        );
    }
    assert_eq!(batch.receive(server.as_fd(), 8).unwrap(), 1);
    assert!(batch.datagram(0).is_some() && batch.datagram(1).is_none());
    batch.reply(1, 48);
    assert_eq!(batch.send(server.as_fd()), SendOutcome::default());
}

#[test]
fn it_takes_no_more_than_wanted() {
    let server = socket("127.0.0.1:0");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..6 {
        client.send_to(&[7; 48], server.local_addr().unwrap()).unwrap();
    }
    let mut batch = Batch::new(8);
    let taken = [1, 3, 8].map(|wanted| batch.receive(server.as_fd(), wanted).unwrap());
    assert_eq!(taken, [1, 3, 2]);
}

/// Both ways to receive.
#[test]
fn what_is_longer_than_its_buffer_is_known_as_cut() {
    let server = socket("127.0.0.1:0");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let lengths = [48, PAYLOAD_MAX, PAYLOAD_MAX + 1, 4000];
    for wanted in [1, lengths.len()] {
        for length in lengths {
            client
                .send_to(&vec![7; length], server.local_addr().unwrap())
                .unwrap();
        }
        let mut batch = Batch::new(lengths.len());
        let mut found = Vec::new();
        while found.len() < lengths.len() {
            let received = batch.receive(server.as_fd(), wanted).unwrap();
            for (_, datagram) in batch.datagrams(0..received) {
                assert_eq!(datagram.payload.len(), datagram.reply.len());
                found.push((datagram.payload.len(), datagram.is_cut));
            }
        }
        let expected = lengths.map(|length| (length.min(PAYLOAD_MAX), length > PAYLOAD_MAX));
        assert_eq!(found, expected);
    }
}

#[test]
fn several_can_be_looked_at_together() {
    let server = socket("127.0.0.1:0");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..6 {
        client
            .send_to(&[number; 48], server.local_addr().unwrap())
            .unwrap();
    }
    let mut batch = Batch::new(8);
    assert_eq!(batch.receive_queued(server.as_fd()).unwrap(), 6);
    for (wanted, expected) in [
        (vec![0, 1, 2, 3, 4, 5, 6, 7], vec![0, 1, 2, 3, 4, 5]),
        (vec![1, 4], vec![1, 4]),
        (vec![5], vec![5]),
        (vec![3, 6], vec![3]),
        (vec![9], vec![]),
        (vec![], vec![]),
    ] {
        let found: Vec<_> = batch.datagrams(wanted).collect();
        let numbers: Vec<_> = found.iter().map(|(index, _)| *index).collect();
        assert_eq!(numbers, expected);
        for (index, datagram) in &found {
            assert_eq!(usize::from(datagram.payload[0]), *index);
        }
    }
    // One without an address that can be answered is left out, and no other.
    batch.slots[1].peer.ss_family = libc::AF_UNIX.try_into().unwrap();
    let found: Vec<_> = batch.datagrams(0..3).map(|(index, _)| index).collect();
    assert_eq!(found, [0, 2]);
}

/// Both ways to send.
#[test]
fn who_has_no_such_family_gets_nothing() {
    let (server, client) = (socket("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0").unwrap());
    client.send_to(&[7; 48], server.local_addr().unwrap()).unwrap();
    let mut batch = Batch::new(1);
    batch.receive(server.as_fd(), 1).unwrap();
    batch.reply(0, 48);
    batch.slots[0].peer.ss_family = libc::AF_UNIX.try_into().unwrap();
    assert_eq!(
        batch.send(server.as_fd()),
        SendOutcome {
            sent: 0,
            failed: 1,
            full: 0
        }
    );
}

#[test]
fn groups_are_told_from_hosts() {
    let v4 = |header: [u8; 4], local: [u8; 4]| LocalDestination::V4 {
        header: header.into(),
        local: local.into(),
    };
    assert!(v4([192, 0, 2, 1], [192, 0, 2, 1]).is_unicast());
    assert!(!v4([192, 0, 2, 255], [192, 0, 2, 1]).is_unicast());
    assert!(!v4([224, 0, 1, 1], [224, 0, 1, 1]).is_unicast());
    let v6 = |text: &str| LocalDestination::V6 {
        header: text.parse().unwrap(),
        interface: 2,
    };
    assert!(v6("fe80::1").is_unicast() && !v6("ff02::101").is_unicast());
}

#[test]
fn nothing_there_in_time_is_would_block() {
    let server = socket("127.0.0.1:0");
    server.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let error = Batch::new(2).receive(server.as_fd(), 2).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}
