//! A gateway for devices: they come with their serial number, and operators talk to them by it.
//!
//!     cargo run --release --example gateway
//!     nc 127.0.0.1 7411                    nc 127.0.0.1 7412
//!     HELLO pump-7                         pump-7 stop

use longshore::{Builder, Claim, Ctx, Group, Handler, Limits, Lines, Listener, OnDuplicate};
use longshore::{Owners, Result, Sent, Server};
use std::time::Duration;

struct Device {
    serial: Option<String>,
    devices: Owners<String, Device>,
    operators: Group<Lines>,
}

impl Handler for Device {
    type Codec = Lines;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        match (&self.serial, line.strip_prefix("HELLO ")) {
            (None, Some(serial)) if !serial.contains(' ') => {
                if self.devices.claim(serial, &cx.conn()) != Claim::Made {
                    cx.close_because("there are too many devices");
                }
                self.serial = Some(serial.into());
            }
            (None, _) => cx.close_because("the first line is HELLO and a serial number"),
            (Some(serial), _) => drop(self.operators.broadcast(&format!("{serial}: {line}"))?),
        }
        Ok(())
    }
}

struct Operator(Owners<String, Device>);

impl Handler for Operator {
    type Codec = Lines;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, line: &str) -> Result {
        let Some((serial, text)) = line.split_once(' ') else {
            let serials = self.0.keys();
            serials.iter().take(100).try_for_each(|serial| cx.send(serial))?;
            return cx.send(&format!("{} devices", serials.len()));
        };
        cx.send(match self.0.send(serial, text) {
            Sent::Queued => "OK",
            Sent::Full => "BUSY",
            Sent::Closed => "GONE",
            Sent::Invalid(_) => "TOO LONG",
        })
    }
}

/// Listeners for devices and for operators, who only listen mostly.
pub(crate) fn gateway(devices: Listener<Lines>, operators: Listener<Lines>) -> Builder {
    let everybody = Group::new(Lines::max(2048));
    let owners = Owners::new(OnDuplicate::KickOld);
    let (of_operators, to_operators) = (owners.clone(), everybody.clone());
    // Who does not say its serial number in time is no device.
    let limits = Limits::new().login(Duration::from_secs(10)).idle(Duration::from_secs(3600));
    Server::builder()
        .listen(devices.limits(limits), move |_| {
            let (devices, operators) = (owners.clone(), to_operators.clone());
            Ok(Device { serial: None, devices, operators })
        })
        .listen(operators.push_only().group(&everybody), move |_| {
            Ok(Operator(of_operators.clone()))
        })
}

fn main() -> Result {
    tracing_subscriber::fmt().with_writer(std::io::stderr).log_internal_errors(false).init();
    let mut addrs = std::env::args().skip(1);
    let devices = addrs.next().unwrap_or("127.0.0.1:7411".into());
    let operators = addrs.next().unwrap_or("127.0.0.1:7412".into());
    let max = Lines::max(1024);
    gateway(Listener::tcp(&devices, max), Listener::tcp(&operators, max)).run()
}
