//! Children that outlived the run that started them.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::files::{remove, write_private};

/// What identifies a process beyond its id, which the kernel uses again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    pid: u32,
    /// Of this boot of the machine.
    boot: String,
    /// In ticks since the boot.
    start_ticks: u64,
    /// The configuration file in its command line.
    config: PathBuf,
}

/// Writes down which process was started with `config`.
pub(super) fn note(path: &Path, pid: u32, config: &Path) -> Result<(), Error> {
    let Some(start_ticks) = stat(pid).map(|stat| stat.start_ticks) else {
        // Already gone; there is nothing that could be left over.
        return remove(path);
    };
    let note = Note { pid, boot: boot(), start_ticks, config: config.to_owned() };
    let text = serde_json::to_vec(&note).unwrap_or_default();
    write_private(path, &text)
}

/// Ends every process that a previous run noted in `folder` and that is still there; returns their ids. One that can
/// still act gets `grace` to stop; a frozen one is killed at once. Waits, so call it off the runtime's threads.
pub(super) fn end_all(folder: &Path, grace: Duration) -> Result<Vec<u32>, Error> {
    let mut running = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::file(folder, "list"))? {
        let path = entry.map_err(Error::file(folder, "list"))?.path();
        if path.extension().is_none_or(|extension| extension != "pid") {
            continue;
        }
        if let Some(found) = find(&path) {
            let signal = if found.frozen { Signal::KILL } else { Signal::TERM };
            let _ = pidfd_send_signal(&found.process, signal);
            running.push((path, found));
        } else {
            remove(&path)?;
        }
    }
    let mut ended = Vec::new();
    let deadline = std::time::Instant::now() + grace;
    for (path, found) in running {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if !wait(&found.process, left) {
            let _ = pidfd_send_signal(&found.process, Signal::KILL);
            // A killed process goes unless the kernel itself is stuck.
            wait(&found.process, Duration::from_secs(5));
        }
        remove(&path)?;
        ended.push(found.pid);
    }
    Ok(ended)
}

struct Found {
    pid: u32,
    process: OwnedFd,
    frozen: bool,
}

/// The noted process, if it is still that one.
fn find(path: &Path) -> Option<Found> {
    let note: Note = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    // First the descriptor, then the checks: what is checked is then what is signalled.
    let process = pidfd_open(Pid::from_raw(note.pid.cast_signed())?, PidfdFlags::empty()).ok()?;
    let stat = stat(note.pid)?;
    let command = fs::read(format!("/proc/{}/cmdline", note.pid)).ok()?;
    let config = note.config.as_os_str().as_encoded_bytes();
    let is_ours = note.boot == boot()
        && note.start_ticks == stat.start_ticks
        && command.split(|byte| *byte == 0).any(|argument| argument == config);
    is_ours.then_some(Found { pid: note.pid, process, frozen: matches!(stat.state, 'T' | 't') })
}

fn wait(process: &OwnedFd, timeout: Duration) -> bool {
    let timeout = Timespec::try_from(timeout).ok();
    let mut watched = [PollFd::new(process, PollFlags::IN)];
    matches!(poll(&mut watched, timeout.as_ref()), Ok(count) if count > 0)
}

struct Stat {
    state: char,
    start_ticks: u64,
}

/// The third and the twenty-second field of `/proc/<pid>/stat`; the second is the name, which may hold anything.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some(Stat { state, start_ticks: fields.nth(18)?.parse().ok()? })
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
