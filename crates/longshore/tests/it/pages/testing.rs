use longshore::testing::Net;
use longshore::{Ctx, Handler, Lines, Result};
use std::time::Duration;

struct Shout;

impl Handler for Shout {
    type Codec = Lines;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        cx.send(&line.to_uppercase())
    }
}

#[test]
fn it_shouts() {
    for seed in 0..100 {
        let mut net = Net::seed(seed);
        let addr = net.serve(Lines::max(100), |_| Ok(Shout));
        let mut peer = net.connect(addr, Lines::max(100));
        peer.send("hello");
        peer.send_bytes(b"wor"); // half a line
        net.run_for(Duration::from_secs(1));
        assert_eq!(peer.received(), ["HELLO"], "seed {seed}");
        peer.send_bytes(b"ld\n");
        net.run_for(Duration::from_secs(1));
        assert_eq!(peer.received(), ["WORLD"], "seed {seed}");
    }
}
