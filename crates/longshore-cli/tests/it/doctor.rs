//! What it says about this very system.

use crate::rig::run;

#[test]
fn doctor_says_which_driver_runs_here() {
    let (code, output, _) = run(&["doctor"]);
    assert_eq!(code, Some(0), "{output}");
    let first = output.lines().next().unwrap();
    let levels = ["ok    ", "warn  "];
    assert!(levels.iter().any(|level| first.starts_with(level)), "{first}");
    assert!(first[6..].starts_with("driver      "), "{first}");
}

#[test]
fn doctor_in_json_has_an_object_for_each_check() {
    let (code, output, _) = run(&["doctor", "--json"]);
    assert_eq!(code, Some(0), "{output}");
    let parse = |line| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let checks: Vec<_> = output.lines().map(parse).collect();
    assert!(checks.iter().all(|check| check["v"] == 1), "{output}");
    assert_eq!(checks[0]["check"], "driver");
    let levels = ["ok", "note", "warn"];
    assert!(checks.iter().all(|check| levels.contains(&check["level"].as_str().unwrap())));
}
