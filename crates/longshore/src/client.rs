//! A blocking client: for tests, tools and simple programs.
//!
//! One thread, one connection, no worker. What needs more is a [`Connector`](crate::Connector).

use crate::config::CONNECT;
use crate::{Codec, ConfigError, Decoded, FrameError};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// Bytes asked of the system at a time.
const READ_BYTES: usize = 64 * 1024;

/// Why a client cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection was made.
    #[error("cannot connect to {to}: {}", connect_hint(.error))]
    Connect {
        /// Where to.
        to: String,
        /// What the system said.
        error: io::Error,
    },
    /// The connection broke.
    #[error("connection broke: {0}")]
    Broken(io::Error),
    /// Nothing came within the receive timeout. The connection stands; one may ask again.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The server ended the stream.
    #[error("the server closed the connection")]
    Closed,
    /// What came is no frame, or what is to be sent makes none.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The codec's settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

fn connect_hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::InvalidInput => "that is no address; write HOST:PORT or [v6]:PORT".into(),
        io::ErrorKind::ConnectionRefused => "nobody listens there; is the server running?".into(),
        io::ErrorKind::TimedOut => "no answer in time".into(),
        _ => error.to_string(),
    }
}

/// A connection whose calls block.
///
/// ```
/// use longshore::{Client, Ctx, Handler, Lines, Listener, Result, Server};
/// use std::time::Duration;
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type Codec = Lines;
/// #     fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
/// #         cx.send(line)
/// #     }
/// # }
///
/// # fn main() -> Result {
/// let listener = Listener::tcp("127.0.0.1:0", Lines::max(1024));
/// let server = Server::builder().workers(1).listen(listener, |_| Ok(Echo)).start()?;
/// let mut client = Client::connect(&server.local_addrs()[0].to_string(), Lines::max(1024))?;
/// client.set_timeout(Some(Duration::from_secs(5)));
/// assert_eq!(client.call("hello")?, "hello");
/// # drop(client);
/// # server.shutdown(Duration::ZERO);
/// # server.wait()
/// # }
/// ```
#[derive(Debug)]
pub struct Client<C: Codec> {
    codec: C,
    stream: TcpStream,
    decoder: C::Decoder,
    /// `input[start..]` is received and not yet looked at.
    input: Vec<u8>,
    start: usize,
    timeout: Option<Duration>,
    ended: bool,
}

impl<C: Codec> Client<C> {
    /// Connects to `addr`: `HOST:PORT`, `:PORT` on this machine, `[v6]:PORT`; each address of a
    /// name in turn, 10 s each.
    ///
    /// # Errors
    /// [`ClientError::Connect`] with the last address's error; [`ClientError::Config`].
    pub fn connect(addr: &str, codec: C) -> Result<Self, ClientError> {
        Self::connect_within(addr, codec, CONNECT.default)
    }

