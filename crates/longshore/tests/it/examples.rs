//! The examples, on a simulated network; and the README's program, which is one of them.

use longshore::testing::{Net, Peer, SimDisk, SimFile};
use longshore::{
    Connector, Ctx, FileError, FileErrorKind, FileName, FileSource, FileStore, Handler,
    LengthDelimited, Limits, Lines, Listener, Raw, Result, Server, SlowReader,
};
use std::sync::{Arc, mpsc};
use std::time::Duration;

#[expect(dead_code, reason = "main is for people")]
#[path = "../../examples/chat.rs"]
mod chat;
#[expect(dead_code, reason = "main is for people")]
#[path = "../../examples/client.rs"]
mod client;
#[expect(dead_code, reason = "main is for people")]
#[path = "../../examples/custom_codec.rs"]
mod custom_codec;
#[expect(dead_code, reason = "main is for people")]
#[path = "../../examples/files.rs"]
mod files;
#[expect(dead_code, reason = "main is for people")]
#[path = "../../examples/game.rs"]
mod game;
#[expect(dead_code, reason = "main is for people")]
#[path = "../../examples/gateway.rs"]
mod gateway;
#[expect(dead_code, reason = "main is for people")]
#[path = "../../examples/proxy.rs"]
mod proxy;
#[expect(dead_code, reason = "main is for people")]
#[path = "../../examples/web.rs"]
mod web;

const SOON: Duration = Duration::from_secs(2);

#[test]
fn the_program_of_the_readme_is_the_echo_example() {
    let example = include_str!("../../examples/echo.rs");
    let readme = include_str!("../../../../README.md");
    let (_, program) = example.split_once("\n\n").unwrap();
    assert!(program.starts_with("use longshore::"), "{program}");
    assert!(readme.contains(&format!("```rust,no_run\n{program}```\n")), "they differ");
}

#[test]
fn chat_knows_names_rooms_and_private_words() {
    for seed in 0..20 {
        let mut net = Net::seed(seed);
        let addr = net.addr();
        net.start(chat::chat(Listener::addr(addr, Lines::max(1024)))).unwrap();
        let [mut ada, mut bob] = [0, 1].map(|_| net.connect(addr, Lines::max(1024)));
        let mut say = |peer: &mut Peer<Lines>, line: &str| {
            peer.send(line);
            net.run_for(SOON);
        };
        say(&mut ada, "hello?");
        say(&mut ada, "/login ada");
        say(&mut bob, "/login ada");
        say(&mut bob, "/login bob");
        say(&mut bob, "hi");
        say(&mut bob, "/join den");
        say(&mut bob, "alone");
        say(&mut ada, "/msg bob psst");
        say(&mut ada, "/msg eve psst");
        ada.finish();
        net.run_for(SOON);
        let refused = "! /login NAME, with a name that is free";
        let heard_by_ada = [
            refused,
            "* ada comes to lobby",
            "* bob comes to lobby",
            "bob: hi",
            "* bob goes to den",
            "! nobody of that name hears that",
        ];
        let heard_by_bob = [
            refused,
            "* bob comes to lobby",
            "bob: hi",
            "* bob goes to den",
            "* bob comes to den",
            "bob: alone",
            "ada: psst",
        ];
        assert_eq!(ada.received(), heard_by_ada, "seed {seed}");
        assert_eq!(bob.received(), heard_by_bob, "seed {seed}");
        assert!(ada.is_closed(), "seed {seed}");
    }
}

