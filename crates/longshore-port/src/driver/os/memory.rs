//! How much memory this process may use: of the machine, and of the container that it is in.

/// The least of what machine and control groups permit, as far as they say.
pub(crate) fn memory_bytes() -> Option<u64> {
    least(|path| std::fs::read_to_string(path).ok())
}

/// Where version 1 of the control groups has its memory, and version 2 all.
const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";

/// Of a system whose files are `read`. Sources: `proc(5)`, `cgroups(7)`; the files
/// `memory.limit_in_bytes` and `memory.max` of the kernel's documents on control groups.
fn least(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let number = |path: String| read(&path)?.trim().parse::<u64>().ok();
    let machine = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kinds, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (root, file) = match kinds {
            "" => (V2, "memory.max"),
            kinds if kinds.split(',').any(|kind| kind == "memory") => (V1, "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        // A group counts against those above it. In a container the path may be that outside.
        let mut limits = Vec::new();
        let mut path = path.trim_end_matches('/');
        loop {
            limits.extend(number(format!("{root}{path}/{file}")));
            let Some((above, _)) = path.rsplit_once('/') else { break };
            path = above;
        }
        limits
    });
    limits.chain(machine).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Option<u64> {
        least(|path| files.iter().find(|(at, _)| *at == path).map(|(_, text)| (*text).into()))
    }

    const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 1 kB\n");
    const GIB: u64 = 1 << 30;

    #[test]
    fn the_least_of_machine_and_groups_counts() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[MACHINE]), Some(GIB));
        let v2 = ("/proc/self/cgroup", "0::/system.slice/game.service\n");
        let none = ("/sys/fs/cgroup/system.slice/game.service/memory.max", "max\n");
        assert_eq!(of(&[MACHINE, v2, none]), Some(GIB));
        let above = ("/sys/fs/cgroup/system.slice/memory.max", "67108864\n");
        assert_eq!(of(&[MACHINE, v2, none, above]), Some(64 << 20), "of the group above");
        let inside = [("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "4096\n")];
        assert_eq!(of(&inside), Some(4096));
        let v1 = ("/proc/self/cgroup", "9:cpu,cpuacct:/a\n4:memory:/docker/b\n0::/\n");
        let at_root = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "33554432\n");
        assert_eq!(of(&[MACHINE, v1, at_root]), Some(32 << 20), "as a container sees it");
        let unlimited = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(of(&[MACHINE, v1, unlimited]), Some(GIB));
    }

    #[test]
    fn this_machine_says_something() {
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
