//! A client that stays connected: sends a number every second, and connects again when it must.
//!
//!     cargo run --release -- serve --protocol length &
//!     cargo run --release --example client
//!     connected to 127.0.0.1:7411
//!     0 came back
//!     1 came back
#![expect(clippy::print_stdout, reason = "a program for people")]

use longshore::{
    Attempt, Closed, ConnectError, Connector, Ctx, Error, Handler, LengthDelimited, Reconnect,
    Result, Retry, Server, Timer,
};
use std::time::Duration;

const SEND: Timer = Timer(0);
const EVERY: Duration = Duration::from_secs(1);
const ATTEMPTS_MAX: u32 = 100;

/// One connection; after a reconnect there is a new one.
#[derive(Default)]
pub(crate) struct Counting {
    next: u64,
}

impl Handler for Counting {
    type Codec = LengthDelimited;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        println!("connected to {}", cx.peer_addr());
        Ok(cx.set_timer(SEND, Duration::ZERO)?)
    }

    fn on_timer(&mut self, cx: &mut Ctx<'_, Self>, _: Timer) -> Result {
        cx.send(&self.next.to_be_bytes())?;
        self.next += 1;
        Ok(cx.set_timer(SEND, EVERY)?)
    }

    fn on_message(&mut self, _: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        let number = frame.try_into().map_err(|_| Error::msg("that is not what was sent"))?;
        println!("{} came back", u64::from_be_bytes(number));
        Ok(())
    }

    fn on_disconnect(self, closed: &Closed<'_>) {
        println!("disconnected: {}", closed.reason);
    }
}

/// Waits longer with each failure in a row, and gives up after a hundred.
pub(crate) fn connector(to: &str) -> Connector<LengthDelimited> {
    let policy = Reconnect::Backoff { min: Duration::from_millis(100), max: EVERY };
    Connector::tcp(to, LengthDelimited::u32_be(1 << 20)).reconnect(policy).on_failure(on_failure)
}

fn on_failure(error: &ConnectError, attempt: Attempt) -> Retry {
    println!("attempt {}: {error}", attempt.number);
    match attempt.number {
        ATTEMPTS_MAX.. => Retry::GiveUp,
        number => Retry::After(Duration::from_millis(100) * number.min(10)),
    }
}

fn main() -> Result {
    // Without a listener it is all client.
    let server = Server::builder().workers(1).start()?;
    server.connect(connector(":7411"), |_| Ok(Counting::default()))?;
    server.drain_on_signals()?;
    server.wait()
}