#[test]
fn game_shows_where_everybody_is_and_the_newest_to_who_reads_slowly() {
    for seed in 0..5 {
        let mut net = Net::seed(seed);
        let addr = net.addr();
        let limits = Limits::new().write(Duration::ZERO); // bob reads nothing for minutes
        let listener = Listener::addr(addr, Lines::max(256)).push_only().limits(limits);
        net.start(game::game(listener)).unwrap();
        let [mut ada, mut bob] = [0, 1].map(|_| net.connect(addr, Lines::max(256)));
        net.run_for(SOON);
        let [number, other] = [&mut ada, &mut bob]
            .map(|peer| peer.received()[0].strip_prefix("you are ").unwrap().to_owned());
        assert_ne!(number, other);
        bob.set_reading(false);
        ada.send("go 1 -5");
        net.run_for(60 * SOON);
        ada.send("go 0 0");
        net.run_for(SOON);
        let places = ada.received();
        for (step, place) in (1..).zip(&places) {
            assert_eq!(*place, format!("at {number} {step} -{step}"), "seed {seed}");
        }
        assert!(places.len() >= 2_300, "{}", places.len());
        bob.set_reading(true);
        ada.finish();
        net.run_for(SOON);
        let seen = bob.received();
        assert_eq!(seen.last(), Some(&format!("gone {number}")), "seed {seed}");
        assert_eq!(seen[seen.len() - 2], *places.last().unwrap(), "seed {seed}");
    }
}

#[test]
fn gateway_finds_devices_by_their_serial_numbers() {
    for seed in 0..20 {
        let mut net = Net::seed(seed);
        let (devices, operators) = (net.addr(), net.addr());
        let listen = |addr| Listener::addr(addr, Lines::max(1024));
        net.start(gateway::gateway(listen(devices), listen(operators))).unwrap();
        let mut operator = net.connect(operators, Lines::max(1024));
        let [mut old, mut new, mut silent] = [0; 3].map(|_| net.connect(devices, Lines::max(1024)));
        let mut say = |peer: &mut Peer<Lines>, line: &str| {
            peer.send(line);
            net.run_for(SOON);
        };
        say(&mut operator, "pump-7 stop");
        say(&mut old, "HELLO pump-7");
        say(&mut operator, "pump-7 stop");
        say(&mut old, "stopped");
        say(&mut new, "HELLO pump-7");
        say(&mut operator, "pump-7 start");
        say(&mut operator, "?");
        assert_eq!(old.received(), ["stop"], "seed {seed}");
        assert_eq!(new.received(), ["start"], "seed {seed}");
        assert!(old.is_closed() && !new.is_closed(), "seed {seed}");
        let heard = ["GONE", "OK", "pump-7: stopped", "OK", "pump-7", "1 devices"];
        assert_eq!(operator.received(), heard, "seed {seed}");
        silent.send("");
        net.run_for(10 * SOON);
        assert!(silent.is_closed(), "it is no device");
    }
}

/// Echoes one frame and closes.
struct Once;

impl Handler for Once {
    type Codec = LengthDelimited;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)?;
        cx.close();
        Ok(())
    }
}

#[test]
fn client_comes_back_after_every_end() {
    let mut net = Net::seed(1);
    let codec = LengthDelimited::u32_be(1 << 20);
    let addr = net.addr();
    let client = net.start(Server::builder().workers(1)).unwrap();
    let counting = |_: &longshore::Peer<'_>| Ok(client::Counting::default());
    client.connect(client::connector(&addr.to_string()), counting).unwrap();
    net.run_for(SOON);
    assert!(client.snapshot().connect_failed > 0, "nobody listens yet");
    let once = Server::builder().listen(Listener::addr(addr, codec), |_| Ok(Once));
    let server = net.start(once.workers(1)).unwrap();
    let came_back = net.run_until(SOON * 20, |_| client.snapshot().messages_in >= 3);
    assert!(came_back && server.snapshot().accepted >= 3, "{:?}", client.snapshot());
}

