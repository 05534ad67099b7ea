//! A chat with names, rooms and private words. A line is a message.
//!
//!     cargo run --release --example chat
//!     nc 127.0.0.1 7411
//!     /login ada
//!     * ada comes to lobby

use longshore::{Builder, Closed, Conn, Ctx, Handler, Lines, Listener, Result, Sent, Server};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Who is here, by name: room and connection.
type Hall = Arc<Mutex<BTreeMap<String, (String, Conn<Session>)>>>;

/// Tells all in the room of `name`. That one of them is slow or gone is told by its own end.
fn tell(hall: &Hall, name: &str, text: &str) {
    let members = hall.lock().expect("no panic inside");
    let Some((room, _)) = members.get(name) else { return };
    for (_, conn) in members.values().filter(|(other, _)| other == room) {
        let _ = conn.send(text);
    }
}

struct Session(Hall, Option<String>);

impl Handler for Session {
    type Codec = Lines;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let Self(hall, me) = self;
        let Some(name) = me else {
            let mut members = hall.lock().expect("no panic inside");
            if command != "/login" || rest.is_empty() || members.contains_key(rest) {
                return cx.send("! /login NAME, with a name that is free");
            }
            members.insert(rest.into(), ("lobby".into(), cx.conn()));
            drop(members);
            tell(hall, rest, &format!("* {rest} comes to lobby"));
            *me = Some(rest.into());
            return Ok(());
        };
        match (command, rest.split_once(' ')) {
            ("/join", _) if !rest.is_empty() => {
                tell(hall, name, &format!("* {name} goes to {rest}"));
                let here = (rest.into(), cx.conn());
                hall.lock().expect("no panic inside").insert(name.clone(), here);
                tell(hall, name, &format!("* {name} comes to {rest}"));
            }
            ("/msg", Some((to, text))) => {
                let to = hall.lock().expect("no panic inside").get(to).map(|(_, to)| to.clone());
                if to.map(|to| to.send(&format!("{name} to you: {text}"))) != Some(Sent::Queued) {
                    return cx.send("! nobody of that name can hear you");
                }
            }
            ("/quit", _) => cx.close(),
            _ if line.starts_with('/') => return cx.send("! /join ROOM, /msg NAME TEXT, /quit"),
            _ => tell(hall, name, &format!("{name}: {}", line.replace(char::is_control, " "))),
        }
        Ok(())
    }

    fn on_disconnect(self, _: &Closed<'_>) {
        let Self(hall, Some(name)) = self else { return };
        tell(&hall, &name, &format!("* {name} is gone"));
        hall.lock().expect("no panic inside").remove(&name);
    }
}

pub(crate) fn chat(listener: Listener<Lines>) -> Builder {
    let hall = Hall::default();
    Server::builder().listen(listener, move |_| Ok(Session(hall.clone(), None)))
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7411".into());
    chat(Listener::tcp(&addr, Lines::max(1024))).run()
}
