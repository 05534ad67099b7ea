//! Hands bytes on, never more than the slower side takes. The end of one is the end of both.
//!
//!     cargo run --release -- serve --listen :7412 --protocol raw &
//!     cargo run --release --example proxy    # or: --example proxy FROM TO

use longshore::{Builder, Conn, Connector, Ctx, Handler, Limits, Listener, Raw, Result, Sent};
use longshore::{Server, SlowReader};
use std::{mem, sync::Arc, time::Duration};
pub(crate) const PIECES: Raw = Raw::max(64 * 1024);
pub(crate) const QUEUE_BYTES: u64 = 256 * 1024; // for a side that reads slowly

/// Who drops this closes that side, behind what it was given: with its own end, for one.
struct Other(Conn<Side>);

impl Drop for Other {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The other side, the piece that did not fit its queue, and what a client wants to reach.
struct Side(Option<Other>, Vec<u8>, Option<Arc<str>>);

impl Handler for Side {
    type Codec = Raw;
    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        let mut me = Some(Other(cx.conn())); // dropped, if the other one never stands or is gone
        if let Some(target) = self.2.take() {
            cx.pause(); // until it stands
            let connector = Connector::tcp(&target, PIECES).limits(limits());
            cx.connect(connector, move |_| Ok(Self(me.take(), Vec::new(), None)))?;
        } else if let Some(Other(client)) = &self.0 {
            let _ = client.post(move |side, cx| {
                side.0 = me;
                cx.resume();
                Ok(())
            });
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, bytes: &[u8]) -> Result {
        let Some(Other(other)) = &self.0 else { return Ok(()) };
        match cx.send_to(other, bytes) {
            Sent::Queued => return Ok(()),
            Sent::Full => self.1 = bytes.to_vec(),
            Sent::Closed | Sent::Invalid(_) => cx.close(), // nobody is left to relay to
        }
        cx.pause();
        Ok(())
    }

    fn on_writable(&mut self, _: &mut Ctx<'_, Self>) -> Result {
        let Some(Other(other)) = &self.0 else { return Ok(()) };
        let _ = other.post(|side, cx| {
            cx.resume();
            let piece = mem::take(&mut side.1);
            side.on_message(cx, &piece)
        });
        Ok(())
    }
}

fn limits() -> Limits {
    let limits = Limits::new().first_byte(Duration::ZERO); // either may speak first
    limits.slow_reader(SlowReader::Refuse).send_queue_bytes(QUEUE_BYTES)
}

pub(crate) fn proxy(listener: Listener<Raw>, target: &str) -> Builder {
    let (listener, target) = (listener.limits(limits()), Arc::<str>::from(target));
    Server::builder().listen(listener, move |_| Ok(Side(None, Vec::new(), Some(target.clone()))))
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7411".into());
    let target = std::env::args().nth(2).unwrap_or(":7412".into());
    proxy(Listener::tcp(&addr, PIECES), &target).run()
}
