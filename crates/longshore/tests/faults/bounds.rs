//! What peers can make a server hold, and for how long (R38 to R43).

use crate::support::*;
use longshore::*;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Connects with little room to receive.
fn connect_narrow(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect_timeout(&addr.into(), PATIENCE).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// R42: who reads little at a time is not stuck, and who reads nothing is cut.
#[test]
fn r42_a_slow_reader_is_no_stalled_write() {
    on_each_driver(|driver| {
        const LEN: usize = 600_000;
        let limits = Limits::new().write(SECOND);
        let options = SocketOptions::default().send_buf_bytes(8192);
        let listener = listener().limits(limits).socket_options(options);
        let running = Running::handled(driver, listener, |builder| builder, Echo);
        let mut slow = connect_narrow(running.addr);
        let mut stuck = connect_narrow(running.addr);
        let message = pattern(1, LEN);
        send(&mut slow, &message);
        send(&mut stuck, &message);
        // 50 kB a second: 64 KiB, which are one send, take longer than the deadline.
        let begin = Instant::now();
        let mut got = vec![0; LEN + 4];
        let mut at = 0;
        while begin.elapsed() < 4 * SECOND {
            match slow.read(&mut got[at..at + 1024]) {
                Ok(0) => panic!("{}: ended after {at} bytes", driver.name),
                Ok(count) => at += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{}: {error} after {at} bytes", driver.name),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let counts = running.tally.now();
        assert_eq!(counts.ended("write_stalled"), 1, "{counts:?}");
        slow.read_exact(&mut got[at..]).unwrap();
        assert!(got[4..] == message, "another message than was sent");
        assert_eq!(end_of(&mut stuck), Ended::Reset);
        reached("R42", driver, format_args!("{at} bytes in 4 s at a deadline of 1 s"));
        running.stop(Duration::ZERO);
    });
}
