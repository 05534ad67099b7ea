//! Files as they are, over HTTP, to a client that only reads.

use super::failed::failed;
use super::peers;
use super::servers::{Server, free_port};
use super::table::{Line, Turn, print};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

const MIB: usize = 1 << 20;

/// Small files, of 1 MiB each.
const MANY: usize = 1_000;

pub(super) fn run(root: &Path, dir: &Path, rounds: usize) -> Result<(), String> {
    let folder = dir.join("raw");
    fill(&folder)?;
    let servers = contestants(root, &folder)?;
    for (title, names, bytes) in [
        ("One file of 1 GiB", vec!["large".to_owned()], 1024 * MIB),
        ("1,000 files of 1 MiB, one after the other", small_names(), MANY * MIB),
    ] {
        let mut lines: Vec<Line> = servers
            .iter()
            .map(|(name, _)| Line { name: (*name).to_owned(), turns: Vec::new() })
            .collect();
        for round in 0..=rounds {
            for (line, (_, server)) in lines.iter_mut().zip(&servers) {
                let turn = fetch(server, &names, bytes)?;
                if round > 0 {
                    line.turns.push(turn); // the first is to warm up
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a few GiB")]
        print(title, bytes as f64 / f64::from(1 << 30), &lines);
    }
    drop(servers);
    fs::remove_dir_all(&folder).map_err(failed("cleaning up"))
}

fn small_names() -> Vec<String> {
    (0..MANY).map(|number| format!("f{number}")).collect()
}

fn fill(folder: &Path) -> Result<(), String> {
    let put = |name: &str, mibs: usize| -> std::io::Result<()> {
        let mut file = File::create(folder.join(name))?;
        let piece = vec![7; MIB];
        for _ in 0..mibs {
            file.write_all(&piece)?;
        }
        Ok(())
    };
    fs::create_dir_all(folder).map_err(failed("a folder for files"))?;
    put("large", 1024).map_err(failed("files to be sent"))?;
    for name in small_names() {
        put(&name, 1).map_err(failed("files to be sent"))?;
    }
    Ok(())
}

fn contestants(root: &Path, folder: &Path) -> Result<Vec<(&'static str, Server)>, String> {
    let mut servers = Vec::new();
    match nginx(folder) {
        Ok(server) => servers.push(("nginx, sendfile", server)),
        Err(why) => println!("without nginx: {why}"),
    }
    servers.push(("bare loop, sendfile that waits", peers::start(&["sendfile"], folder)?));
    let (port, web) = (free_port()?, root.join("target/release/examples/web"));
    let (files, addr) = (folder.display().to_string(), format!("127.0.0.1:{port}"));
    servers.push(("longshore, example web", Server::start(&web, &[&files, &addr], port)?));
    Ok(servers)
}

/// One worker in the foreground.
fn nginx(folder: &Path) -> Result<Server, String> {
    let (port, own) = (free_port()?, folder.with_extension("nginx"));
    fs::create_dir_all(&own).map_err(failed("a folder for nginx"))?;
    let (own_shown, folder) = (own.display(), folder.display());
    let mut text = String::new();
    let _ = write!(
        text,
        "daemon off; master_process off; pid {own_shown}/pid; error_log stderr crit;
        events {{ worker_connections 100; }}
        http {{
            access_log off; sendfile on; sendfile_max_chunk 0; tcp_nopush on;
            keepalive_requests 1000000; keepalive_timeout 600;
            client_body_temp_path {own_shown}/1; proxy_temp_path {own_shown}/2;
            fastcgi_temp_path {own_shown}/3; uwsgi_temp_path {own_shown}/4; scgi_temp_path {own_shown}/5;
            server {{ listen 127.0.0.1:{port}; root {folder}; }}
        }}
        "
    );
    let config = own.join("nginx.conf");
    fs::write(&config, text).map_err(failed("the settings of nginx"))?;
    let program = PathBuf::from("/usr/sbin/nginx");
    let (config, own) = (config.display().to_string(), own.display().to_string());
    Server::start(&program, &["-c", &config, "-p", &own, "-e", "stderr"], port)
}

/// Gets these files over one connection, and reads all of them.
fn fetch(server: &Server, names: &[String], bytes: usize) -> Result<Turn, String> {
    let wrong = |what: String| format!("a server of files: {what}");
    let (cpu, begun) = (server.cpu_seconds(), Instant::now());
    let mut stream = TcpStream::connect(server.addr).map_err(failed("a server of files"))?;
    let mut buffer = vec![0; 256 << 10];
    let mut all = 0;
    for name in names {
        let request = format!("GET /{name} HTTP/1.1\r\nHost: bench\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(failed("a request"))?;
        let (mut have, mut left) = (0, None);
        while left != Some(0) {
            let count = stream.read(&mut buffer[have..]).map_err(failed("an answer"))?;
            if count == 0 {
                return Err(wrong(format!("{name} ends early")));
            }
            if let Some(left) = &mut left {
                *left -= count;
                continue;
            }
            have += count;
            let Some(end) = buffer[..have].windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length
                .filter(|_| head.starts_with("http/1.1 200 "))
                .and_then(|length| length.trim().parse().ok())
                .ok_or_else(|| wrong(head.clone()))?;
            (left, have, all) = (Some(length - (have - end - 4)), 0, all + length);
        }
    }
    if all != bytes {
        return Err(wrong(format!("{all} of {bytes} bytes")));
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Turn { seconds, cpu_seconds: server.cpu_seconds() - cpu })
}
