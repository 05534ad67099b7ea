//! Descriptors: what comes is closed, whichever race it lost. A test program of its own, since the
//! count is that of the process.

use longshore_base::Token;
use longshore_port::{
    BindTo, Completion, DriverChoice, Op, OpKind, Port, PortConfig, SocketOptions, SystemWorld,
    Until, What, World,
};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const LISTENER: Token = Token::new(0, 0);
const CONNECTION: Token = Token::new(1, 0);

/// Open descriptors of this process; those of the directory itself are the same each time.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// Connects, cancels accepts, closes and aborts at once, and drops the port in the middle of it.
fn storm(world: &SystemWorld, rounds: u32) {
    let mut port = world.open(&PortConfig::default()).expect("a port opens");
    let to = BindTo {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        dual_stack: false,
        backlog: 1024,
        options: SocketOptions::default(),
    };
    let listening = world.bind(&to).expect("loopback can be bound");
    let addr = listening.local.socket_addr().expect("an IP address");
    let listener = port.listen(listening, LISTENER).expect("a listener is taken in");
    let mut streams = Vec::new();
    let mut out = Vec::new();
    let mut accepting = false;
    for round in 0..rounds {
        if !accepting {
            port.submit(listener, Op::Accept { credit: 1 + round % 8 });
            accepting = true;
        }
        streams.push(TcpStream::connect(addr).expect("loopback connects"));
        port.wait(Until::Now, &mut out).expect("the port lives");
        if round % 2 == 0 {
            port.cancel(listener, OpKind::Accept);
        }
        for Completion { what, .. } in out.drain(..) {
            match what {
                What::AcceptEnded(_) => accepting = false,
                What::Accepted(socket) if round % 3 > 0 => {
                    let id = port.attach(socket, CONNECTION).expect("a socket is taken in");
                    port.submit(id, Op::Recv { credit: 100 });
                    match round % 5 {
                        0 => port.submit(id, Op::Abort),
                        1 => port.submit(id, Op::Detach), // what comes of it is dropped
                        2 => {}
                        _ => port.submit(id, Op::Close),
                    }
                }
                _ => {}
            }
        }
    }
    drop(port);
    for mut stream in streams {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
        let end = stream.read(&mut [0; 1]);
        let waited = matches!(&end, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!waited, "a connection that nobody closed");
    }
}

#[test]
fn no_descriptor_is_left_by_a_storm_of_connects_cancels_and_closes() {
    if descriptors() == 0 {
        println!("SKIPPED, NOT TESTED AT ALL: no /proc/self/fd on this system");
        return;
    }
    for choice in [DriverChoice::Uring, DriverChoice::Readiness] {
        let world = match SystemWorld::new(choice) {
            Ok(world) => world,
            Err(refused) => {
                println!("SKIPPED, NOT TESTED AT ALL: {refused}");
                continue;
            }
        };
        storm(&world, 16);
        let before = descriptors();
        for _ in 0..4 {
            storm(&world, 500);
        }
        assert_eq!(descriptors(), before, "descriptors after storms on {choice:?}");
    }
}
