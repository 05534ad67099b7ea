//! A peer in another language, written from `docs/protocol.md` alone: `peer.py` brings files to a server on
//! both drivers, and fetches them.
#![cfg(all(unix, feature = "files"))]
#![expect(clippy::unwrap_used, reason = "what a test cannot do ends it")]
#![expect(clippy::print_stdout, reason = "whoever runs this has to see what was not tested")]

use longshore::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Takes and gives the files of a store; who says a name is offered that file.
struct Session {
    store: FileStore,
    folder: PathBuf,
}

impl Handler for Session {
    type Codec = Longshore;

    fn on_message(&mut self, cx: &mut Ctx<'_, Self>, message: Message<'_>) -> Result {
        let Message::Text(name) = message else { return Err(Error::msg("a name, please")) };
        let name = FileName::parse(name)?;
        let file = FileSource::open(self.folder.join(name.as_str()))?;
        cx.offer_file(&file, &name)?;
        Ok(())
    }

    fn on_file(&mut self, _: &mut Ctx<'_, Self>, event: FileEvent) -> Result {
        event.serve(&self.store);
        Ok(())
    }
}

fn is_here(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Runs `test` against a server on each driver that is to be had, with the folder of its files and another
/// one, if the programs of the peer are here.
fn on_each_driver(name: &str, test: impl Fn(&Python, &Path, &Path)) {
    if let Some(program) = ["python3", "b3sum"].into_iter().find(|program| !is_here(program)) {
        println!("SKIPPED, NOT TESTED AT ALL: there is no {program}");
        return;
    }
    for driver in [DriverChoice::Uring, DriverChoice::Readiness] {
        if let Err(refused) = SystemWorld::new(driver) {
            println!("SKIPPED, NOT TESTED ON IO_URING: {refused}");
            continue;
        }
        let place = format!("longshore-python-{}-{name}-{driver:?}", std::process::id());
        let place = std::env::temp_dir().join(place);
        let [there, here] = ["there", "here"].map(|folder| place.join(folder));
        for folder in [&there, &here] {
            fs::create_dir_all(folder).unwrap();
        }
        let store = FileStore::open(&there).unwrap().receive();
        let folder = there.clone();
        let listener = Listener::tcp("127.0.0.1:0", Longshore::new().with_files());
        let session = move |_: &longshore::Peer<'_>| {
            Ok(Session { store: store.clone(), folder: folder.clone() })
        };
        let builder = Server::builder().listen(listener, session).workers(1);
        let server = builder.driver(driver).start().unwrap();
        let port = server.local_addrs()[0].port().unwrap().to_string();
        test(&Python { port }, &there, &here);
        server.shutdown(Duration::ZERO);
        server.wait().unwrap();
        fs::remove_dir_all(place).unwrap();
    }
}

struct Python {
    port: String,
}

impl Python {
    /// What the peer says in the end.
    fn run(&self, args: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peer.py");
        let mut command = Command::new("timeout");
        command.args(["60", "python3", script, &self.port]).args(args);
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{args:?}: {}\n{text}", output.status);
        text.trim_end().into()
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 7 + at * 13) % 256).unwrap()).collect()
}

#[test]
fn a_python_peer_brings_files() {
    on_each_driver("put", |peer, there, here| {
        let file = here.join("file");
        for len in [0, 1, 65_536, 65_537, 3_000_000] {
            fs::write(&file, pattern(len)).unwrap();
            let name = format!("a folder/grün {len}");
            let told = peer.run(&["put", file.to_str().unwrap(), &name]);
            assert_eq!(told, format!("done: {len} bytes, 0 were there"));
            assert!(fs::read(there.join(name)).unwrap() == pattern(len));
        }
        let told = peer.run(&["put", file.to_str().unwrap(), "a folder/grün 1"]);
        assert!(told.starts_with("no 5: "), "{told}");
        let told = peer.run(&["put", file.to_str().unwrap(), "../up"]);
        assert!(told.starts_with("no 3: "), "{told}");
    });
}

#[test]
fn a_python_peer_goes_on_where_it_left() {
    on_each_driver("resume", |peer, there, here| {
        let file = here.join("file");
        fs::write(&file, pattern(20_000_000)).unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(peer.run(&["put", file, "film", "1000000"]), "left");
        assert!(!there.join("film").exists());
        let told = peer.run(&["put", file, "film"]);
        let had = told.strip_prefix("done: 20000000 bytes, ").unwrap().split(' ').next().unwrap();
        assert!((1_000_000..20_000_000).contains(&had.parse().unwrap()), "{told}");
        assert!(fs::read(there.join("film")).unwrap() == pattern(20_000_000));
    });
}

#[test]
fn a_python_peer_fetches_files() {
    on_each_driver("get", |peer, there, here| {
        let file = here.join("file");
        let path = file.to_str().unwrap();
        fs::create_dir(there.join("films")).unwrap();
        for (len, name) in [(0, "films/none"), (1, "films/one"), (3_000_000, "films/long")] {
            fs::write(there.join(name), pattern(len)).unwrap();
            for ask in ["get", "take"] {
                let told = peer.run(&[ask, name, path]);
                assert_eq!(told, format!("done: {len} bytes, 0 were there"));
                assert!(fs::read(&file).unwrap() == pattern(len));
                fs::remove_file(&file).unwrap();
            }
        }
        // A part is there; and then one of another file.
        for (had, first) in [(1_000_000, 0), (0, 1)] {
            let mut part = pattern(1_000_000);
            part[0] ^= first;
            fs::write(&file, part).unwrap();
            let told = peer.run(&["get", "films/long", path]);
            assert_eq!(told, format!("done: 3000000 bytes, {had} were there"));
            assert!(fs::read(&file).unwrap() == pattern(3_000_000));
        }
        assert!(peer.run(&["get", "films/lost", path]).starts_with("no 4: "));
        assert_eq!(peer.run(&["list"]), "films/ 0");
        assert_eq!(peer.run(&["list", "films"]), "long 3000000\nnone 0\none 1");
        assert!(peer.run(&["list", "nowhere"]).starts_with("no 4: "));
    });
}
