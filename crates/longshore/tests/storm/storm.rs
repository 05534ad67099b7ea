//! One storm, from its seed.

use crate::codec::Pinged;
use crate::filters::{self, Mask};
use crate::guests::{self, Inn};
use crate::handlers::{self, Echo, Out, Watch, Weather, Wild};
use crate::peers::{self, Good};
use crate::rng::Rng;
use crate::tally::Tally;
use crate::trouble;
use longshore::testing::Net;
use longshore::{
    Builder, Conn, Group, Groups, HalfClose, IdleOf, Limits, Linger, Listener, OnDuplicate, Owners,
    PortConfig, Reject, Server, SlowReader,
};
use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

struct Storm {
    seed: u64,
    rng: Rng,
    net: Net,
    server: Server,
    weather: Arc<Weather>,
    echo_at: Inn,
    wild_at: Inn,
    good: Vec<Good>,
    wild: Vec<peers::Wild>,
    /// The system may refuse something.
    refuses: bool,
    /// Some of the wild ones go off without a word.
    vanishes: bool,
}

pub(crate) fn run(seed: u64) {
    let mut storm = Storm::begin(seed);
    let cut_short = storm.rng.one_in(4);
    storm.rage();
    if !cut_short {
        storm.calm();
    }
    storm.end();
}

/// A listener each for the good peers, the wild ones, and what the server connects to itself.
fn builder(weather: &Arc<Weather>, [echo_at, wild_at]: [Inn; 2], rng: &mut Rng) -> Builder {
    let echo = echo_listener(echo_at, rng);
    let wild = wild_listener(wild_at, weather, rng);
    let sink = Listener::addr(weather.sink, Pinged::new()).limits(limits(rng));
    let (for_echo, for_wild, for_sink) = (weather.clone(), weather.clone(), weather.clone());
    let mut ticks = weather.rng();
    let calm = weather.clone();
    Server::builder()
        .listen(echo, move |_| {
            let (watch, rng) = (Watch::new(&for_echo), for_echo.rng());
            Ok(for_echo.tally.made(Echo { watch, rng, waiting: VecDeque::new() }))
        })
        .listen(wild, move |_| {
            let mut rng = for_wild.rng();
            match rng.below(12) {
                0 if !for_wild.is_calm() => for_wild.tally.panic_in_factory("storm: a factory"),
                1 if !for_wild.is_calm() => Err(Reject::silent()),
                _ => Ok(for_wild.tally.made(Wild { watch: Watch::new(&for_wild), rng })),
            }
        })
        .listen(sink, move |_| {
            let (watch, rng) = (Watch::new(&for_sink), for_sink.rng());
            Ok(for_sink.tally.made(Out { watch, rng }))
        })
        .workers(1 + rng.below(3))
        .connections(rng.of(&[14, 100]))
        .memory(rng.of(&[1 << 20, 256 << 20, u64::MAX]))
        .every(Duration::from_millis(100), move |_, _| {
            if !calm.is_calm() && ticks.one_in(4) {
                calm.tally.panic("storm: a tick");
            }
        })
        .port(
            PortConfig::default()
                .completions_max(rng.of(&[1, 3, 1024]))
                .recv_blocks(rng.of(&[1, 2, 8]))
                .recv_block_bytes(rng.of(&[64, 128, 4096])),
        )
}

impl Storm {
    fn begin(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut net = Net::seed(seed);
        let sink_at = net.addr();
        net.world().name("both.test", &["10.0.0.9".parse().unwrap(), sink_at.ip()]);
        let port = sink_at.port();
        let targets = ["both.test", "nobody.test", "10.0.0.9"].map(|host| format!("{host}:{port}"));
        let all_ways = [OnDuplicate::KickOld, OnDuplicate::RefuseNew, OnDuplicate::Allow(2)];
        let on_duplicate = rng.of(&all_ways);
        let weather = Arc::new(Weather {
            seeds: Mutex::new(Rng::new(seed.wrapping_mul(31))),
            calm: false.into(),
            tally: Tally::default(),
            dials: 0.into(),
            wrongs: Mutex::default(),
            ends: Mutex::default(),
            wild: Mutex::default(),
            out: Mutex::default(),
            rooms: [Group::new(Pinged::new()), Group::new(Pinged::new())],
            receipts: Mutex::default(),
            halls: Groups::at_most(3, Pinged::new()),
            all: Group::new(Pinged::new()),
            owners: Owners::new(on_duplicate),
            on_duplicate,
            targets: targets.into(),
            sink: sink_at,
        });
        let echo_at = inn(&mut net, rng.one_in(3), 6);
        let wild_at = inn(&mut net, false, rng.of(&[3, 6]));
        match rng.below(4) {
            0 => net.world().keep_sockets(),
            1 => net.world().act_as_completion_port(),
            _ => {}
        }
        let inns = [echo_at, wild_at];
        let tried = trouble::start_perhaps(&mut net, &mut rng, |rng| builder(&weather, inns, rng));
        let server = tried.unwrap_or_else(|| {
            net.start(builder(&weather, inns, &mut rng)).expect("settings that work")
        });
        let refuses = trouble::begin(&net, &mut rng);
        let (good, wild, vanishes) = (Vec::new(), Vec::new(), rng.one_in(3));
        Self { seed, rng, net, server, weather, echo_at, wild_at, good, wild, refuses, vanishes }
    }