    /// As [`connect`](Self::connect), with a time for each address. Not zero.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_within(addr: &str, codec: C, within: Duration) -> Result<Self, ClientError> {
        codec.check().map_err(|error| ConfigError::Contradiction(error.to_string()))?;
        let local = addr.strip_prefix(':').map(|port| format!("127.0.0.1:{port}"));
        let failed = |error| ClientError::Connect { to: addr.into(), error };
        let addrs = local.as_deref().unwrap_or(addr).to_socket_addrs().map_err(failed)?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for addr in addrs {
            match open(addr, within) {
                Ok(stream) => return Ok(Self::over(stream, codec)),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    /// Over a stream that stands already.
    pub fn over(stream: TcpStream, codec: C) -> Self {
        let decoder = C::Decoder::default();
        Self { codec, stream, decoder, input: Vec::new(), start: 0, timeout: None, ended: false }
    }

    /// How long [`recv`](Self::recv) may wait; `None`, the default, is for ever.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// The stream, for its addresses and options.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// What was received and is no whole frame yet: for a look at it after an error.
    pub fn unread(&self) -> &[u8] {
        &self.input[self.start..]
    }

    /// Sends one item; returns when the system has taken all of it.
    ///
    /// # Errors
    /// `Frame` if it makes no frame, then nothing was sent; `Broken`.
    pub fn send(&mut self, item: C::Item<'_>) -> Result<(), ClientError> {
        let bytes = self.codec.to_bytes(item)?;
        self.stream.write_all(&bytes).map_err(ClientError::Broken)
    }

    /// No more will be sent; what the server still sends can be received.
    ///
    /// # Errors
    /// `Broken`.
    pub fn finish(&mut self) -> Result<(), ClientError> {
        self.stream.shutdown(std::net::Shutdown::Write).map_err(ClientError::Broken)
    }

    /// Waits for the next frame and hands it to `look`, which may borrow from it.
    ///
    /// # Errors
    /// `Closed` at the end of the stream, `TimedOut`, `Broken`, `Frame`.
    pub fn recv_with<T>(&mut self, look: impl FnOnce(C::Frame<'_>) -> T) -> Result<T, ClientError> {
        let until = self.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let input = &self.input[self.start..];
            if input.is_empty() {
                if self.ended {
                    return Err(ClientError::Closed);
                }
            } else if self.ended {
                let frame = self.codec.decode_end(&mut self.decoder, input)?;
                let told = frame.map(look);
                self.start = self.input.len();
                return told.ok_or(ClientError::Closed);
            } else {
                match self.codec.decode(&mut self.decoder, input)? {
                    Decoded::Frame { frame, used } => {
                        let told = look(frame);
                        self.start += used;
                        return Ok(told);
                    }
                    // It takes no files.
                    Decoded::Skip { used } | Decoded::File { used } => {
                        self.start += used;
                        continue;
                    }
                    Decoded::Reply { used, reply } => {
                        self.start += used;
                        self.stream.write_all(&reply).map_err(ClientError::Broken)?;
                        continue;
                    }
                    Decoded::More { total } => {
                        let max = self.codec.frame_bytes_max() as u64;
                        if total as u64 > max {
                            let len = total as u64;
                            return Err(FrameError::TooLong { len, max }.into());
                        }
                    }
                }
            }
            self.read(until)?;
        }
    }

    /// Waits for the next frame, of a codec whose frames are plain references: `Vec<u8>` for bytes,
    /// `String` for text.
    ///
    /// # Errors
    /// As [`recv_with`](Self::recv_with).
    pub fn recv<T>(&mut self) -> Result<T::Owned, ClientError>
    where
        T: ToOwned + ?Sized + 'static,
        C: for<'a> Codec<Frame<'a> = &'a T>,
    {
        self.recv_with(|frame: &T| frame.to_owned())
    }

    /// Sends one item and waits for the next frame.
    ///
    /// # Errors
    /// Those of both.
    pub fn call<T>(&mut self, item: C::Item<'_>) -> Result<T::Owned, ClientError>
    where
        T: ToOwned + ?Sized + 'static,
        C: for<'a> Codec<Frame<'a> = &'a T>,
    {
        self.send(item)?;
        self.recv()
    }

    /// Reads once, behind what is there.
    fn read(&mut self, until: Option<Instant>) -> Result<(), ClientError> {
        self.input.drain(..std::mem::take(&mut self.start));
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timed_out = || ClientError::TimedOut(self.timeout.unwrap_or_default());
        if left == Some(Duration::ZERO) {
            return Err(timed_out());
        }
        self.stream.set_read_timeout(left).map_err(ClientError::Broken)?;
        let len = self.input.len();
        self.input.resize(len + READ_BYTES, 0);
        let read = self.stream.read(&mut self.input[len..]);
        self.input.truncate(len + read.as_ref().map_or(0, |count| *count));
        match read {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Err(timed_out()),
                io::ErrorKind::Interrupted => {}
                _ => return Err(ClientError::Broken(error)),
            },
        }
        Ok(())
    }
}

fn open(addr: SocketAddr, within: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, within)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
