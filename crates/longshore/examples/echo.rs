//! Echoes lines.
//!
//!     cargo run --release --example echo    # or at another address: --example echo :7412
//!     nc 127.0.0.1 7411    # and type
//!     hello

use longshore::{Ctx, Handler, Lines, Listener, Result, Server};

struct Echo;

impl Handler for Echo {
    type Codec = Lines;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        cx.send(line)
    }
}

fn main() -> Result {
    // longshore has a log, and is mute without these words; a stderr that goes away does no harm.
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7411".into());
    Server::builder().listen(Listener::tcp(&addr, Lines::max(4096)), |_| Ok(Echo)).run()
}
