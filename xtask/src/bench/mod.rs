//! Measures, beside others that take turns with it: `cargo xtask bench`.

mod failed;
mod framed;
mod peers;
mod raw;
mod servers;
mod small;
mod table;

use std::path::{Path, PathBuf};

pub(crate) const HELP: &str = "\
Sends files, beside others that take turns with it in each round, over loopback, and prints medians and
ratios. Builds the program and its example first. Servers run on the first core, clients on the second.

usage: cargo xtask bench [raw|framed|small]... [--rounds N] [--dir DIR]

  raw      one file of 1 GiB, and 1,000 of 1 MiB, to a client that only reads; beside nginx with sendfile
           (package nginx-light), and a bare loop around a sendfile that waits
  framed   one file of 1 GiB with its digest, to a receiver that writes and hashes; beside a bare sender
           and a bare receiver that do the same
  small    10,000 files of 4 KiB; beside tar to tar over a pipe, and one sync of the disk

  --rounds N   how often each has its turn [default: 10]
  --dir DIR    where files are sent from, and received [default: target/bench, and for raw and framed
               /dev/shm where there is one]
";

/// What the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Options {
    raw: bool,
    framed: bool,
    small: bool,
    rounds: usize,
    dir: Option<PathBuf>,
    /// It is a peer of a bench that runs: which, and its arguments.
    peer: Option<Vec<String>>,
}

impl Options {
    pub(crate) fn parse(args: &[&str]) -> Result<Self, String> {
        let (raw, framed, small) = (false, false, false);
        let mut options = Self { raw, framed, small, rounds: 10, dir: None, peer: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match *arg {
                "raw" => options.raw = true,
                "framed" => options.framed = true,
                "small" => options.small = true,
                "--rounds" => {
                    let rounds = args.next().and_then(|count| count.parse().ok());
                    let rounds = rounds.filter(|count| *count > 0);
                    options.rounds = rounds.ok_or("--rounds wants a number from 1 on")?;
                }
                "--dir" => options.dir = Some(args.next().ok_or("--dir wants a folder")?.into()),
                "peer" => options.peer = Some(args.by_ref().map(ToString::to_string).collect()),
                other => return Err(format!("bench takes no {other}")),
            }
        }
        if !(options.raw || options.framed || options.small) {
            (options.raw, options.framed, options.small) = (true, true, true);
        }
        Ok(options)
    }

    /// Where large files lie: in memory, if that is possible.
    fn memory(&self, root: &Path) -> PathBuf {
        let shm = Path::new("/dev/shm");
        let place = self.dir.clone();
        place.unwrap_or_else(|| if shm.is_dir() { shm.join("longshore-bench") } else { disk(root) })
    }

    /// Where small files lie: on a disk.
    fn disk(&self, root: &Path) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| disk(root))
    }
}

fn disk(root: &Path) -> PathBuf {
    root.join("target/bench")
}

pub(crate) fn run(root: &Path, options: &Options) -> bool {
    if let Some(peer) = &options.peer {
        return told(&peers::run(peer));
    }
    told(&bench(root, options))
}

fn told(result: &Result<(), String>) -> bool {
    if let Err(error) = result {
        eprintln!("cargo xtask bench: {error}");
    }
    result.is_ok()
}

fn bench(root: &Path, options: &Options) -> Result<(), String> {
    servers::build(root)?;
    if options.raw {
        raw::run(root, &options.memory(root), options.rounds)?;
    }
    if options.framed {
        framed::run(root, &options.memory(root), options.rounds)?;
    }
    if options.small {
        small::run(root, &options.disk(root), options.rounds)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_said() {
        let all = Options::parse(&[]).unwrap();
        assert!(all.raw && all.framed && all.small && all.rounds == 10);
        let one = Options::parse(&["small", "--rounds", "3", "--dir", "/x"]).unwrap();
        assert!(one.small && !one.raw && !one.framed);
        assert_eq!((one.rounds, one.disk(Path::new("/"))), (3, "/x".into()));
        for wrong in [&["--rounds", "0"][..], &["--dir"], &["much"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
