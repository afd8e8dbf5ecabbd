//! Figures of several runs, and of the machine they were taken on.

use std::path::Path;
use std::process::Command;

use super::usage::kib;

/// Least, middle and most; of an even number the lower middle.
pub fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    [at(0), at(values.len().saturating_sub(1) / 2), at(values.len().saturating_sub(1))]
}

/// The value that so many of a hundred don't exceed; `values` are sorted.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Date, cores, memory and system.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory_gib = kib(Path::new("/proc/meminfo"), "MemTotal:").unwrap_or(0).div_ceil(1024 * 1024);
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    let date = Command::new("date").args(["-u", "+%F"]).output().map(|output| output.stdout);
    let date = String::from_utf8(date.unwrap_or_default()).unwrap_or_default();
    format!("{}, {cores} cores, {memory_gib} GiB, {}", date.trim(), system.trim_matches('"'))
}

/// A version that the command around the benchmark has put into the environment.
pub fn version(name: &str) -> String {
    let setting = std::env::var(name).unwrap_or_default();
    if setting.is_empty() { "?".to_owned() } else { setting }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_the_middle() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]).map(f64::to_bits), [1.0, 2.0, 3.0].map(f64::to_bits));
        assert_eq!(spread(vec![5.0]).map(f64::to_bits), [5.0; 3].map(f64::to_bits));
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        let found = [50.0, 99.0, 100.0].map(|percent| percentile(&values, percent).to_bits());
        assert_eq!(found, [100.0, 198.0, 200.0].map(f64::to_bits));
        assert!(percentile(&[], 50.0).is_nan());
    }
}
