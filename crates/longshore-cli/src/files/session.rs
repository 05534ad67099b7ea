//! A connection for files.

use crate::exit::{Exit, Failure};
use longshore::{
    Closed, Conn, Connector, Ctx, DisconnectReason, FileDone, FileEvent, FileFailed, FileList,
    FileProgress, Handler, Limits, Longshore, Message, Peer, Result, Retry, Sent, Server,
};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// What a connection tells of its files.
pub(crate) enum News {
    Progress(FileProgress),
    Done(FileDone),
    Failed(FileFailed),
    Listed(FileList),
    /// It is over, and why.
    Closed(String),
}

enum Told {
    Up(Conn<Carrier>),
    NotConnected(String),
    News(News),
}

/// The handler: it hands on what happens.
pub(crate) struct Carrier {
    told: Sender<Told>,
}

impl Carrier {
    fn tell(&self, told: Told) {
        let _ = self.told.send(told); // nobody wants to know any more
    }
}

impl Handler for Carrier {
    type Codec = Longshore;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.tell(Told::Up(cx.conn()));
        Ok(())
    }

    /// What it says beside files is nobody's business here.
    fn on_message(&mut self, _: &mut Ctx<'_, Self>, _: Message<'_>) -> Result {
        Ok(())
    }

    fn on_file(&mut self, _: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        self.tell(Told::News(match event {
            FileEvent::Progress(progress) => News::Progress(progress),
            FileEvent::Done(done) => News::Done(done),
            FileEvent::Failed(failed) => News::Failed(failed),
            FileEvent::Listed(list) => News::Listed(list),
            _ => return Ok(()), // what the server offers is refused
        }));
        Ok(())
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        let why = match closed.reason {
            DisconnectReason::Shutdown => "stopped".into(), // it is ours that stops
            reason => reason.to_string(),
        };
        self.tell(Told::News(News::Closed(why)));
    }
}

/// A connection to a server that takes and gives files.
pub(crate) struct Session {
    server: Server,
    conn: Conn<Carrier>,
    told: Receiver<Told>,
    addr: String,
}

impl Session {
    /// Connects.
    pub(crate) fn open(addr: &str) -> std::result::Result<Self, Failure> {
        let server = Server::builder().workers(1).start()?;
        let (teller, told) = channel();
        let failed = teller.clone();
        let connector = Connector::tcp(addr, Longshore::new().with_files())
            .limits(Limits::new())
            .on_failure(move |error, _| {
                let _ = failed.send(Told::NotConnected(error.to_string()));
                Retry::GiveUp
            });
        let factory = move |_: &Peer<'_>| Ok(Carrier { told: teller.clone() });
        server.connect(connector, factory)?;
        match told.recv() {
            Ok(Told::Up(conn)) => Ok(Self { server, conn, told, addr: addr.into() }),
            Ok(Told::NotConnected(why)) => Err(Failure::new(Exit::Unreachable, why)),
            _ => Err(Failure::new(Exit::Unreachable, format!("cannot connect to {addr}"))),
        }
    }

    /// Ctrl-C ends the connection, so that it is told how far all is. Once more, it ends the program.
    pub(crate) fn stops_on_signals(self) -> std::result::Result<Self, Failure> {
        self.server.drain_on_signals()?;
        Ok(self)
    }

    /// Asks something of the connection, and waits for the answer.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Ctx<'_, Carrier>) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Failure> {
        let (teller, answer) = channel();
        let posted = self.conn.post(move |_, cx| {
            let _ = teller.send(ask(cx));
            Ok(())
        });
        let gone = || Failure::new(Exit::Broken, format!("{}: the connection is over", self.addr));
        if posted != Sent::Queued {
            return Err(gone());
        }
        answer.recv().map_err(|_| gone())?.map_err(Failure::from)
    }

    /// The next news, or nothing for so long.
    pub(crate) fn next(&self, within: Duration) -> std::result::Result<Option<News>, Failure> {
        match self.told.recv_timeout(within) {
            Ok(Told::News(News::Closed(why))) => {
                Err(Failure::new(Exit::Broken, format!("{}: {why}", self.addr)))
            }
            Ok(Told::News(news)) => Ok(Some(news)),
            Ok(_) | Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Failure::new(Exit::Broken, format!("{}: the connection is over", self.addr)))
            }
        }
    }

    /// Says good-bye.
    pub(crate) fn close(self) {
        self.server.shutdown(Duration::from_secs(1));
        let _ = self.server.wait(); // all is done that was to be
    }
}