#[test]
fn custom_codec_finds_its_packets_in_noise() {
    for seed in 0..20 {
        let mut net = Net::seed(seed);
        let addr = net.serve(custom_codec::Meters, |_| Ok(custom_codec::Meter::default()));
        let mut meter = net.connect(addr, custom_codec::Meters);
        let report = [0xa5, 3, 1, 0, 0x2a, 0x2b];
        let damaged = [0xa5, 3, 1, 0, 0x2b, 0x2b];
        let parts = [b"noise", &report[..], &[0xa5, 0], &damaged, &report, &[0xa5]];
        meter.send_bytes(&parts.concat());
        net.run_for(SOON);
        let answers = meter.received_with(|packet| (packet.kind, packet.value));
        assert_eq!(answers, [(2, 1), (2, 2)], "seed {seed}");
    }
}

/// Sends back what it gets, as fast as it is taken.
struct RawEcho;

impl Handler for RawEcho {
    type Codec = Raw;
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, bytes: &[u8]) -> Result {
        cx.send(bytes)
    }
}

#[test]
fn proxy_hands_on_all_bytes_and_keeps_few() {
    let mut waited = false;
    for seed in 0..6 {
        let mut net = Net::seed(seed);
        let (behind, front) = (net.addr(), net.addr());
        let limits = Limits::new().send_queue_bytes(64 << 20).slow_reader(SlowReader::Refuse);
        let listener = Listener::addr(behind, Raw::new()).limits(limits);
        net.start(Server::builder().listen(listener, |_| Ok(RawEcho)).workers(1)).unwrap();
        let listener = Listener::addr(front, proxy::PIECES);
        let server = net.start(proxy::proxy(listener, &behind.to_string())).unwrap();
        let mut peer = net.connect(front, Raw::new());
        let bytes: Vec<u8> = (0..1_500_000_usize).map(|at| (at % 251) as u8).collect();
        peer.send_bytes(&bytes);
        peer.set_reading(false);
        let most =
            |server: &Server| server.connections().iter().map(|conn| conn.queued_bytes).max();
        // Less than `limits.write`, or the proxy would rightly give the peer up.
        waited |= net.run_until(Duration::from_secs(5), |_| {
            assert!(most(&server).unwrap_or(0) <= proxy::QUEUE_BYTES, "seed {seed}");
            server.snapshot().messages_refused > 0
        });
        peer.set_reading(true);
        let mut got = Vec::new();
        let all = net.run_until(Duration::from_secs(300), |_| {
            got.extend(peer.received_bytes());
            got.len() >= bytes.len()
        });
        assert!(all && got == bytes, "seed {seed}: {} bytes", got.len());
        peer.finish();
        assert!(net.run_until(SOON * 10, |_| server.connection_count() == 0), "seed {seed}");
    }
    assert!(waited, "no seed was slow enough to tell anything");
}

#[test]
fn proxy_without_a_server_behind_it_ends_the_client() {
    let mut net = Net::seed(3);
    let (nowhere, front) = (net.addr(), net.addr());
    let listener = Listener::addr(front, proxy::PIECES);
    net.start(proxy::proxy(listener, &nowhere.to_string())).unwrap();
    let peer = net.connect(front, Raw::new());
    assert!(net.run_until(SOON, |_| peer.is_closed()));
}

