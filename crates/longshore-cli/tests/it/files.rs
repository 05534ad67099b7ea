//! Files to and from a server.

use crate::rig::{Serving, drivers, longshore, run, run_with_input};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("longshore-cli-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path); // of a process of that number before
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().into()
    }

    fn put(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().into()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // what is left of it is the system's
    }
}

fn serve(files: &Folder, more: &[&str]) -> Serving {
    Serving::start(&[&["--files", files.0.to_str().unwrap()], more].concat())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at / 3 + at * 7) % 251).try_into().unwrap_or(0)).collect()
}

#[test]
fn files_and_folders_go_there_and_back() {
    for driver in drivers() {
        let (here, there) = (Folder::new("here"), Folder::new("there"));
        let server = serve(&there, &["--driver", &driver]);
        assert!(server.banner.contains("given and taken"), "{}", server.banner);
        let addr = server.addr();
        let film = here.put("film.mp4", &pattern(3_000_000));
        for number in 0..300 {
            here.put(&format!("photos/{}/p{number}", number % 7), &pattern(number * 10));
        }
        let (code, output, error) = run(&["put", &film, &addr]);
        assert_eq!((code, &error[..]), (Some(0), ""));
        assert!(output.starts_with("put film.mp4   3,000,000 bytes   blake3 "), "{output}");
        let to = format!("{addr}/all/of it/");
        let (code, output, error) = run(&["put", &here.path("photos"), &film, &to]);
        assert_eq!((code, &error[..]), (Some(0), ""));
        assert!(output.starts_with("put 301 files   "), "{output}");
        assert!(there.read("all/of it/photos/6/p293") == pattern(2_930));

        let (code, output, _) = run(&["ls", &addr]);
        let lines: Vec<_> = output.lines().collect();
        assert_eq!((code, lines.len()), (Some(0), 2), "{output}");
        assert!(lines[0].ends_with("  all/") && lines[1].starts_with("3,000,000  20"), "{output}");
        let (_, output, _) = run(&["ls", "--json", &format!("{addr}/all/of it")]);
        let first = output.lines().next().unwrap();
        assert!(
            first.contains(r#""bytes":3000000"#) && first.contains(r#""name":"film.mp4""#),
            "{first}"
        );
        assert!(first.contains(r#""modified":1"#) && first.ends_with(r#""v":1}"#), "{first}");

        let back = here.path("back");
        let from = [&format!("{addr}/film.mp4")[..], &format!("{addr}/all/of it/photos")];
        let (code, output, error) = run(&["get", from[0], from[1], "-o", &back]);
        assert_eq!((code, &error[..]), (Some(0), ""), "{output}");
        assert!(here.read("back/film.mp4") == pattern(3_000_000));
        for number in 0..300 {
            let name = format!("back/photos/{}/p{number}", number % 7);
            assert!(here.read(&name) == pattern(number * 10), "{name}");
        }
        let output = longshore(&["get", from[0], "-o", "-"]).output().unwrap();
        assert!(output.status.success() && output.stdout == pattern(3_000_000));
    }
}

/// R64: the server is killed, the same command goes on.
#[test]
fn what_was_cut_off_goes_on_where_it_was() {
    let (here, there) = (Folder::new("cut-here"), Folder::new("cut-there"));
    let bytes = pattern(60_000_000);
    let film = here.put("film", &bytes);
    let mut server = serve(&there, &[]);
    let mut put = longshore(&["put", &film, &server.addr()]);
    let put = put.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let part = |at: &Path| {
        let parts = fs::read_dir(at).unwrap().filter_map(|entry| {
            let entry = entry.ok()?;
            let is_part = entry.file_name().to_str()?.starts_with(".longshore-");
            is_part.then(|| entry.metadata().ok().map(|facts| facts.len()))?
        });
        parts.max().unwrap_or(0)
    };
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while part(&there.0) < 5_000_000 && !there.0.join("film").exists() {
        assert!(std::time::Instant::now() < until, "nothing comes");
        std::thread::yield_now();
    }
    drop(server); // with SIGKILL
    let output = put.wait_with_output().unwrap();
    if there.0.join("film").exists() {
        println!("it was too fast to be cut off");
        return;
    }
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("run the same command to go on where it was"), "{error}");
    server = serve(&there, &[]);
    let (code, output, error) = run(&["put", "--json", &film, &server.addr()]);
    assert_eq!((code, &error[..]), (Some(0), ""));
    let resumed = output.split(r#""resumed_bytes":"#).nth(1).unwrap();
    let resumed: u64 = resumed.split(',').next().unwrap().parse().unwrap();
    assert!(resumed >= 4_000_000, "{output}");
    assert!(there.read("film") == bytes, "another file");
    assert_eq!(part(&there.0), 0, "a part is left over");
}

/// R64: killed at any moment, either side, and again: what arrives is what was sent.
#[test]
#[cfg(unix)]
fn r64_a_transfer_survives_kills_at_any_moment() {
    let kills = if std::env::var_os("LONGSHORE_LONG").is_some() { 500 } else { 12 };
    let (here, there) = (Folder::new("kill-here"), Folder::new("kill-there"));
    let bytes = pattern(40_000_000);
    let film = here.put("film", &bytes);
    let (mut killed, mut resumed, mut again) = (0, 0, 0_u64);
    let mut server = serve(&there, &["--overwrite"]);
    for round in 0..kills {
        let addr = server.addr();
        let args = ["put", "--json", &film, &addr];
        let child = longshore(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(500 + (round * 7919) % 90_000));
        if round % 2 == 0 {
            let mut child = child;
            child.kill().unwrap(); // by its id
            child.wait().unwrap();
        } else {
            drop(server);
            child.wait_with_output().unwrap();
            server = serve(&there, &["--overwrite"]);
        }
        killed += 1;
        if there.0.join("film").exists() {
            assert!(there.read("film") == bytes, "round {round}: a file that is not whole");
        }
        if round % 4 == 3 {
            let (code, output, error) = run(&["put", "--json", &film, &server.addr()]);
            assert_eq!((code, &error[..]), (Some(0), ""), "round {round}");
            assert!(there.read("film") == bytes, "round {round}: another file");
            let had = output.split(r#""resumed_bytes":"#).nth(1).unwrap();
            let had: u64 = had.split(',').next().unwrap().parse().unwrap();
            resumed += u32::from(had > 0);
            again += bytes.len() as u64 - had;
            fs::remove_file(there.0.join("film")).unwrap();
        }
    }
    println!("r64: {killed} kills, {resumed} of {} resumed, {again} bytes sent again", killed / 4);
}

/// R63: a limit of the system is an error of one file, and ends nobody.
#[test]
#[cfg(unix)]
fn r63_a_limit_of_the_system_ends_one_file_and_not_the_server() {
    let (here, there) = (Folder::new("limit-here"), Folder::new("limit-there"));
    let (large, small) = (here.put("large", &pattern(3_000_000)), here.put("small", b"small"));
    let mut command = std::process::Command::new("sh");
    let serve = format!(
        "ulimit -f 1000; exec '{}' serve --listen 127.0.0.1:0 --files '{}'",
        env!("CARGO_BIN_EXE_longshore"),
        there.0.display()
    );
    command.args(["-c", &serve]).stdin(Stdio::null());
    let server = Serving::start_as(command);
    let (code, _, error) = run(&["put", &large, &server.addr()]);
    assert_eq!(code, Some(1));
    assert!(error.contains("larger than a file may be"), "{error}");
    assert!(!there.0.join("large").exists());
    assert_eq!(run(&["put", "-q", &small, &server.addr()]).0, Some(0), "the server is gone");
}

#[test]
fn what_is_refused_says_why_and_what_to_do() {
    let (here, there) = (Folder::new("no-here"), Folder::new("no-there"));
    let film = here.put("film", b"a film");
    let server = serve(&there, &["--file-max", "10"]);
    let addr = server.addr();
    assert_eq!(run(&["put", "--quiet", &film, &addr]), (Some(0), String::new(), String::new()));
    let (code, out, error) = run(&["put", &film, &addr]);
    assert_eq!((code, &error[..]), (Some(0), ""), "it is the same");
    assert!(out.ends_with("   all of it was there\n"), "{out}");
    std::fs::write(&film, b"a flim").unwrap();
    let (code, _, error) = run(&["put", &film, &addr]);
    let wanted = "put film: the server: there is such a file already: film: one of 6 bytes is not \
                  replaced; choose another name, or serve with --overwrite\n";
    assert_eq!((code, &error[..]), (Some(1), wanted));
    let long = here.put("long", b"eleven byte");
    let (code, _, error) = run(&["put", &long, &addr]);
    assert_eq!(code, Some(1));
    assert!(error.contains("larger than a file may be") && error.contains("--file-max"), "{error}");
    let (code, _, error) = run(&["get", &format!("{addr}/nothing")]);
    assert_eq!(code, Some(1));
    assert!(error.starts_with("get nothing: the server: no such file"), "{error}");
    let (code, _, error) = run(&["get", &format!("{addr}/../etc/passwd")]);
    let wanted = "get ../etc/passwd: not a name the server can have: \"..\" leaves its folder\n";
    assert_eq!((code, &error[..]), (Some(2), wanted));
    let (code, _, error) = run(&["get", &format!("{addr}/film"), "-o", here.0.to_str().unwrap()]);
    assert_eq!(code, Some(1), "it is not replaced");
    assert!(error.contains("--force replaces it"), "{error}");
    let force = ["get", "--force", &format!("{addr}/film"), "-o", here.0.to_str().unwrap()];
    assert_eq!(run(&force).0, Some(0));
    for (args, code) in [
        (vec!["put", &film], 2),
        (vec!["put", "/nowhere/at/all", &addr], 2),
        (vec!["put", &film, "127.0.0.1:1"], 3),
        (vec!["get", &addr], 2),
        (vec!["ls", &format!("{addr}/nowhere")], 1),
        (vec!["serve", "--files", "/nowhere/at/all"], 2),
        (vec!["serve", "--files", &film, "--protocol", "lines"], 2),
    ] {
        assert_eq!(run(&args).0, Some(code), "{args:?}");
    }
}

/// A server without files is found out at once, not after a time.
#[test]
fn a_server_without_files_says_so() {
    let here = Folder::new("none");
    let film = here.put("film", b"a film");
    let server = Serving::start(&[]);
    assert!(server.banner.contains("files off, give --files DIR"), "{}", server.banner);
    let begun = std::time::Instant::now();
    for args in [&["put", &film, &server.addr()][..], &["ls", &server.addr()]] {
        let (code, _, error) = run(args);
        assert_eq!(code, Some(1));
        assert!(error.contains("the server needs --files DIR"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "it waited for the end of a time");
}

#[test]
fn a_server_may_only_give() {
    let (here, there) = (Folder::new("give-here"), Folder::new("give-there"));
    there.put("film", b"a film");
    let film = here.put("other", b"a film");
    let server = serve(&there, &["--read-only"]);
    let (code, _, error) = run(&["put", &film, &server.addr()]);
    assert_eq!(code, Some(1));
    assert!(error.contains("nothing is received here"), "{error}");
    let (code, _, _) = run(&["get", &format!("{}/film", server.addr()), "-o", &here.path("")]);
    assert_eq!((code, here.read("film")), (Some(0), b"a film".to_vec()));
}

/// A program that sends a folder hears of each file.
#[test]
fn json_has_an_object_for_each_file() {
    let (here, there) = (Folder::new("json-here"), Folder::new("json-there"));
    for name in ["a", "b", "c"] {
        here.put(&format!("all/{name}"), name.as_bytes());
    }
    there.put("all/b", b"it is there");
    let server = serve(&there, &[]);
    let (code, output, error) = run(&["put", "--json", &here.path("all"), &server.addr()]);
    assert_eq!((code, &error[..]), (Some(1), ""));
    let events: Vec<_> = output.lines().map(|line| line.split(r#""event":""#).nth(1)).collect();
    let events: Vec<_> =
        events.into_iter().flatten().map(|it| it.split('"').next().unwrap()).collect();
    let count = |event: &str| events.iter().filter(|it| **it == event).count();
    assert_eq!((count("put"), count("error"), count("done")), (2, 1, 1), "{output}");
    assert!(output.contains(r#""failed_total":1,"files_total":2"#), "{output}");
    // BLAKE3 of "a".
    let digest = "17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f";
    assert!(output.contains(digest), "{output}");
}

/// S142: the operator sends a file to one of those who are there; who takes none says so.
#[test]
fn the_operator_offers_a_file() {
    let there = Folder::new("operator");
    let film = there.put("film", b"a film");
    let server = Serving::start(&[]);
    drop(server);
    let mut command = longshore(&["serve", "--listen", "127.0.0.1:0", "--json"]);
    command.args(["--files", there.0.to_str().unwrap()]);
    let commands = format!("send-file 1-1 {film}\nsend-file\n");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), commands.as_bytes()).unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut said = Vec::new();
    while said.len() < 3 {
        said.push(lines.next().unwrap().unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said[1].contains("no connection") && said[2].contains("send-file ID FILE"), "{said:?}");
}

/// Files beside a talk.
#[test]
fn a_talk_over_a_pipe_takes_commands_for_text() {
    let there = Folder::new("talk");
    let server = serve(&there, &[]);
    let (code, output, error) = run_with_input(&["connect", &server.addr()], b"/ls\n");
    assert_eq!((code, &output[..], &error[..]), (Some(0), "/ls\n", ""));
}

/// What cannot be sent is told, and all the rest is sent.
#[cfg(unix)]
#[test]
fn one_bad_name_does_not_stop_a_folder() {
    let (here, there, back) =
        (Folder::new("bad-here"), Folder::new("bad-there"), Folder::new("bad-back"));
    let photos = here.0.join("photos");
    std::fs::create_dir_all(photos.join("more")).unwrap();
    std::fs::write(photos.join("a"), "a").unwrap();
    std::fs::write(photos.join("more/COM1"), "a device of Windows").unwrap();
    std::fs::write(photos.join("z"), "z").unwrap();
    let server = serve(&there, &[]);
    let (code, out, error) = run(&["put", photos.to_str().unwrap(), &server.addr()]);
    assert_eq!(code, Some(1));
    assert!(error.contains("more/COM1: not a name the server can have: "), "{error}");
    assert!(error.ends_with("put: 1 of 3 files failed\n"), "{error}");
    assert!(out.contains("put 2 files"), "{out}");
    assert_eq!(std::fs::read(there.0.join("photos/z")).unwrap(), b"z");
    // One that its own system has no objection to lies at the server.
    let to = back.0.to_str().unwrap();
    let (code, _, error) = run(&["get", &format!("{}/photos", server.addr()), "-o", to]);
    assert_eq!((code, &error[..]), (Some(0), ""));
    assert_eq!(std::fs::read(back.0.join("photos/a")).unwrap(), b"a");
    let (code, out, error) = run(&["get", &format!("{}/photos", server.addr()), "-o", "-"]);
    assert_eq!((code, &out[..]), (Some(1), ""));
    assert!(error.contains("not a regular file"), "{error}");
}

#[test]
fn an_address_without_its_flag_is_understood() {
    let (code, _, error) = run(&["serve", "127.0.0.1:7999"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("to listen there: longshore serve --listen 127.0.0.1:7999"), "{error}");
}

/// Ctrl-C says how far it was, and what to do.
#[cfg(unix)]
#[test]
fn a_put_that_is_stopped_says_how_to_go_on() {
    let (here, there) = (Folder::new("stop-here"), Folder::new("stop-there"));
    let film = here.0.join("film");
    fs::File::create(&film).unwrap().set_len(4 << 30).unwrap(); // it takes a while
    let server = serve(&there, &["--file-max", "4GiB"]);
    let mut put = longshore(&["put", film.to_str().unwrap(), &server.addr()]);
    let put = put.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while there.0.read_dir().unwrap().next().is_none() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = put.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = put.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains(": stopped"), "{error}");
    assert!(error.contains("; run the same command to go on where it was\n"), "{error}");
}

/// Who asks for files and takes none leaves descriptors to others, and to those who come.
#[cfg(target_os = "linux")]
#[test]
fn a_peer_that_takes_nothing_leaves_descriptors() {
    use std::io::Write;
    for driver in drivers() {
        let there = Folder::new(&format!("greedy-{driver}"));
        there.put("film", b"a film");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -n 130 && exec \"$0\" \"$@\""]);
        command.arg(longshore(&[]).get_program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--workers", "1", "--driver", &driver]);
        command.args(["--files", there.0.to_str().unwrap()]).stdin(Stdio::null());
        let server = Serving::start_as(command);
        let open = || fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
        let before = open();
        let frame = |kind: u8, payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            [&[b'L', 1, kind, 0][..], &length, payload].concat()
        };
        let mut peers = Vec::new();
        for _ in 0..12 {
            let mut peer = std::net::TcpStream::connect(server.addr()).unwrap();
            let mut asks = frame(0, &1_u64.to_be_bytes());
            for request in 1..=64_u32 {
                let get = [&request.to_be_bytes()[..], &[0; 8], &[0xff; 8], b"film"].concat();
                asks.extend(frame(24, &get));
            }
            peer.write_all(&asks).unwrap();
            peers.push(peer);
        }
        while open() < before + 12 + 16 {
            std::thread::sleep(Duration::from_millis(10));
        }
        for _ in 0..3 {
            let (code, out, error) = run(&["ls", &server.addr()]);
            assert_eq!((code, &error[..]), (Some(0), ""), "{driver}");
            assert!(out.contains("film"), "{out}");
        }
        let most = open();
        assert!(most <= before + 12 + 16 + 2, "{most} are open, {before} were before");
        drop(peers);
        let film = there.path("film");
        let (code, _, error) = run(&["put", "-q", &film, &server.addr()]);
        assert_eq!((code, &error[..]), (Some(0), ""), "{driver}: it is the same one");
    }
}
