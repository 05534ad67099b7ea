//! A chat with names, rooms and private words. A line is a message.
//!
//!     cargo run --release --example chat
//!     nc 127.0.0.1 7411
//!     /login ada

use longshore::{Builder, Claim, Closed, Ctx, Groups, Handler, Lines, Listener, OnDuplicate};
use longshore::{Owners, Result, Sent, Server};

#[derive(Clone)]
struct Session {
    names: Owners<String, Session>,
    rooms: Groups<String, Lines>,
    name: String, // empty until log-in
    room: String,
}

impl Session {
    fn enter(&mut self, cx: &mut Ctx<'_, Self>, room: &str) -> Result {
        if !self.rooms.join(room, &cx.conn()).is_queued() {
            return cx.send("! there are too many rooms");
        }
        if !self.room.is_empty() {
            self.tell(&format!("* {} goes to {room}", self.name))?;
            self.rooms.leave(self.room.as_str(), &cx.conn());
        }
        self.room = room.into();
        self.tell(&format!("* {} comes to {room}", self.name))
    }

    /// Tells all in its room.
    fn tell(&self, text: &str) -> Result {
        self.rooms.broadcast(self.room.as_str(), text)?;
        Ok(())
    }
}

impl Handler for Session {
    type Codec = Lines;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        let line = &*line.replace(char::is_control, " ");
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let name = self.name.clone();
        match (command, rest.split_once(' ')) {
            _ if name.is_empty() => {
                let is_login = command == "/login" && !rest.is_empty() && !rest.contains(' ');
                if !is_login || self.names.claim(rest, &cx.conn()) != Claim::Made {
                    return cx.send("! /login NAME, with a name that is free");
                }
                self.name = rest.into();
                self.enter(cx, "lobby")
            }
            ("/join", _) if !rest.is_empty() && rest != self.room => self.enter(cx, rest),
            ("/msg", Some((to, text))) => match self.names.send(to, &format!("{name}: {text}")) {
                Sent::Queued => Ok(()),
                _ => cx.send("! nobody of that name hears that"),
            },
            _ if line.starts_with('/') => cx.send("! /join ROOM, /msg NAME TEXT"),
            _ => self.tell(&format!("{name}: {line}")),
        }
    }

    fn on_disconnect(self, _: &Closed<'_>) {
        let _ = self.tell(&format!("* {} is gone", self.name));
    }
}

pub(crate) fn chat(listener: Listener<Lines>) -> Builder {
    let (names, rooms) = (Owners::new(OnDuplicate::RefuseNew), Groups::new(Lines::max(2048)));
    let session = Session { names, rooms, name: String::new(), room: String::new() };
    Server::builder().listen(listener, move |_| Ok(session.clone()))
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7411".into());
    chat(Listener::tcp(&addr, Lines::max(1024))).run()
}
