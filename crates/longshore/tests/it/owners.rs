//! Owners: connections by who is behind them.

use crate::net::{Event, Events, Lab, Peer, Probe, codec, echo, frame, on_every_port};
use longshore::*;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

on_every_port! {
    what_is_sent_to_a_key_reaches_who_claimed_it,
    who_comes_again_kicks_the_older_one_which_gets_what_it_was_sent,
    a_claim_that_is_taken_is_refused_until_its_owner_is_gone,
    so_many_as_may_have_a_key_hear_all_of_it,
    the_end_of_an_older_connection_unbinds_nothing_of_a_newer_one,
    what_is_released_is_free_and_its_connection_stays,
    there_are_no_more_keys_than_may_be,
    a_claim_is_a_log_in,
    the_older_handler_only_hears_of_its_end_after_a_claim,
    a_kick_closes_all_of_a_key_with_its_reason,
    who_has_several_keys_loses_all_with_its_end,
    keys_are_of_one_server_until_nobody_has_any,
    what_one_of_several_has_room_for_is_queued,
}

/// Virtual time that what is waited for may take.
const SOON: Duration = Duration::from_secs(30);

type Users = Owners<String, Probe>;

/// Connections of a server of two workers that wait for nothing, as they come, and all that is told
/// of any of them.
struct Rig {
    server: Server,
    connects: Receiver<Conn<Probe>>,
    events: Events,
}

fn limits() -> Limits {
    // Peers that are closed do not close themselves at once.
    let linger = Linger::default().wait(Duration::from_millis(200));
    Limits::new().first_byte(Duration::ZERO).linger(linger)
}

fn serve(lab: &mut Lab, limits: Limits) -> Rig {
    let ((told, connects), (events_to, events)) = (channel(), channel());
    let factory = move |_: &longshore::Peer<'_>| {
        let (told, events): (Sender<_>, Sender<_>) = (told.clone(), events_to.clone());
        let mut echo = echo();
        Ok(Probe::new(events, move |cx, event| {
            if let Event::Connect(conn) = event {
                told.send(conn.clone()).unwrap();
            }
            echo(cx, event)
        }))
    };
    let listener = Listener::addr(lab.addr(), codec()).limits(limits);
    let server = lab.start(Server::builder().listen(listener, factory).workers(2));
    Rig { server, connects, events: Events(events) }
}

impl Rig {
    fn connect(&self, lab: &mut Lab) -> (Peer, Conn<Probe>) {
        let peer = lab.connect(&self.server);
        (peer, lab.recv(&self.connects))
    }

    /// How the next connection to end did so.
    fn ended(&self, lab: &mut Lab) -> (ConnId, String) {
        let end = lab.end_of(&self.events);
        (end.id, end.why)
    }
}

fn what_is_sent_to_a_key_reaches_who_claimed_it(lab: &mut Lab) {
    let rig = serve(lab, limits());
    let (mut ada, of_ada) = rig.connect(lab);
    let (mut bob, of_bob) = rig.connect(lab);
    let users = Users::new(OnDuplicate::KickOld);
    assert_eq!(users.send("ada", b"too early"), Sent::Closed);
    assert_eq!(users.claim("ada", &of_ada), Claim::Made);
    assert_eq!(users.claim("bob", &of_bob), Claim::Made);
    assert_eq!(users.claim("bob", &of_bob), Claim::Made, "it has it already");
    assert_eq!(users.send("ada", b"for ada"), Sent::Queued);
    assert_eq!(users.send("bob", b"for bob"), Sent::Queued);
    assert!(matches!(users.send("bob", &vec![0; (1 << 20) + 1]), Sent::Invalid(_)));
    assert_eq!(users.send_except("bob", of_bob.id(), b"for others"), Sent::Closed, "none");
    assert_eq!((lab.hear(&mut ada), lab.hear(&mut bob)), (b"for ada".into(), b"for bob".into()));
    assert_eq!(users.get("ada").map(|conn| conn.id()), Some(of_ada.id()));
    assert_eq!((users.keys(), users.len()), (vec!["ada".to_owned(), "bob".to_owned()], 2));
    drop(ada);
    lab.until(SOON, || users.len() == 1);
    assert_eq!(users.send("ada", b"too late"), Sent::Closed);
}

fn who_comes_again_kicks_the_older_one_which_gets_what_it_was_sent(lab: &mut Lab) {
    let rig = serve(lab, limits());
    let (mut old, of_old) = rig.connect(lab);
    let (mut new, of_new) = rig.connect(lab);
    let users = Users::new(OnDuplicate::KickOld);
    assert_eq!(users.claim("ada", &of_old), Claim::Made);
    assert_eq!(users.send("ada", b"you are here again"), Sent::Queued);
    assert_eq!(users.claim("ada", &of_new), Claim::Made);
    assert!(of_old.is_closed(), "at once, for all who send to it");
    assert_eq!(users.send("ada", b"welcome back"), Sent::Queued);
    assert_eq!(lab.hear(&mut old), b"you are here again");
    assert_eq!(lab.read_to_end(&mut old).0, b"");
    assert_eq!(lab.hear(&mut new), b"welcome back");
    assert_eq!(rig.ended(lab), (of_old.id(), "another connection took its place".into()));
    assert_eq!(rig.server.snapshot().disconnected("replaced"), Some(1));
}

