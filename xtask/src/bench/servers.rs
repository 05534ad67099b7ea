//! Programs that are measured: started, waited for, and ended.

use super::failed::failed;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Builds what is measured, as its users do.
pub(super) fn build(root: &Path) -> Result<(), String> {
    for what in [&["-p", "longshore-cli"][..], &["-p", "longshore", "--example", "web"]] {
        let mut cargo = Command::new("cargo");
        cargo.args(["build", "-q", "--release"]).args(what).current_dir(root);
        if !cargo.status().is_ok_and(|status| status.success()) {
            return Err(format!("cargo build --release {} failed", what.join(" ")));
        }
    }
    Ok(())
}

/// The program, as it was built.
pub(super) fn longshore(root: &Path) -> PathBuf {
    root.join("target/release/longshore")
}

/// A port that nobody has: likely still when it is taken.
pub(super) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed("a free port"))?;
    Ok(listener.local_addr().map_err(failed("a free port"))?.port())
}

/// A server that runs, and is ended when this is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) addr: SocketAddr,
}

/// A program on a core, if the machine has so many.
pub(super) fn on_core(core: usize, program: &Path) -> Command {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores < 2 || !Path::new("/usr/bin/taskset").exists() {
        return Command::new(program);
    }
    let mut command = Command::new("/usr/bin/taskset");
    command.args(["-c", &(core % cores).to_string()]).arg(program);
    command
}

impl Server {
    /// Starts `program` on the first core, with these arguments, and waits until it listens at `port`.
    pub(super) fn start(program: &Path, args: &[&str], port: u16) -> Result<Self, String> {
        let name = program.display();
        let mut command = on_core(0, program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(failed(&name.to_string()))?;
        let server = Self { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if TcpStream::connect(server.addr).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("{name} {} does not listen at {}", args.join(" "), server.addr))
    }

    /// Processor time until now, in seconds. Source: `proc(5)`, `/proc/PID/stat`.
    pub(super) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }
}

/// Ticks of the processor's clock in a second, as every Linux tells them to programs.
const TICKS: f64 = 100.0;

fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }
}
