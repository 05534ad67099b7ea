//! The handler of `serve`: every message goes back to where it came from. Who runs the server may
//! speak to its connections too.

use crate::feed::Feed;
use crate::talk::{Reply, Talk};
use longshore::{
    Bytes, Closed, ConnId, Ctx, Delivered, FileEvent, FileName, FileSource, FileStore, Frame,
    Group, Handler, LengthDelimited, Lines, Longshore, Raw, Result, SendError, Sent, Server, Time,
};
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A codec whose frames can be sent as they are.
pub(crate) trait EchoCodec: Talk {
    /// The frame as something to send.
    fn back<'a>(frame: &Self::Frame<'a>) -> Self::Item<'a>;

    /// The frame as something to show.
    fn shown<'a>(frame: &Self::Frame<'a>) -> Reply<'a>;
}

/// For codecs that send what they receive, by value.
macro_rules! echo_codecs {
    ($($codec:ty),*) => {$(
        impl EchoCodec for $codec {
            #[inline]
            fn back<'a>(frame: &Self::Frame<'a>) -> Self::Item<'a> {
                *frame
            }

            fn shown<'a>(frame: &Self::Frame<'a>) -> Reply<'a> {
                Self::reply(*frame)
            }
        }
    )*};
}

echo_codecs!(Raw, Lines, LengthDelimited, Longshore);

/// What all connections of the server share.
pub(crate) struct Site<C: EchoCodec> {
    codec: C,
    /// All of them, if somebody may want to speak to all.
    everybody: Option<Group<C>>,
    /// One moment on two clocks: that of the workers can be read in callbacks alone.
    moment: OnceLock<(Instant, Time)>,
    /// Where it is told who comes and goes, if anybody wants to know.
    feed: Option<Arc<Feed>>,
    /// The files that are given and taken, if any are.
    store: Option<FileStore>,
}

impl<C: EchoCodec> Site<C> {
    /// With or without an operator who may speak.
    pub(crate) fn new(
        codec: C,
        has_operator: bool,
        feed: Option<Arc<Feed>>,
        store: Option<FileStore>,
    ) -> Self {
        let everybody = has_operator.then(|| Group::new(codec));
        Self { codec, everybody, moment: OnceLock::new(), feed, store }
    }

    /// The group that each connection belongs to, if there is one.
    pub(crate) fn everybody(&self) -> Option<&Group<C>> {
        self.everybody.as_ref()
    }
}

/// Speaking to connections, whatever their protocol. A line is a message, as for `connect`.
pub(crate) trait Speak: Send + Sync {
    /// Sends a line to one of them.
    ///
    /// # Errors
    /// The line is no message of this protocol, and why.
    fn send(&self, server: &Server, id: ConnId, line: &[u8]) -> std::result::Result<Sent, String>;

    /// Sends a line to all.
    ///
    /// # Errors
    /// The line is no message of this protocol, and why.
    fn send_all(&self, line: &[u8]) -> std::result::Result<Delivered, String>;

    /// Offers a file to one of them; says whether it is still there.
    ///
    /// # Errors
    /// Why it cannot be offered.
    fn send_file(
        &self,
        server: &Server,
        id: ConnId,
        file: FileSource,
        name: FileName,
    ) -> std::result::Result<bool, String>;

    /// How long ago that was.
    fn age(&self, since: Time) -> Duration;
}

impl<C: EchoCodec> Speak for Site<C> {
    fn send(&self, server: &Server, id: ConnId, line: &[u8]) -> std::result::Result<Sent, String> {
        let message = C::message(line)?;
        Ok(server.conn::<Echo<C>>(id).map_or(Sent::Closed, |conn| conn.send(message)))
    }

    fn send_all(&self, line: &[u8]) -> std::result::Result<Delivered, String> {
        let message = C::message(line)?;
        let Some(everybody) = &self.everybody else { return Ok(Delivered::default()) };
        let receipt = everybody.broadcast(message).map_err(|error| error.to_string())?;
        Ok(receipt.wait())
    }

    fn send_file(
        &self,
        server: &Server,
        id: ConnId,
        file: FileSource,
        name: FileName,
    ) -> std::result::Result<bool, String> {
        let Some(conn) = server.conn::<Echo<C>>(id) else { return Ok(false) };
        let (told, answer) = channel();
        let posted = conn.post(move |_, cx| {
            let offered = cx.offer_file(&file, &name).map(drop);
            let _ = told.send(offered.map_err(|error| error.to_string()));
            Ok(())
        });
        if posted != Sent::Queued {
            return Ok(false);
        }
        match answer.recv() {
            Ok(offered) => offered.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn age(&self, since: Time) -> Duration {
        let Some((instant, time)) = self.moment.get() else { return Duration::ZERO };
        (*time + instant.elapsed()).since(since)
    }
}

/// One connection. It stops reading while its peer does not read: the listener refuses what does
/// not fit the send queue, and the one message that was refused waits here.
pub(crate) struct Echo<C: EchoCodec> {
    site: Arc<Site<C>>,
    /// Whether each message is told of.
    tells: bool,
    /// When it came, if that is told.
    came: Option<Instant>,
    waiting: Option<Bytes>,
}

impl<C: EchoCodec> Echo<C> {
    pub(crate) fn new(site: Arc<Site<C>>) -> Self {
        let tells = site.feed.as_ref().is_some_and(|feed| feed.has_messages());
        Self { site, tells, came: None, waiting: None }
    }

    #[cold]
    fn keep(&mut self, cx: &mut Ctx<'_, Self>, frame: &Frame<'_, Self>) -> Result {
        self.waiting = Some(self.site.codec.to_bytes(C::back(frame))?);
        cx.pause();
        Ok(())
    }

    #[cold]
    fn tell(&self, cx: &Ctx<'_, Self>, frame: &Frame<'_, Self>) {
        if let Some(feed) = &self.site.feed {
            feed.message(cx.id(), &C::shown(frame));
        }
    }
}

impl<C: EchoCodec> Handler for Echo<C> {
    type Codec = C;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.site.moment.get_or_init(|| (Instant::now(), cx.now()));
        if let Some(feed) = &self.site.feed {
            self.came = Some(Instant::now());
            feed.connected(cx.id(), cx.peer_addr());
        }
        Ok(())
    }

    #[inline]
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: Frame<'_, Self>) -> Result {
        cx.admit(); // who sends a whole message has logged in
        if self.tells {
            self.tell(cx, &frame);
        }
        match cx.try_send(C::back(&frame)) {
            Ok(()) => Ok(()),
            Err(SendError::Full) => self.keep(cx, &frame),
            Err(error) => Err(error.into()),
        }
    }

    fn on_writable(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        let Some(bytes) = self.waiting.take() else { return Ok(()) };
        match cx.send_encoded(bytes.clone()) {
            Ok(()) => cx.resume(),
            Err(SendError::Full) => self.waiting = Some(bytes),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn on_file(&mut self, cx: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        cx.admit(); // who offers a file, or asks for one, has logged in
        if let Some(feed) = &self.site.feed {
            feed.file(cx.id(), &event);
        }
        if let Some(store) = &self.site.store {
            event.serve(store);
        }
        Ok(())
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        if let (Some(feed), Some(came)) = (&self.site.feed, self.came) {
            feed.left(closed, came);
        }
    }
}
