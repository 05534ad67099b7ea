//! Echoes length-prefixed frames.
//!
//!     cargo run --release --example echo
//!     printf '\0\0\0\5hello' | nc -q1 127.0.0.1 7411 | xxd
//!     00000000: 0000 0005 6865 6c6c 6f                   ....hello

use longshore::{Ctx, Handler, LengthDelimited, Listener, Result, Server};

struct Echo;

impl Handler for Echo {
    type Codec = LengthDelimited;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, frame: &[u8]) -> Result {
        cx.send(frame)
    }
}

fn main() -> Result {
    let listener = Listener::port(7411, LengthDelimited::u32_be(1 << 20));
    Server::builder().listen(listener, |_| Ok(Echo)).run()
}
