//! Each rule is seen to fail on a sample, and to leave alone what it should.

use super::*;

/// What all rules say about one file.
fn found(path: &str, text: &str) -> Vec<String> {
    let findings = check(&Tree::of(&[(path, text)]));
    let own = findings.iter().filter(|finding| !finding.what.contains("says no #![forbid"));
    own.map(|finding| format!("{} {}", finding.line, finding.what)).collect()
}

#[track_caller]
fn fails(path: &str, text: &str, what: &str) {
    let found = found(path, text);
    assert!(found.len() == 1 && found[0].contains(what), "{path}: {text:?}: {found:?}");
}

#[track_caller]
fn passes(path: &str, text: &str) {
    assert_eq!(found(path, text), [""; 0], "{path}: {text:?}");
}

const WORKER: &str = "crates/longshore/src/worker/mod.rs";
const TESTS: &str = "\n#[cfg(test)]\nmod tests {\n";

#[test]
fn a_file_has_800_lines_without_its_tests() {
    let lines = "x\n".repeat(800);
    passes(WORKER, &lines);
    fails(WORKER, &format!("{lines}x\n"), "801 lines");
    let tests = format!("#[cfg(test)]\nmod tests {{\n{lines}}}\n");
    passes(WORKER, &format!("{lines}{tests}"));
    passes("crates/longshore/tests/it/main.rs", &format!("{lines}x\n"));
}

#[test]
fn log_lines_go_through_the_one_macro() {
    let line = "tracing::warn!(\"refused\");";
    fails(WORKER, line, "events are logged with `event!`");
    fails("crates/longshore-port/src/jobs.rs", line, "events are logged with `event!`");
    passes("crates/longshore-cli/src/out.rs", line);
    passes(WORKER, "event!(warn, \"refused\");");
}

#[test]
fn time_comes_from_the_port() {
    for name in ["Instant::now()", "std::time::SystemTime::now()"] {
        fails(WORKER, name, "time comes from the port");
        fails("crates/longshore-sim/src/port.rs", name, "time comes from the port");
        fails("crates/longshore-port/src/socket.rs", name, "time comes from the port");
        passes("crates/longshore-port/src/driver/mod.rs", name);
        passes("crates/longshore/src/client.rs", name);
        passes("crates/longshore-cli/src/main.rs", name);
        passes("crates/longshore/benches/echo.rs", name);
        passes(WORKER, &format!("{TESTS}{name}\n}}"));
        passes(WORKER, &format!("/// {name}\nconst TEXT: &str = \"{name}\";"));
    }
}

#[test]
fn threads_start_where_they_belong() {
    for name in ["std::thread::spawn(run)", "thread::Builder::new()", "thread::scope(|s| {})"] {
        fails(WORKER, name, "threads start in");
        fails("crates/longshore-port/src/driver/uring/mod.rs", name, "threads start in");
        passes("crates/longshore/src/server/threads.rs", name);
        passes("crates/longshore-port/src/jobs.rs", name);
        passes("crates/longshore/tests/it/main.rs", name);
        passes("crates/longshore-port/src/contract/mod.rs", name);
        passes("xtask/src/main.rs", name);
    }
}

#[test]
fn a_map_has_a_hasher_of_its_own() {
    let random = [
        "HashMap::new()",
        "x.collect::<HashMap<_, _>>()",
        "field: HashMap<Vec<(A, B)>, C>,",
        "HashSet::<u32>::new()",
        "RandomState::new()",
    ];
    for text in random {
        fails(WORKER, text, "order is random");
        fails("crates/longshore-proto/src/guard/rate.rs", text, "order is random");
        passes("crates/longshore-port/src/jobs.rs", text);
    }
    passes(WORKER, "use std::collections::{BTreeMap, HashMap};\nfn f() {}");
    passes(WORKER, "field: HashMap<Addr, u32, Seeded>, x = HashMap::with_hasher(seeded)");
    passes(WORKER, "field: HashMap<\n    Addr,\n    u32,\n    Seeded,\n>,");
    fails(WORKER, "use a::b;\nfn f() { HashMap::default() }", "2 HashMap without");
}

#[test]
fn unsafe_code_is_in_the_drivers_only() {
    let text = "unsafe { x() }";
    fails(WORKER, text, "only the drivers");
    fails("crates/longshore-port/src/socket.rs", text, "only the drivers");
    fails("crates/longshore/examples/echo.rs", text, "only the drivers");
    fails("xtask/src/main.rs", text, "only the drivers");
    passes("crates/longshore-port/src/recv_pool.rs", text);
    passes("crates/longshore-port/src/driver/uring/socket.rs", text);
    passes(WORKER, "#![forbid(unsafe_code)] // unsafe");
}

#[test]
fn every_crate_but_the_port_forbids_unsafe_code() {
    let missing = |path: &str, text: &str| forbidding(&Tree::of(&[(path, text)])).len();
    assert_eq!(missing("crates/longshore-sim/src/lib.rs", "//! #![forbid(unsafe_code)]"), 1);
    assert_eq!(missing("crates/longshore-sim/src/lib.rs", "#![forbid(unsafe_code)]"), 0);
    assert_eq!(missing("crates/longshore-cli/src/main.rs", ""), 1);
    assert_eq!(missing("xtask/src/main.rs", ""), 1);
    assert_eq!(missing("crates/longshore-port/src/lib.rs", ""), 0);
}

#[test]
fn only_switches_ask_which_system_this_is() {
    let asking = [
        "#[cfg(target_os = \"linux\")]",
        "#[cfg(not(any(windows, test)))]",
        "if cfg!(unix) {}",
        "#[cfg_attr(target_family = \"unix\", expect(x))]",
    ];
    for text in asking {
        fails(WORKER, text, "ask for a system");
        fails("crates/longshore-port/src/driver/uring/mod.rs", text, "ask for a system");
        fails("crates/longshore-port/src/driver/poller/epoll.rs", text, "ask for a system");
        passes("crates/longshore-port/src/driver/mod.rs", text);
        passes("crates/longshore-port/src/driver/os/mod.rs", text);
        passes("crates/longshore-port/src/driver/poller/mod.rs", text);
        passes("crates/longshore/src/signals.rs", text);
        passes("crates/longshore/tests/it/main.rs", text);
    }
    passes(WORKER, "#[cfg(feature = \"unix\")] fn unix(windows: u8) {}");
    passes(WORKER, "#[cfg(test)]\nuse std::os::unix::io::AsRawFd;");
}

#[test]
fn nothing_is_left_over() {
    for text in ["todo!()", "unimplemented!(\"x\")", "dbg!(x)", "#[ignore]", "#[ignore = \"x\"]"] {
        fails(WORKER, text, "finish it");
        fails("crates/longshore/tests/it/main.rs", text, "finish it");
        fails(WORKER, &format!("{TESTS}{text}\n}}"), "finish it");
        passes(WORKER, &format!("// {text}"));
    }
}
