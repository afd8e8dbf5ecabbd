//! Processor time and memory of processes, as the kernel counts them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::stack::root;

/// The kernel counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of a process so far, in seconds.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    Ok(Times::of(pid)?.own)
}

/// Of a process and all its children, those that have ended included, in seconds.
pub fn family_cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let first = Times::of(pid)?;
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let living = children.split_whitespace().filter_map(|child| child.parse().ok());
    // A child that has just ended is counted with its parent.
    let living: f64 = living.filter_map(|child| Times::of(child).ok()).map(|times| times.own).sum();
    Ok(first.own + first.of_ended_children + living)
}

struct Times {
    own: f64,
    of_ended_children: f64,
}

impl Times {
    fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        // The name in parentheses may hold spaces; user, system, and both of ended children are fields 14 to 17.
        let fields = text.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        let ticks: Vec<f64> =
            fields.split(' ').skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
        let [user, system, ended_user, ended_system] = ticks[..] else {
            anyhow::bail!("{path} has no times")
        };
        Ok(Self {
            own: (user + system) / TICKS_PER_SECOND,
            of_ended_children: (ended_user + ended_system) / TICKS_PER_SECOND,
        })
    }
}

/// A field of a process's status, such as `VmRSS:`, in MiB.
pub fn memory_mib(pid: u32, field: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    Ok(kib(Path::new(&path), field)? / 1024)
}

/// A field of a file of `/proc` that counts KiB.
pub fn kib(path: &Path, field: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let line = text.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(number.with_context(|| format!("{} has no {field}", path.display()))?.parse()?)
}

/// How many processes want a core, on average over the last minute.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The process id of one of the stack's servers.
pub fn server_pid(server: &str) -> anyhow::Result<u32> {
    let output = Command::new(root().join("tests/stack/pid")).arg(server).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
