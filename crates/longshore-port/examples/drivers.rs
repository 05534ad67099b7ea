//! Which driver this system permits, and why not the others.
//!
//! ```text
//! $ cargo run -p longshore-port --example drivers
//! uring: yes
//! readiness: yes
//! iocp: no, this system has none
//! $ cargo run -p longshore-port --example drivers -- uring    # exit code 3 if it is refused
//! ```
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use longshore_port::{DriverChoice, SystemWorld};
use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let mut exit = ExitCode::SUCCESS;
    for (name, choice) in [
        ("uring", DriverChoice::Uring),
        ("readiness", DriverChoice::Readiness),
        ("iocp", DriverChoice::Iocp),
    ] {
        if wanted.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        match SystemWorld::new(choice) {
            Ok(_) => println!("{name}: yes"),
            Err(refused) => {
                println!("{name}: no, {}", refused.why);
                exit = ExitCode::from(3);
            }
        }
    }
    exit
}