    fn rage(&mut self) {
        for tag in 0..=self.rng.below(4) {
            let good = Good::new(&mut self.net, self.echo_at, tag as u8, &mut self.rng);
            self.good.push(good);
        }
        // The good ones are in before it gets crowded, also where accepts fail.
        self.net.run_for(if self.refuses { 20 * SECOND } else { SECOND });
        for _ in 0..20 + self.rng.below(100) {
            if self.wild.len() < 10 && self.rng.one_in(4) {
                let at = self.rng.of(&self.wild_at.at);
                self.wild.push(peers::Wild::new(&mut self.net, at));
            }
            if !self.wild.is_empty() && self.rng.one_in(20) {
                let gone = self.rng.below(self.wild.len());
                self.wild.swap_remove(gone);
            }
            for good in &mut self.good {
                good.step(&mut self.rng);
            }
            for wild in &mut self.wild {
                wild.step(&mut self.rng, self.vanishes);
            }
            if self.rng.one_in(20) {
                let most = self.rng.of(&[0, 8, 16, usize::MAX]);
                self.net.world().limit_descriptors(most);
            }
            self.meddle();
            let span = self.rng.span() / 10;
            self.net.run_for(span);
        }
    }

    /// What other threads do with handles.
    fn meddle(&mut self) {
        let wild = self.weather.wild.lock().unwrap().clone();
        if wild.is_empty() {
            return;
        }
        let conn = &wild[self.rng.below(wild.len())];
        match self.rng.below(19) {
            14 => self.weather.meet(&mut self.rng, conn),
            15 => self.weather.own(&mut self.rng, conn),
            16..=18 => {
                for key in 0..self.rng.of(&[1, 20]) {
                    let _ = conn.send_latest(key % 3, &[key as u8; 200]);
                }
            }

            0 => conn.close(),
            1 => conn.abort(),
            2 => {
                conn.pause();
                conn.resume();
            }
            3 => {
                for _ in 0..50 {
                    let _ = conn.send(&[5; 300]);
                }
            }
            4 => drop(self.server.abort(conn.id())),
            5 => drop(conn.send_encoded(vec![4; 2_000].into())),
            8 => drop(self.weather.rooms[self.rng.below(2)].join(conn)),
            9 => self.weather.say(&mut self.rng, None),
            6 | 7 => (0..self.rng.of(&[1, 10])).for_each(|_| handlers::post(conn, &self.weather)),
            _ => drop(conn.send(b"from outside")),
        }
    }

    /// Everybody is good from now on: all is delivered, and new peers are served.
    fn calm(&mut self) {
        self.weather.calm.store(true, Relaxed);
        self.wild.clear();
        self.good.iter_mut().for_each(Good::calm);
        let Self { net, good, weather, .. } = self;
        let done = net.run_until(2_000 * SECOND, |net| {
            good.iter_mut().all(|good| good.is_done() || good.is_excused(weather, net))
        });
        let states: Vec<_> = good.iter().map(Good::state).collect();
        let ends = self.weather.ends.lock().unwrap().clone();
        assert!(done, "seed {}: good peers wait for ever: {states:#?} {ends:#?}", self.seed);
        let unserved = self.good.iter_mut().filter_map(|good| (!good.is_done()).then_some(()));
        let unserved = unserved.count() as u64;
        assert!(
            unserved <= trouble::of_connections(&self.net),
            "{unserved}: {states:#?} {ends:#?}"
        );
        trouble::cease(&self.net);
        // All who are not good go home, those who still try to get somewhere included.
        let sink = self.weather.sink.ip();
        self.net.world().name("nobody.test", &[sink]);
        self.net.world().limit_descriptors(usize::MAX);
        self.weather.out.lock().unwrap().iter().for_each(Conn::close);
        // Who vanished is found out.
        self.net.run_for(if self.vanishes { 200 * SECOND } else { 100 * SECOND });
        trouble::check(&self.net, &self.weather.tally.check(&self.server));
        for inn in [self.echo_at, self.wild_at] {
            guests::visit(&mut self.net, &self.server, inn);
        }
    }

