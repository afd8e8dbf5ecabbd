//! How much memory this process may use.

use std::path::Path;

/// The limit of the control group, in bytes, by version 2 and version 1 of control groups.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Bytes that state may take: at most `wanted`, and half of what the process may use at all; the rest is for the
/// clients' buffers. None is known outside of a container.
pub fn state_budget(wanted: u64) -> u64 {
    let texts = LIMITS.iter().filter_map(|path| std::fs::read_to_string(Path::new(path)).ok());
    budget(wanted, texts.filter_map(|text| limit(&text)).min())
}

/// The limit in such a file. Version 2 says `max` for none, version 1 a number that no machine has.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

fn budget(wanted: u64, limit: Option<u64>) -> u64 {
    limit.map_or(wanted, |limit| wanted.min(limit / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_takes_at_most_half_of_what_a_container_may_use() {
        let of = |text: &str| budget(1 << 30, limit(text));
        assert_eq!(of("268435456\n"), 128 << 20);
        assert_eq!(of("max\n"), 1 << 30);
        assert_eq!(of("9223372036854771712\n"), 1 << 30);
        assert_eq!(budget(1 << 20, Some(256 << 20)), 1 << 20);
    }
}
