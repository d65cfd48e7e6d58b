//! Impure. Keys for NTS while workers come and go.

use std::net::UdpSocket;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::cli::Flags;
use crate::clock::published;
use crate::clock::{ClockModel, Reference};
use crate::config::{self, Difference, Loaded};
use crate::host::{clock, sys};
use crate::nts::aead::Algorithm;
use crate::nts::keyring::Time;
use crate::nts::test_client::{NtsClient, keyring};
use crate::server::{INTERRUPT, Verdict};
use crate::supervisor::sockets::InheritedSockets;
use crate::wire::{HEADER_LEN, ReferenceId};

const CLIENTS: usize = 16;

fn configured(address: SocketAddr, workers: u16) -> Loaded {
    let text = format!("[[listener]]\naddress = \"{address}\"\nworkers = {workers}\n");
    config::load(&Flags::default(), Some((Path::new("f"), &text))).unwrap()
}

fn free_address() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A request on its own socket, again and again until `ended`: how many there were. Each has a genuine reply.
fn ask(server: SocketAddr, ended: &AtomicBool) -> u64 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut header = [0; HEADER_LEN];
    header[0] = 4 << 3 | 3;
    let client = NtsClient {
        header,
        ..NtsClient::new(Algorithm::SivCmac256)
    };
    let mut cookie = client.cookie(&keyring(20_775, Time::Vouched));
    let mut asked = 0;
    while !ended.load(Ordering::Relaxed) {
        let packet = client.request(&cookie);
        socket.send_to(&packet, server).unwrap();
        let mut reply = [0; 1024];
        let length = socket.recv(&mut reply).expect("no request is lost");
        assert_eq!(length, packet.len(), "no plain reply, and no NAK");
        cookie = client.cookies(&reply[..length]).remove(0);
        asked += 1;
        thread::sleep(Duration::from_millis(1));
    }
    asked
}

/// From one worker to many and back, and with other keys on the way.
async fn change(listeners: &mut Listeners, address: SocketAddr) {
    let manager = ServiceManager::connect().unwrap();
    let mut running = configured(address, 1);
    for (round, workers) in [4, 1, 3, 2, 8, 1].into_iter().enumerate() {
        let wanted = configured(address, workers);
        let difference = Difference::between(&running.config, &wanted.config, false);
        let plan = listeners.plan(&difference.listeners);
        let prepared = listeners.prepare(plan, &wanted).unwrap();
        listeners.commit(prepared, &manager).await;
        assert_eq!(listeners.count(), usize::from(workers));
        running = wanted;
        // New workers have the keys from their first packet on.
        tokio::time::sleep(Duration::from_millis(20)).await;
        // A day on, and a day back: what the clients have is accepted.
        let day = 20_775 + u32::try_from(round % 2).unwrap();
        listeners.set_keyring(Some(Arc::new(keyring(day, Time::Vouched))));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_change_of_workers_or_keys_loses_no_request_with_nts() {
    sys::interrupt_by(INTERRUPT).unwrap();
    let address = free_address();
    let now = clock::now();
    let unsynchronized = Reference::unsynchronized(ReferenceId::INIT, -20, ClockModel::Host, now);
    let (_publisher, reader) = published(unsynchronized);
    let listener = configured(address, 1).config.listeners.remove(0);
    let sockets = Sockets::open(listener, &mut InheritedSockets::default(), None).unwrap();
    // A worker has the keys from its first packet on.
    let keys = Some(Arc::new(keyring(20_775, Time::Vouched)));
    let mut listeners = Listeners::start(vec![sockets], &reader, None, Budget::default(), keys).unwrap();
    let ended = AtomicBool::new(false);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let asked: u64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| ask(address, &ended)))
            .collect();
        runtime.block_on(change(&mut listeners, address));
        ended.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert!(asked > 100, "{asked}");
    assert_eq!(listeners.total().of(Verdict::AnsweredNts), asked);
    assert_eq!(listeners.total().received(), asked);
    runtime.block_on(listeners.stop());
}
