use crate::net::{Lab, on_real_ports};
use longshore::testing::{self, Net};
use longshore::*;
use std::time::Duration;

struct Echo;

impl Handler for Echo {
    type Codec = LengthDelimited;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)
    }
}

fn codec() -> LengthDelimited {
    LengthDelimited::u32_be(1 << 20)
}

on_real_ports! {
    echo_on_real_sockets,
}

fn echo_on_real_sockets(lab: &mut Lab) {
    let listener = Listener::tcp("127.0.0.1:0", codec());
    let server = lab.start(Server::builder().listen(listener, |_| Ok(Echo)).workers(2));
    let addr = server.local_addrs()[0].to_string();
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(&addr, codec()).unwrap()).collect();
    for round in 0..50usize {
        for client in &mut clients {
            let message = vec![round as u8; round * 977];
            client.send(&message).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.recv().unwrap(), vec![round as u8; round * 977]);
        }
    }
    assert_eq!(server.connection_count(), 20);
    drop(clients);
    server.shutdown(Duration::from_secs(5));
    server.wait().unwrap();
    let snapshot = server.snapshot();
    assert_eq!((snapshot.accepted, snapshot.closed), (20, 20));
    assert_eq!((snapshot.messages_in, snapshot.messages_out), (1000, 1000));
}

#[test]
fn echo_in_simulation() {
    for seed in 0..200 {
        let mut net = Net::seed(seed);
        let addr = net.serve(codec(), |_| Ok(Echo));
        let mut peers: Vec<_> = (0..5).map(|_| net.connect(addr, codec())).collect();
        let mut want = vec![Vec::new(); 5];
        for (number, peer) in peers.iter_mut().enumerate() {
            for round in 0..20usize {
                let message = vec![(round + number) as u8; round * 97];
                peer.send(&message);
                want[number].push(message);
            }
            peer.finish();
        }
        let mut got = vec![Vec::new(); 5];
        let done = net.run_until(Duration::from_secs(100), |_| {
            for (peer, got) in peers.iter_mut().zip(&mut got) {
                got.extend(peer.received());
            }
            peers.iter().all(testing::Peer::is_closed)
        });
        assert!(done, "seed {seed}: not all closed");
        for (peer, got) in peers.iter_mut().zip(&mut got) {
            got.extend(peer.received());
        }
        assert!(got == want, "seed {seed}");
    }
}