    fn end(mut self) {
        let seed = self.seed;
        self.weather.tally.check(&self.server);
        let within = self.rng.of(&[0, 1, 5_000, 40_000]);
        self.server.shutdown(Duration::from_millis(within));
        if self.rng.one_in(2) {
            self.wild.push(peers::Wild::new(&mut self.net, self.wild_at.at[0])); // into the shutdown
        }
        self.wild.iter_mut().for_each(|wild| wild.step(&mut self.rng, false));
        let stopped = self.net.run_until(200 * SECOND, |net| net.running_workers() == 0);
        assert!(stopped, "seed {seed}: the server does not stop");
        self.good.clear();
        self.wild.clear();
        self.net.run_for(10 * SECOND);
        let weather = &self.weather;
        assert_eq!(*weather.wrongs.lock().unwrap(), [""; 0], "seed {seed}: broken promises");
        assert_eq!(self.net.world().descriptors(), 0, "seed {seed}: sockets");
        weather.tally.check_end(&self.server);
        let open = weather.receipts.lock().unwrap().iter().filter(|it| it.poll().is_none()).count();
        assert_eq!(open, 0, "seed {seed}: broadcasts that nobody has answered");
        let members = weather.rooms.each_ref().map(Group::len);
        assert_eq!(members, [0, 0], "seed {seed}: members that are gone");
        let left = (weather.halls.list(), weather.halls.len(), weather.all.len());
        assert_eq!(left, (vec![], 0, 0), "seed {seed}: members that are gone");
        assert_eq!(weather.owners.keys(), [0; 0], "seed {seed}: keys of who is gone");
        trouble::count(&self.net);
    }
}

/// A listener on a port of its own, for IPv4 and IPv6.
fn inn(net: &mut Net, masked: bool, per_source: u32) -> Inn {
    let at = net.addr();
    let same = SocketAddr::from((Ipv6Addr::LOCALHOST, at.port()));
    Inn { at: [at, same], masked, per_source }
}

fn limits(rng: &mut Rng) -> Limits {
    let bytes = rng.of(&[1024, 4096, 65_536]);
    Limits::new()
        .send_queue_bytes(bytes)
        .send_queue_low_bytes(rng.of(&[0, bytes / 4, bytes]))
        .slow_reader(rng.of(&[
            SlowReader::Disconnect,
            SlowReader::Refuse,
            SlowReader::DropNewest,
            SlowReader::DropOldest,
        ]))
        .send_queue_messages(rng.of(&[u32::MAX, u32::MAX, 3]))
        .send_queue_soft_bytes(rng.of(&[bytes, bytes / 2]))
        .send_queue_soft(rng.of(&[Duration::from_millis(500), 10 * SECOND]))
        .half_close(rng.of(&[HalfClose::Flush, HalfClose::Close]))
        .recv_credit_bytes(rng.of(&[1024, 65_536, 256 << 10]))
        .login(rng.of(&[Duration::ZERO, 20 * SECOND]))
        .frame(rng.of(&[Duration::ZERO, 5 * SECOND, 20 * SECOND]))
        .frame_rate(rng.of(&[1, 8 << 10, u32::MAX]))
        .idle_of(rng.of(&[IdleOf::Receiving, IdleOf::Sending, IdleOf::Both]))
        .write(rng.of(&[Duration::from_millis(200), 10 * SECOND]))
        .posts(rng.of(&[1, 4, 1_024]))
        .linger(
            Linger::default()
                .wait(rng.of(&[Duration::ZERO, SECOND]))
                .total(rng.of(&[SECOND, 30 * SECOND]))
                .bytes(rng.of(&[0, 100, 1 << 20])),
        )
}

/// Nothing of it ends a peer that keeps to the rules.
fn echo_listener(at: Inn, rng: &mut Rng) -> Listener<Pinged> {
    let limits = limits(rng)
        .slow_reader(SlowReader::Refuse)
        .send_queue_soft(Duration::ZERO)
        .first_byte(Duration::ZERO)
        .login(Duration::ZERO)
        .frame(Duration::ZERO)
        .idle(Duration::ZERO)
        .write(Duration::ZERO)
        .linger(Linger::default().total(3_000 * SECOND))
        .half_close(HalfClose::Flush)
        .connections_per_source(at.per_source)
        .count_loopback(true);
    let listener = Listener::port(at.at[0].port(), Pinged::new()).limits(limits);
    if at.masked { listener.filter(|| Box::new(Mask::default())) } else { listener }
}

fn wild_listener(at: Inn, weather: &Arc<Weather>, rng: &mut Rng) -> Listener<Pinged> {
    let limits = limits(rng)
        .first_byte(rng.of(&[Duration::from_millis(300), 10 * SECOND]))
        .idle(rng.of(&[Duration::from_millis(50), 20 * SECOND]))
        .connections_per_source(at.per_source)
        .count_loopback(true);
    let listener = Listener::port(at.at[0].port(), Pinged::new()).limits(limits);
    let listener = listener.group(&weather.all);
    if !rng.one_in(3) {
        return listener;
    }
    let weather = Arc::clone(weather);
    listener.filter(move || {
        let mut rng = weather.rng();
        if !weather.is_calm() && rng.one_in(10) {
            weather.tally.panic_in_factory("storm: a factory of filters");
        }
        Box::new(filters::Wild { rng, weather: Arc::clone(&weather) })
    })
}