fn a_claim_that_is_taken_is_refused_until_its_owner_is_gone(lab: &mut Lab) {
    let rig = serve(lab, limits());
    let (first, of_first) = rig.connect(lab);
    let (mut second, of_second) = rig.connect(lab);
    let users = Users::new(OnDuplicate::RefuseNew);
    assert_eq!(users.claim("ada", &of_first), Claim::Made);
    assert_eq!(users.claim("ada", &of_second), Claim::Taken);
    assert_eq!(rig.server.snapshot().claims_refused, 1);
    of_first.close();
    assert_eq!(users.claim("ada", &of_second), Claim::Made, "who closes has nothing");
    assert_eq!(users.claim("ada", &of_first), Claim::Closed);
    drop(first);
    rig.ended(lab);
    assert_eq!(users.send("ada", b"yours"), Sent::Queued);
    assert_eq!(lab.hear(&mut second), b"yours");
}

fn so_many_as_may_have_a_key_hear_all_of_it(lab: &mut Lab) {
    let rig = serve(lab, limits());
    let mut all: Vec<_> = (0..3).map(|_| rig.connect(lab)).collect();
    let users = Users::new(OnDuplicate::Allow(2));
    let claims: Vec<_> = all.iter().map(|(_, conn)| users.claim("ada", conn)).collect();
    assert_eq!(claims, [Claim::Made, Claim::Made, Claim::Taken]);
    assert_eq!(users.send("ada", b"to both"), Sent::Queued);
    assert_eq!(users.send_except("ada", all[0].1.id(), b"to the second"), Sent::Queued);
    assert_eq!(lab.hear(&mut all[0].0), b"to both");
    assert_eq!(lab.hear(&mut all[1].0), b"to both");
    assert_eq!(lab.hear(&mut all[1].0), b"to the second");
    let ids = |users: &Users| users.all("ada").iter().map(Conn::id).collect::<Vec<_>>();
    assert_eq!(ids(&users), [all[0].1.id(), all[1].1.id()], "the newest last");
    assert_eq!(users.get("ada").map(|conn| conn.id()), Some(all[1].1.id()));
    all.remove(0);
    lab.until(SOON, || users.all("ada").len() == 1);
    assert_eq!(users.claim("ada", &all[1].1), Claim::Made);
    assert_eq!(users.len(), 1, "one key, whoever has it");
}

fn the_end_of_an_older_connection_unbinds_nothing_of_a_newer_one(lab: &mut Lab) {
    let rig = serve(lab, limits());
    let users = Users::new(OnDuplicate::KickOld);
    let mut last = None;
    for round in 0..10_u8 {
        let (mut peer, conn) = rig.connect(lab);
        assert_eq!(users.claim("ada", &conn), Claim::Made);
        assert_eq!(users.send("ada", &[round]), Sent::Queued);
        assert_eq!(lab.hear(&mut peer), [round]);
        if let Some((_, of_old)) = last.replace((peer, conn)) {
            assert!(!users.release("ada", &of_old), "it is another one's");
            assert_eq!(rig.ended(lab).0, of_old.id());
            assert_eq!(users.len(), 1);
        }
    }
}

fn what_is_released_is_free_and_its_connection_stays(lab: &mut Lab) {
    let rig = serve(lab, limits());
    let (mut peer, conn) = rig.connect(lab);
    let (_other, of_other) = rig.connect(lab);
    let users = Users::new(OnDuplicate::RefuseNew);
    for _ in 0..3 {
        assert_eq!(users.claim("ada", &conn), Claim::Made);
        assert!(users.release("ada", &conn));
        assert!(!users.release("ada", &conn), "it has it no more");
    }
    assert!(users.is_empty());
    assert_eq!(users.claim("ada", &of_other), Claim::Made);
    peer.say(b"still here");
    assert_eq!(lab.hear(&mut peer), b"still here");
}

fn there_are_no_more_keys_than_may_be(lab: &mut Lab) {
    let rig = serve(lab, limits());
    let (_peer, conn) = rig.connect(lab);
    let users: Owners<u32, Probe> = Owners::at_most(2, OnDuplicate::KickOld);
    let claims = [0_u32, 1, 2, 1].map(|key| users.claim(key, &conn));
    assert_eq!(claims, [Claim::Made, Claim::Made, Claim::Full, Claim::Made]);
    assert_eq!(rig.server.snapshot().claims_refused, 1);
    assert!(users.release(&0, &conn));
    assert_eq!(users.claim(2_u32, &conn), Claim::Made);
}