#[test]
fn files_are_taken_given_and_refused() {
    use files::{CODEC, Errand, Session};
    for seed in 0..10 {
        let mut net = Net::seed(seed);
        let addr = net.addr();
        let [there, here] = [1, 2].map(|disk| SimDisk::new(seed + disk).folder());
        let [store, mine] = [&there, &here].map(|it| FileStore::of(it.clone()).unwrap().receive());
        net.start(files::server(Listener::addr(addr, CODEC), store)).unwrap();
        let client = net.start(Server::builder().workers(1)).unwrap();
        let bytes: Vec<u8> = (0..300_000_usize).map(|at| (at % 251) as u8).collect();
        let source = FileSource::of(SimFile::new(&*bytes).handle()).unwrap();
        let [film, lost] = ["film", "lost"].map(|name| FileName::parse(name).unwrap());
        let (put, got) = (film.clone(), film.clone());
        let errands: [Errand; 4] = [
            Arc::new(move |cx| cx.offer_file(&source, &put)),
            Arc::new({
                let mine = mine.clone();
                move |cx| cx.get_file(&got, &mine, &got)
            }),
            Arc::new({
                let mine = mine.clone();
                move |cx| cx.get_file(&lost, &mine, &lost)
            }),
            Arc::new(move |cx| cx.get_file(&film, &mine, &film)),
        ];
        let kinds = errands.map(|errand| {
            let (told, ended) = mpsc::channel();
            let session =
                move |_: &longshore::Peer<'_>| Ok(Session::Client(errand.clone(), told.clone()));
            client.connect(Connector::addr(addr, CODEC), session).unwrap();
            let mut end = None;
            net.run_until(SOON * 10, |_| {
                end = ended.try_recv().ok();
                end.is_some()
            });
            match end.expect("it is not over") {
                Ok(done) => Ok((done.name, done.bytes)),
                Err(error) => Err(error.downcast_ref::<FileError>().unwrap().kind),
            }
        });
        let (done, no) = (Ok(("film".into(), 300_000)), FileErrorKind::NotFound);
        let same = done.clone(); // nothing is sent of it
        assert_eq!(kinds, [done.clone(), done, Err(no), same], "seed {seed}");
        for folder in [there, here] {
            let file = folder.open_file(&FileName::parse("film").unwrap()).unwrap();
            let mut got = vec![0; bytes.len()];
            assert_eq!(file.read_at(&mut got, 0).unwrap(), bytes.len());
            assert!(got == bytes, "seed {seed}");
        }
    }
}

#[test]
fn web_sends_files_and_parts_of_them() {
    let mut net = Net::seed(4);
    let addr = net.addr();
    let bytes: Vec<u8> = (0..100_000_u32).map(|at| (at % 251) as u8).collect();
    let source = FileSource::of(SimFile::new(&*bytes).handle()).unwrap();
    let files = web::Files::from([("film".to_owned(), source)]);
    net.start(web::server(Listener::addr(addr, web::Http), files)).unwrap();
    let mut peer = net.connect(addr, Raw::new());
    let mut ask = |request: &str, head: &str, body: &[u8]| {
        peer.send_bytes(request.as_bytes());
        let want = [head.as_bytes(), b"\r\n\r\n", body].concat();
        let mut got = Vec::new();
        net.run_until(SOON * 10, |_| {
            got.extend(peer.received_bytes());
            got.len() >= want.len()
        });
        let shown = String::from_utf8_lossy(&got[..got.len().min(200)]).into_owned();
        assert!(got == want, "{request} gave {} bytes: {shown}", got.len());
    };
    let all = "HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: 100000";
    ask("GET /film HTTP/1.1\r\nHost: x\r\n\r\n", all, &bytes);
    ask("HEAD /film HTTP/1.1\r\n\r\n", all, b"");
    let part =
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 10-19/100000\r\nContent-Length: 10";
    ask("GET /film HTTP/1.1\r\nrange: bytes=10-19\r\n\r\n", part, &bytes[10..20]);
    let part = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 99999-99999/100000\r\nContent-Length: 1";
    ask("GET /film HTTP/1.1\r\nRange: bytes=99999-\r\n\r\n", part, &bytes[99_999..]);
    ask("GET /film HTTP/1.1\r\nRange: bytes=9-200000\r\n\r\n", all, &bytes);
    ask("GET /no HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found\r\nContent-Length: 0", b"");
    let no = "HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\nContent-Length: 0";
    ask("PUT /film HTTP/1.1\r\n\r\n", no, b"");
    assert!(net.run_until(SOON, |_| peer.is_closed()), "what follows is not known");
    let mut last = net.connect(addr, Raw::new());
    last.send_bytes(b"GET /film HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(net.run_until(SOON * 10, |_| last.is_closed()));
    assert!(last.received_bytes().ends_with(&bytes), "it closes behind the last byte");
}
