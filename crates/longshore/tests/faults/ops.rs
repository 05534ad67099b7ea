//! Ops of a port, and cancels of them at any time (R16).

use super::support::*;
use longshore_base::Token;
use longshore_port::{
    BindTo, Completion, ConnectTo, Op, OpKind, Port, PortConfig, Segment, SendData, SendMode,
    SocketId, SocketOptions, SystemWorld, Until, What, World,
};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Connections at a time, both sides of each.
const SIDES: usize = 48;

/// What is in flight on one socket.
#[expect(clippy::struct_excessive_bools, reason = "each kind of op is in flight or is not")]
struct Side {
    id: SocketId,
    accept: bool,
    connect: bool,
    recv: bool,
    send: bool,
    watch: bool,
    /// Nothing more may be begun but its close.
    spent: bool,
    leaving: bool,
}

/// One port, whose every op gets one answer.
struct Bench<P> {
    port: P,
    sides: BTreeMap<u32, Side>,
    next: u32,
    random: Random,
    posted: usize,
    answered: usize,
    cancels: usize,
}

fn answer(in_flight: &mut bool, what: &What) {
    assert!(std::mem::take(in_flight), "a second answer, or to nothing: {what:?}");
}

impl<P: Port> Bench<P> {
    fn add(&mut self, take_in: impl FnOnce(&mut P, Token) -> SocketId) -> &mut Side {
        self.next += 1;
        let id = take_in(&mut self.port, Token::new(self.next, 7));
        let side = Side {
            id,
            accept: false,
            connect: false,
            recv: false,
            send: false,
            watch: false,
            spent: false,
            leaving: false,
        };
        self.sides.entry(self.next).or_insert(side)
    }

    fn connect(&mut self, addr: SocketAddr) {
        let to = ConnectTo { addr, from: None, options: narrow() };
        self.add(|port, token| port.connect(&to, token).unwrap()).connect = true;
        self.posted += 1;
    }

    /// Begins something on some connection, or cancels what may be there.
    fn act(&mut self) {
        let at = self.random.below(self.sides.len());
        let side = self.sides.values_mut().nth(at).unwrap();
        let (random, id) = (&mut self.random, side.id);
        if side.leaving {
            return;
        }
        let op = match random.below(40) {
            // The listener among them, which may be told all of these as well.
            0..12 => {
                const KINDS: [OpKind; 5] =
                    [OpKind::Accept, OpKind::Connect, OpKind::Recv, OpKind::Send, OpKind::Watch];
                let kind = KINDS[random.below(5)];
                side.spent |= side.send && kind == OpKind::Send;
                self.cancels += 1;
                return self.port.cancel(id, kind);
            }
            _ if at == 0 => {
                if side.accept {
                    return;
                }
                side.accept = true;
                Op::Accept { credit: 1 + random.below(100) as u32 }
            }
            12 => {
                side.leaving = true;
                if random.below(2) == 0 { Op::Close } else { Op::Abort }
            }
            _ if side.spent || side.connect => return,
            13..23 if !side.recv => {
                side.recv = true;
                Op::Recv { credit: 1 + random.below(20_000) as u32 }
            }
            23..35 if !side.send => {
                side.send = true;
                let whole = random.below(2) == 0;
                let len = 1 + random.below(if whole { 60_000 } else { 500 });
                let data = SendData::One(Segment::Shared(vec![7; len].into()));
                let mode = if whole { SendMode::Whole } else { SendMode::Try };
                Op::Send { data, mode, prompt: random.below(2) == 0 }
            }
            35.. if !side.watch => {
                side.watch = true;
                Op::Watch { half: random.below(2) == 0 }
            }
            _ => return,
        };
        self.posted += 1;
        self.port.submit(id, op);
    }

    /// Takes what came.
    fn hear(&mut self, until: Until) {
        let mut out = Vec::new();
        self.port.wait(until, &mut out).unwrap();
        for Completion { token, what } in out {
            let name = token.index();
            let side = self.sides.get_mut(&name).unwrap_or_else(|| {
                panic!("behind the last answer of a socket, or of none: {what:?}")
            });
            match &what {
                What::Accepted(_) => assert!(side.accept, "nobody asked for it"),
                What::Received(_) => assert!(side.recv, "nobody asked for it"),
                What::AcceptEnded(_) => answer(&mut side.accept, &what),
                What::Connected { .. } => answer(&mut side.connect, &what),
                What::ConnectFailed(_) => {
                    answer(&mut side.connect, &what);
                    if !std::mem::replace(&mut side.leaving, true) {
                        self.posted += 1; // it closes by itself
                    }
                }
                What::RecvEnded(_) => answer(&mut side.recv, &what),
                What::WatchEnded(_) => answer(&mut side.watch, &what),
                What::Sent { error, .. } => {
                    answer(&mut side.send, &what);
                    side.spent |= error.is_some();
                }
                What::Closed => {
                    let busy = side.accept || side.connect || side.recv || side.send || side.watch;
                    assert!(side.leaving && !busy, "closed with ops in flight");
                    self.sides.remove(&name);
                }
                other => panic!("nobody asked for {other:?}"),
            }
            match what {
                What::Accepted(socket) => {
                    self.add(|port, token| port.attach(socket, token).unwrap());
                }
                What::Received(_) => {}
                _ => self.answered += 1,
            }
        }
    }

    /// Closes all, and waits for every answer that is still to come.
    fn close(&mut self) {
        for side in self.sides.values_mut().filter(|side| !side.leaving) {
            side.leaving = true;
            self.posted += 1;
            self.port.submit(side.id, Op::Close);
        }
        let begin = Instant::now();
        while !self.sides.is_empty() {
            assert!(begin.elapsed() < PATIENCE, "{} sockets do not close", self.sides.len());
            self.hear(Until::Time(self.port.now() + Duration::from_millis(1)));
            // Who was just accepted closes as well.
            for side in self.sides.values_mut().filter(|side| !side.leaving) {
                side.leaving = true;
                self.posted += 1;
                self.port.submit(side.id, Op::Close);
            }
        }
    }
}

/// Little fits into a connection, so that many sends wait.
fn narrow() -> SocketOptions {
    SocketOptions::default().send_buf_bytes(16 * 1024).recv_buf_bytes(16 * 1024)
}

#[test]
fn r16_each_op_has_one_answer_whenever_it_is_cancelled() {
    on_each_driver(|driver| {
        let ops = fewer(pick(100_000, 1_000_000));
        let world = SystemWorld::new(driver.choice).unwrap();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let to = BindTo { addr, dual_stack: false, backlog: 1024, options: narrow() };
        let listening = world.bind(&to).unwrap();
        let addr = listening.local.socket_addr().unwrap();
        let mut bench = Bench {
            port: world.open(&PortConfig::default()).unwrap(),
            sides: BTreeMap::new(),
            next: 0,
            random: Random(16),
            posted: 0,
            answered: 0,
            cancels: 0,
        };
        bench.add(|port, token| port.listen(listening, token).unwrap());
        while bench.posted < ops {
            if bench.sides.len() < SIDES {
                bench.connect(addr);
            }
            for _ in 0..bench.random.below(60) {
                bench.act();
            }
            bench.hear(Until::Now);
        }
        bench.close();
        assert_eq!(bench.posted, bench.answered);
        assert_eq!((bench.port.sockets(), bench.port.leases()), (0, 0));
        let Bench { posted, cancels, next, .. } = bench;
        let text = format!("{posted} ops of {next} sockets = answers, {cancels} cancels");
        reached("R16", driver, text);
    });
}
