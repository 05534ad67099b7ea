//! A game at 20 ticks a second: players move on a plane, everybody sees everybody.
//!
//!     cargo run --release --example game
//!     nc 127.0.0.1 7411
//!     go 1 0          # from now on each tick one step to the right
//!     at 0 3 0        # player, x, y
//! Who reads slowly gets fewer places, each the newest.

use longshore::{Builder, Closed, Ctx, Group, Handler, Lines, Listener, Result, Server};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Where a player is, and its step.
type Place = [(i64, i64); 2];

/// The players by their numbers: touched by handlers and by the tick.
type World = Arc<Mutex<BTreeMap<u64, Place>>>;

struct Player {
    number: u64,
    world: World,
    all: Group<Lines>,
}

impl Handler for Player {
    type Codec = Lines;

    fn on_connect(&mut self, cx: &mut Ctx<'_, Self>) -> Result {
        self.number = cx.id().to_bits();
        self.world.lock().expect("no panic inside").insert(self.number, Place::default());
        cx.send(&format!("you are {}", self.number))
    }

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        let step = line.strip_prefix("go ").and_then(|step| step.split_once(' '));
        let step = step.and_then(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?)));
        let Some((x, y)) = step.map(|(x, y): (i64, i64)| (x.clamp(-1, 1), y.clamp(-1, 1))) else {
            return cx.send("! go X Y, each -1, 0 or 1");
        };
        if let Some(place) = self.world.lock().expect("no panic inside").get_mut(&self.number) {
            place[1] = (x, y);
        }
        Ok(())
    }

    fn on_disconnect(self, _: &Closed<'_>) {
        self.world.lock().expect("no panic inside").remove(&self.number);
        let _ = self.all.broadcast(&format!("gone {}", self.number)); // nobody may miss that
    }
}

/// One step of all who go. Of each player only the latest place counts.
fn tick(world: &World, all: &Group<Lines>) {
    for (number, [(x, y), step]) in world.lock().expect("no panic inside").iter_mut() {
        if *step != (0, 0) {
            (*x, *y) = (*x + step.0, *y + step.1);
            let _ = all.broadcast_latest(*number, &format!("at {number} {x} {y}"));
        }
    }
}

pub(crate) fn game(listener: Listener<Lines>) -> Builder {
    let (world, all) = (World::default(), Group::new(Lines::max(256)));
    let (of_tick, everybody) = (world.clone(), all.clone());
    Server::builder()
        .listen(listener.group(&all), move |_| {
            Ok(Player { number: 0, world: world.clone(), all: all.clone() })
        })
        .every(TICK, move |_, _| tick(&of_tick, &everybody))
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:7411".into());
    game(Listener::tcp(&addr, Lines::max(256)).push_only()).run()
}
