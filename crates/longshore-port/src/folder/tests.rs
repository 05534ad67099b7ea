use super::*;
use crate::FileKind;
use std::fs;
use std::path::PathBuf;

/// `root`, which is the folder; `outside`, with a canary; both gone with the value.
struct Scratch {
    /// Closed first: Windows does not remove what somebody has open.
    folder: Folder,
    path: Removed,
}

/// A folder that is removed with the value.
struct Removed(PathBuf);

impl std::ops::Deref for Removed {
    type Target = std::path::Path;

    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("longshore-{test}-{}", std::process::id()));
        fs::create_dir_all(path.join("root/d")).unwrap();
        fs::create_dir_all(path.join("outside")).unwrap();
        fs::write(path.join("outside/f"), "canary").unwrap();
        fs::write(path.join("root/d/f"), "inside").unwrap();
        let folder = Folder::open(&path.join("root")).unwrap();
        Self { folder, path: Removed(path) }
    }

    fn check_canary(&self) {
        let outside = self.path.join("outside");
        assert_eq!(fs::read(outside.join("f")).unwrap(), b"canary");
        assert_eq!(fs::read_dir(outside).unwrap().count(), 1, "something is new outside");
    }
}

impl Drop for Removed {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn name(name: &str) -> FileName {
    FileName::parse(name).unwrap()
}

fn bytes(file: &FileHandle) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let count = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn a_root_that_is_no_folder_is_not_opened() {
    let scratch = Scratch::new("no-folder");
    assert!(Folder::open(&scratch.path.join("root/d/f")).is_err());
    let missing = Folder::open(&scratch.path.join("nothing")).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_source_is_a_regular_file() {
    let scratch = Scratch::new("source");
    assert_eq!(bytes(&FileHandle::open(&scratch.path.join("outside/f")).unwrap()), b"canary");
    let folder = FileHandle::open(&scratch.path.0).unwrap_err();
    assert_eq!(folder.to_string(), "not a regular file");
    let missing = FileHandle::open(&scratch.path.join("nothing")).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_folder_that_is_open_can_be_read_and_written() {
    let scratch = Scratch::new("open");
    assert_eq!(bytes(&scratch.folder.open_file(&name("d/f")).unwrap()), b"inside");
    scratch.folder.create(&name("d/g")).unwrap().write_at(b"new", 0).unwrap();
    assert_eq!(fs::read(scratch.path.join("root/d/g")).unwrap(), b"new");
    assert_eq!(scratch.folder.facts(&name("d")).unwrap().kind, FileKind::Folder);
    scratch.check_canary();
}

/// A junction needs no privilege, as a symbolic link does.
#[cfg(windows)]
#[test]
fn no_junction_is_followed() {
    let scratch = Scratch::new("junction");
    let (link, outside) = (scratch.path.join("root\\j"), scratch.path.join("outside"));
    let mut mklink = std::process::Command::new("cmd");
    let made = mklink.args(["/C", "mklink", "/J"]).arg(&link).arg(&outside).output().unwrap();
    if !fs::symlink_metadata(&link).is_ok_and(|meta| meta.file_type().is_symlink()) {
        println!("NOT SHOWN, no junction is made here: {made:?}");
        return;
    }
    let folder = &scratch.folder;
    assert_eq!(folder.facts(&name("j")).unwrap().kind, FileKind::Other);
    assert!(folder.open_file(&name("j/f")).is_err() && folder.create(&name("j/new")).is_err());
    assert!(folder.make_folders(&name("j")).is_err() && folder.make_folders(&name("j/x")).is_err());
    assert!(folder.list(Some(&name("j")), "", 9).is_err() && folder.remove(&name("j/f")).is_err());
    assert!(folder.rename(&name("d/f"), &name("j/f"), true).is_err());
    assert_eq!(folder.list(None, "", 9).unwrap().len(), 1);
    scratch.check_canary();
}

#[cfg(target_os = "linux")]
mod on_linux {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// As the kernel has it, and as on one without a call that opens beneath a folder.
    fn both_ways(test: &str, run: impl Fn(&Scratch)) {
        let scratch = Scratch::new(test);
        run(&scratch);
        scratch.check_canary();
        let scratch = Scratch::new(&format!("{test}-walking"));
        let Raw::System(folder) = &*scratch.folder.0 else { panic!("of the system") };
        folder.walk_always();
        run(&scratch);
        scratch.check_canary();
    }

    #[test]
    fn no_link_is_followed() {
        both_ways("links", |Scratch { path, folder }| {
            let root = path.join("root");
            for (to, at) in [
                ("../outside", "out"),
                ("../outside/f", "out-file"),
                ("d", "in"),
                ("d/f", "in-file"),
                (".", "same"),
                ("..", "up"),
                ("/proc/self/root", "magic"),
                ("nothing", "dangling"),
                ("loop", "loop"),
            ] {
                symlink(to, root.join(at)).unwrap();
                symlink(to, root.join("d").join(at)).unwrap();
            }
            let links =
                ["out", "out-file", "in", "in-file", "same", "up", "magic", "dangling", "loop"];
            for link in links.into_iter().flat_map(|link| [link.to_owned(), format!("d/{link}")]) {
                let at = name(&link);
                assert!(
                    folder.open_file(&at).is_err() && folder.open_to_write(&at).is_err(),
                    "{link}"
                );
                assert_eq!(folder.create(&at).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
                assert!(
                    folder.list(Some(&at), "", 9).is_err()
                        && folder.sync_folder(Some(&at)).is_err()
                );
                assert_eq!(folder.facts(&at).unwrap().kind, FileKind::Other);
                assert!(folder.make_folders(&at).is_err(), "{link}");
                for last in ["f", "d", "d/f", "new"] {
                    let below = at.join(&name(last)).unwrap();
                    assert!(folder.open_file(&below).is_err(), "{below}");
                    assert!(folder.open_to_write(&below).is_err(), "{below}");
                    assert!(folder.create(&below).is_err(), "{below}");
                    assert!(folder.facts(&below).is_err(), "{below}");
                    assert!(folder.remove(&below).is_err(), "{below}");
                    assert!(folder.make_folders(&below).is_err(), "{below}");
                    assert!(folder.rename(&below, &name("g"), true).is_err(), "{below}");
                    assert!(folder.rename(&name("d/f"), &below, true).is_err(), "{below}");
                    assert!(folder.rename(&name("d/f"), &below, false).is_err(), "{below}");
                }
            }
            assert_eq!(folder.list(None, "", 99).unwrap().len(), 1, "links are left out");
            // What has no name of ours is left out, too.
            for odd in ["CON", "a:b", "x\u{202e}", "-", "é"] {
                fs::write(root.join(odd), "").unwrap();
            }
            let listed: Vec<_> =
                folder.list(None, "", 99).unwrap().into_iter().map(|it| it.name).collect();
            assert_eq!(listed, ["-", "d", "é"]);
            // A link itself can be taken away and replaced; what it leads to stays.
            folder.remove(&name("in-file")).unwrap();
            folder.rename(&name("d/f"), &name("out-file"), true).unwrap();
            assert_eq!(bytes(&folder.open_file(&name("out-file")).unwrap()), b"inside");
        });
    }

    #[test]
    fn nothing_but_a_regular_file_is_opened_and_nobody_waited_for() {
        both_ways("pipes", |Scratch { path, folder }| {
            let root = path.join("root");
            mkfifoat(CWD, root.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
            let _socket = UnixListener::bind(root.join("socket")).unwrap();
            for other in ["pipe", "socket", "d"] {
                let error = folder.open_file(&name(other)).unwrap_err();
                assert_eq!(error.to_string(), "not a regular file", "{other}");
                assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
                assert!(folder.open_to_write(&name(other)).is_err(), "{other}");
            }
            assert_eq!(folder.list(None, "", 9).unwrap().len(), 1);
            let error = FileHandle::open(&root.join("pipe")).unwrap_err();
            assert_eq!(error.to_string(), "not a regular file");
            assert!(FileHandle::open(std::path::Path::new("/dev/null")).is_err());
            symlink("d/f", root.join("link")).unwrap();
            assert_eq!(bytes(&FileHandle::open(&root.join("link")).unwrap()), b"inside");
        });
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone_and_waits_as_usual() {
        both_ways("modes", |Scratch { path, folder }| {
            folder.make_folders(&name("x/y")).unwrap();
            let file = folder.create(&name("x/y/z")).unwrap();
            let mode = |at: &str| fs::metadata(path.join("root").join(at)).unwrap().mode() & 0o777;
            assert_eq!((mode("x"), mode("x/y"), mode("x/y/z")), (0o700, 0o700, 0o600));
            let read = folder.open_file(&name("x/y/z")).unwrap();
            for file in [file, read, FileHandle::open(&path.join("root/d/f")).unwrap()] {
                let crate::RawFile::System(file) = file.raw() else { panic!("of the system") };
                let flags = rustix::fs::fcntl_getfl(file).unwrap();
                assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK), "{flags:?}");
            }
        });
    }

    #[test]
    fn the_root_may_be_a_link_and_stays_the_one_it_was() {
        let scratch = Scratch::new("root-link");
        let link = scratch.path.join("link");
        symlink("root", &link).unwrap();
        let folder = Folder::open(&link).unwrap();
        fs::remove_file(&link).unwrap();
        symlink("outside", &link).unwrap();
        fs::rename(scratch.path.join("root"), scratch.path.join("elsewhere")).unwrap();
        fs::create_dir(scratch.path.join("root")).unwrap();
        assert_eq!(bytes(&folder.open_file(&name("d/f")).unwrap()), b"inside");
    }

    #[test]
    fn a_folder_that_may_not_be_listed_may_be_gone_through() {
        both_ways("through", |Scratch { path, folder }| {
            let d = path.join("root/d");
            fs::set_permissions(&d, fs::Permissions::from_mode(0o300)).unwrap();
            assert_eq!(bytes(&folder.open_file(&name("d/f")).unwrap()), b"inside");
            fs::set_permissions(&d, fs::Permissions::from_mode(0o700)).unwrap();
        });
    }

    /// Ends the thread that swaps, also when the test fails.
    struct Stop<'a>(&'a AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Somebody swaps two names as fast as can be. Meanwhile does `open` 20,000 times, or until it went
    /// both ways: what it says is whether it could.
    fn while_swapped(one: &std::path::Path, other: &std::path::Path, open: impl Fn(u32) -> bool) {
        use rustix::fs::{RenameFlags, renameat_with};
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = Stop(&stop);
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let (mut rounds, mut opened) = (0, 0);
            while rounds < 20_000 || opened == 0 || opened == rounds {
                rounds += 1;
                opened += u32::from(open(rounds));
                assert!(rounds < 5_000_000, "never swapped: {opened} of {rounds} opened");
            }
        });
    }

    /// Whether it was opened; then it is the right one.
    fn is_inside(file: io::Result<FileHandle>) -> bool {
        file.is_ok_and(|file| {
            assert_eq!(bytes(&file), b"inside");
            true
        })
    }

    #[test]
    fn a_link_that_takes_the_place_of_a_folder_leads_nobody_outside() {
        both_ways("race", |Scratch { path, folder }| {
            let (d, link) = (path.join("root/d"), path.join("root/link"));
            symlink("../outside", &link).unwrap();
            folder.make_folders(&name("d/deeper")).unwrap();
            let (at, from, to) = (name("d/f"), name("d/new"), name("d/newer"));
            while_swapped(&d, &link, |round| {
                if round % 10 == 0 {
                    if let Ok(file) = folder.open_to_write(&at) {
                        file.write_at(b"inside", 0).unwrap();
                    }
                    drop(folder.create(&from));
                    folder.rename(&from, &to, round % 20 == 0).ok();
                    folder.remove(&to).ok();
                    folder.make_folders(&name("d/deeper/still")).ok();
                    if let Ok(entries) = folder.list(Some(&name("d")), "", 9) {
                        assert!(entries.iter().any(|it| it.name == "deeper"), "{entries:?}");
                    }
                }
                is_inside(folder.open_file(&at))
            });
        });
    }

    /// The same of a file, between the look at it and its opening.
    #[test]
    fn a_link_that_takes_the_place_of_a_file_leads_nobody_outside() {
        let Scratch { folder, path } = &Scratch::new("file-race");
        let (file, link) = (path.join("root/d/f"), path.join("root/link"));
        symlink("../../outside/f", &link).unwrap();
        while_swapped(&file, &link, |round| {
            let at = name("d/f");
            is_inside(if round % 2 == 0 {
                folder.open_file(&at)
            } else {
                folder.open_to_write(&at)
            })
        });
    }

    /// Nor does a pipe in its place keep anybody.
    #[test]
    fn a_pipe_that_takes_the_place_of_a_file_is_not_waited_for() {
        let Scratch { folder, path } = &Scratch::new("pipe-race");
        let (file, pipe) = (path.join("root/d/f"), path.join("root/pipe"));
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        while_swapped(&file, &pipe, |_| is_inside(folder.open_file(&name("d/f"))));
    }
}
