//! Hands bytes on, never more than the slower side takes. The end of one is the end of both.
//!
//!     cargo run --release -- serve --listen :7412 --protocol raw &
//!     cargo run --release --example proxy    # or: --example proxy FROM TO
//!     nc 127.0.0.1 7411    # and type
//!     hello

use longshore::{Builder, Closed, Conn, Connector, Ctx, Handler, Limits, Listener, Raw, Result};
use longshore::{Retry, Sent, Server, SlowReader};
use std::sync::{Arc, Mutex, OnceLock};
use std::{mem, time::Duration};

pub(crate) const PIECES: Raw = Raw::max(64 * 1024);
/// Bytes that may wait for a side that reads slowly. The other one is not read from meanwhile.
pub(crate) const QUEUE_BYTES: u64 = 256 * 1024;

/// Two connections on one worker, and for each the piece that did not fit its queue.
type Link = [(OnceLock<Conn<Side>>, Mutex<Vec<u8>>); 2];

/// One of the two: 0 is the client, 1 the server behind us at the address.
struct Side(usize, Arc<Link>, Arc<str>);

impl Handler for Side {
    type Codec = Raw;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        let (link, target, client) = (self.1.clone(), self.2.clone(), cx.conn());
        let _ = link[self.0].0.set(cx.conn());
        if self.0 == 1 {
            link[0].0.get().inspect(|client| client.resume());
            return Ok(());
        }
        cx.pause(); // until the other side stands
        let give_up = move |_: &_, _| {
            client.abort();
            Retry::GiveUp
        };
        let connector = Connector::tcp(&target, PIECES).limits(limits()).on_failure(give_up);
        cx.connect(connector, move |_| Ok(Self(1, link.clone(), target.clone())))
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, bytes: &[u8]) -> Result {
        let (other, waiting) = &self.1[1 - self.0];
        let Some(other) = other.get() else { return Ok(()) };
        match cx.send_to(other, bytes) {
            Sent::Queued => {}
            Sent::Full => {
                *waiting.lock().expect("no panic inside") = bytes.to_vec();
                cx.pause();
            }
            Sent::Closed | Sent::Invalid(_) => cx.close(), // nobody is left to relay to
        }
        Ok(())
    }

    fn on_writable(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        let piece = mem::take(&mut *self.1[self.0].1.lock().expect("no panic inside"));
        self.1[1 - self.0].0.get().inspect(|other| other.resume());
        cx.send(&piece)
    }

    fn on_disconnect(self, _: &Closed<'_>) {
        self.1[1 - self.0].0.get().inspect(|other| other.close()); // what it was given is sent
    }
}

fn limits() -> Limits {
    let limits = Limits::new().first_byte(Duration::ZERO); // either may speak first
    limits.slow_reader(SlowReader::Refuse).send_queue_bytes(QUEUE_BYTES)
}

pub(crate) fn proxy(listener: Listener<Raw>, target: &str) -> Builder {
    let (listener, target) = (listener.limits(limits()), Arc::<str>::from(target));
    Server::builder().listen(listener, move |_| Ok(Side(0, Arc::default(), target.clone())))
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7411".into());
    let target = std::env::args().nth(2).unwrap_or(":7412".into());
    proxy(Listener::tcp(&addr, PIECES), &target).run()
}