fn a_claim_is_a_log_in(lab: &mut Lab) {
    let rig = serve(lab, limits().login(Duration::from_millis(300)));
    let (mut owner, of_owner) = rig.connect(lab);
    let (_nobody, of_nobody) = rig.connect(lab);
    let users = Users::new(OnDuplicate::KickOld);
    assert_eq!(users.claim("ada", &of_owner), Claim::Made);
    let (id, reason) = rig.ended(lab);
    assert_eq!(id, of_nobody.id());
    assert!(reason.contains("did not log in"), "{reason}");
    owner.say(b"still here");
    assert_eq!(lab.hear(&mut owner), b"still here");
}

/// What the older one may still see: the end of the callback that it is in.
fn the_older_handler_only_hears_of_its_end_after_a_claim(lab: &mut Lab) {
    let users = Users::new(OnDuplicate::KickOld);
    let of_script = users.clone();
    let (events_to, events) = channel();
    let factory = move |_: &longshore::Peer<'_>| {
        let users = of_script.clone();
        Ok(Probe::new(events_to.clone(), move |cx, event| match event {
            Event::Message(name) => {
                let claim = users.claim(String::from_utf8_lossy(name), &cx.conn());
                assert_eq!(claim, Claim::Made);
                cx.send(b"welcome")
            }
            _ => Ok(()),
        }))
    };
    let listener = Listener::addr(lab.addr(), codec()).limits(limits());
    // On one worker: the older one is closed before the next callback of anybody.
    let server = lab.start(Server::builder().listen(listener, factory).workers(1));
    let (mut old, mut new) = (lab.connect(&server), lab.connect(&server));
    old.say(b"ada");
    assert_eq!(lab.hear(&mut old), b"welcome");
    new.say(b"ada");
    assert_eq!(lab.hear(&mut new), b"welcome");
    old.send_perhaps(&frame(b"ada")); // which would kick the newer one
    assert_eq!(lab.read_to_end(&mut old).0, b"");
    assert_eq!(lab.end_of(&Events(events)).why, "another connection took its place");
    new.say(b"ada");
    assert_eq!(lab.hear(&mut new), b"welcome", "nobody kicked it");
    assert_eq!(server.snapshot().messages_in, 3);
}

fn a_kick_closes_all_of_a_key_with_its_reason(lab: &mut Lab) {
    let rig = serve(lab, limits());
    let mut all: Vec<_> = (0..2).map(|_| rig.connect(lab)).collect();
    let users = Users::new(OnDuplicate::Allow(2));
    for (_, conn) in &all {
        assert_eq!(users.claim("ada", conn), Claim::Made);
    }
    assert_eq!(users.send("ada", b"goodbye"), Sent::Queued);
    assert_eq!(users.kick("ada", "too loud"), 2);
    assert_eq!(users.kick("ada", "too loud"), 0, "they are closing");
    for (peer, _) in &mut all {
        assert_eq!(lab.hear(peer), b"goodbye");
        assert_eq!(lab.read_to_end(peer).0, b"");
        assert_eq!(rig.ended(lab).1, "too loud");
    }
    lab.until(SOON, || users.is_empty());
}

fn who_has_several_keys_loses_all_with_its_end(lab: &mut Lab) {
    let rig = serve(lab, limits());
    let (peer, conn) = rig.connect(lab);
    let (_other, of_other) = rig.connect(lab);
    let users = Users::new(OnDuplicate::KickOld);
    for key in ["a", "b", "c"] {
        assert_eq!(users.claim(key, &conn), Claim::Made);
    }
    assert_eq!(users.claim("d", &of_other), Claim::Made);
    drop(peer);
    lab.until(SOON, || users.keys() == ["d"]);
}

fn keys_are_of_one_server_until_nobody_has_any(lab: &mut Lab) {
    let (one, other) = (serve(lab, limits()), serve(lab, limits()));
    let (peer, conn) = one.connect(lab);
    let (_other_peer, stranger) = other.connect(lab);
    let users = Users::new(OnDuplicate::KickOld);
    assert_eq!(users.claim("ada", &conn), Claim::Made);
    assert_eq!(users.claim("ada", &stranger), Claim::Closed);
    assert_eq!(users.claim("bob", &stranger), Claim::Closed);
    // Though it has no key any more: its end is still to be told, by an id that strangers have, too.
    assert!(users.release("ada", &conn) && users.is_empty());
    assert_eq!(users.claim("bob", &stranger), Claim::Closed);
    drop(peer);
    lab.until(SOON, || users.claim("bob", &stranger) == Claim::Made);
}

fn what_one_of_several_has_room_for_is_queued(lab: &mut Lab) {
    let rig = serve(lab, limits().slow_reader(SlowReader::Refuse).write(Duration::ZERO));
    let (mut first, of_first) = rig.connect(lab);
    let (mut newest, of_newest) = rig.connect(lab);
    newest.stop_reading();
    let users = Users::new(OnDuplicate::Allow(2));
    for conn in [&of_first, &of_newest] {
        assert_eq!(users.claim("ada", conn), Claim::Made);
    }
    while of_newest.send(&vec![7; 600_000]) == Sent::Queued {}
    assert_eq!(users.send("ada", &vec![7; 600_000]), Sent::Queued);
    assert_eq!(lab.hear(&mut first).len(), 600_000);
}
