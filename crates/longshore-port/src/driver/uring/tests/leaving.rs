//! How ops and sockets end when the ring is late, or forgets.

use super::super::names::{Kind, user_data};
use super::*;

/// Sends until one send waits for room, which the peer never makes.
fn stall(hub: &mut Hub, id: SocketId, bytes: &Bytes) {
    loop {
        let data = SendData::One(Segment::Shared(bytes.clone()));
        hub.send(id, data, SendMode::Whole, true);
        let mut out = Vec::new();
        let soon = hub.port.precise_now() + Duration::from_millis(20);
        hub.port.wait(Until::Time(soon), &mut out).unwrap();
        match out.pop() {
            Some(Completion { what: What::Sent { error: None, .. }, .. }) => {}
            Some(other) => panic!("{other:?}"),
            None => return,
        }
    }
}

/// The ring gets the cancel before its receive, which it cannot know.
#[test]
fn a_cancel_that_missed_its_op_is_repeated() {
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    let (id, _stream) = hub.pair();
    hub.port.push_cancel(user_data(Kind::Recv, id.token()));
    hub.port.submit(id, Op::Recv { credit: 100 });
    hub.port.sockets.get_mut(id.token()).unwrap().recv.cancelled = true;
    let what = hub.wait();
    assert!(matches!(what[0].what, What::RecvEnded(End::Cancelled)), "{what:?}");
}

/// No shutdown wakes it, unlike at a close: the reset waits for the last descriptor to be closed,
/// and that for the send.
#[test]
fn an_abort_ends_a_send_that_waits_for_room() {
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    let (id, mut stream) = hub.pair();
    stall(&mut hub, id, &Bytes::from(vec![1; SEND_BYTES_MAX]));
    hub.port.submit(id, Op::Abort);
    let mut what = Vec::new();
    while !matches!(what.last(), Some(What::Closed)) {
        what.extend(hub.wait().into_iter().map(|completion| completion.what));
    }
    let [What::Sent { error: Some(error), .. }, What::Closed] = &what[..] else {
        panic!("{what:?}")
    };
    assert_eq!(error.kind, ErrorKind::Cancelled);
    let end = stream.read_to_end(&mut Vec::new()).map_err(|error| error.kind());
    assert_eq!(end, Err(IoErrorKind::ConnectionReset));
}

/// The kernel has a send of which its socket knows no more: nobody cancels it, and it never
/// returns.
#[test]
fn the_bytes_of_a_send_that_did_not_return_in_time_are_never_freed() {
    let config = PortConfig { drop_deadline: Duration::ZERO, ..PortConfig::default() };
    let Some(mut hub) = open(&config) else { return };
    let (id, _stream) = hub.pair();
    let bytes = Bytes::from(vec![1; SEND_BYTES_MAX]);
    stall(&mut hub, id, &bytes);
    hub.port.sockets.get_mut(id.token()).unwrap().send = None;
    drop(hub);
    assert!(!bytes.is_unique(), "freed, and the kernel may read it");
}

/// Nobody answers it, and so it is ended by the cancel alone.
#[test]
fn a_cancelled_connect_ends_though_nobody_answers() {
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    let listener = crate::driver::sockets::open((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(1).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    // Its queue has room for two; whoever comes then is not heard.
    let _queue = [(); 4].map(|()| {
        let waiting = crate::driver::sockets::open(addr).unwrap();
        waiting.set_nonblocking(true).unwrap();
        let _ = waiting.connect(&addr.into()); // under way
        waiting
    });
    let to = crate::ConnectTo { addr, from: None, options: SocketOptions::default() };
    let id = hub.port.connect(&to, Token::new(7, 0)).unwrap();
    hub.port.wait(Until::Now, &mut hub.out).unwrap();
    assert!(hub.out.is_empty(), "{:?}", hub.out);
    hub.port.cancel(id, OpKind::Connect);
    let mut what = Vec::new();
    while !matches!(what.last(), Some(What::Closed)) {
        what.extend(hub.wait().into_iter().map(|completion| completion.what));
    }
    let [What::ConnectFailed(error), What::Closed] = &what[..] else { panic!("{what:?}") };
    assert_eq!(error.kind, ErrorKind::Cancelled);
}

/// A list of parts is free again whatever became of its send.
#[test]
fn sends_that_fail_leave_no_list_behind() {
    let Some(mut hub) = open(&PortConfig::default()) else { return };
    for _ in 0..3 {
        let (id, stream) = hub.pair();
        drop(stream);
        let error = loop {
            let parts = [b"one", b"two"].map(|part| Segment::Shared(Bytes::from_static(part)));
            hub.send(id, SendData::Many(parts.into()), SendMode::Try, true);
            let done = hub.wait().pop().map(|completion| completion.what);
            let Some(What::Sent { error, .. }) = done else { panic!("{done:?}") };
            if error.is_some() {
                break error;
            }
        };
        assert!(error.is_some() && hub.port.gathers.lists() == 1, "{}", hub.port.gathers.lists());
    }
}
