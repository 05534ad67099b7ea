//! What a user writes.

use crate::{Closed, Ctx, FileEvent, Result, Server};
use longshore_port::Addr;
use longshore_proto::Codec;
use std::fmt;

/// The frame type of a handler's codec.
pub type Frame<'a, H> = <<H as Handler>::Codec as Codec>::Frame<'a>;
/// The item type of a handler's codec.
pub type Item<'a, H> = <<H as Handler>::Codec as Codec>::Item<'a>;

/// A handler value is one connection: it *is* the connection's state.
///
/// The listener's factory makes it; each one made is followed by exactly one
/// [`on_disconnect`](Self::on_disconnect), which consumes it. Callbacks of one connection never
/// overlap and run on the worker thread that owns it; they may not block. What connections share
/// they hold in an `Arc`, or as [`Conn`](crate::Conn) handles.
///
/// An `Err` ends this connection with that error as the reason; so does a panic, which is caught.
///
/// ```
/// use longshore::{Closed, Ctx, Handler, Lines, Result};
///
/// /// Adds up the numbers that its peer sends.
/// #[derive(Default)]
/// struct Adder {
///     sum: i64,
/// }
///
/// impl Handler for Adder {
///     type Codec = Lines;
///
///     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
///         let Ok(number) = line.parse::<i64>() else { return cx.send("a number, please") };
///         self.sum = self.sum.saturating_add(number);
///         cx.send(&self.sum.to_string())
///     }
///
///     fn on_disconnect(self, closed: &Closed<'_>) {
///         println!("{} came to {}: {}", closed.peer_addr, self.sum, closed.reason);
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    note = "implement `longshore::Handler` for it: the codec type and `on_message` are all it needs"
)]
#[expect(unused_variables, reason = "the names of default methods' parameters are documentation")]
pub trait Handler: Send + Sized + 'static {
    /// How this connection's bytes are cut into frames.
    type Codec: Codec;

    /// The connection stands. May send, close, refuse with an error.
    ///
    /// # Errors
    /// Ends the connection.
    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        Ok(())
    }

    /// A frame came. It may borrow from the received bytes, and be sent as it is.
    ///
    /// # Errors
    /// Ends the connection.
    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: Frame<'_, Self>) -> Result;

    /// The send queue fell to its low mark after a send was refused as full.
    ///
    /// # Errors
    /// Ends the connection.
    fn on_writable(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        Ok(())
    }

    /// Nothing was received for the idle time. The default closes; returning without closing
    /// keeps the connection for another idle time.
    ///
    /// # Errors
    /// Ends the connection.
    fn on_idle(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        cx.close_idle();
        Ok(())
    }

    /// A timer set with [`Ctx::set_timer`] is due. It is cleared already.
    ///
    /// # Errors
    /// Ends the connection.
    fn on_timer(&mut self, cx: &mut Ctx<'_, Self>, timer: Timer) -> Result {
        Ok(())
    }

    /// All bytes up to a send made with [`Ctx::send_tracked`] are with the kernel.
    ///
    /// # Errors
    /// Ends the connection.
    fn on_sent(&mut self, cx: &mut Ctx<'_, Self>, id: u64) -> Result {
        Ok(())
    }

    /// Something happened to a file of this connection: one of [`Ctx::send_file`] is out. Each file is
    /// told of once, here or in [`Closed::files`]. The default does nothing.
    ///
    /// # Errors
    /// Ends the connection.
    fn on_file(&mut self, cx: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        Ok(())
    }

    /// The server is stopping: say good-bye here. The default closes. A connection that does not
    /// close is aborted at the end of the time that the shutdown was given.
    ///
    /// # Errors
    /// Ends the connection.
    fn on_shutdown(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        cx.close_shutdown();
        Ok(())
    }

    /// The connection is over. Called exactly once for each value that a factory made.
    fn on_disconnect(self, closed: &Closed<'_>) {}
}

/// The name of a timer of a connection, chosen by its handler.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Timer(pub u32);

/// What a factory sees: who is there, before anything is made.
#[derive(Debug)]
pub struct Peer<'a> {
    pub(crate) remote: Addr,
    pub(crate) local: Addr,
    pub(crate) server: &'a Server,
}

impl Peer<'_> {
    /// The other side.
    pub fn peer_addr(&self) -> Addr {
        self.remote
    }

    /// This side.
    pub fn local_addr(&self) -> Addr {
        self.local
    }

    /// The server.
    pub fn server(&self) -> &Server {
        self.server
    }
}

/// A factory's refusal: the connection is closed and no handler value exists.
#[derive(Clone, Debug)]
pub struct Reject {
    pub(crate) why: Option<Box<str>>,
}

impl Reject {
    /// Without a word in the log above debug level.
    pub fn silent() -> Self {
        Self { why: None }
    }

    /// With a reason for the log.
    pub fn because(why: impl fmt::Display) -> Self {
        Self { why: Some(why.to_string().into()) }
    }
}
