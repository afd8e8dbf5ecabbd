//! The files of one process, and where they are in the state folder.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::Error;

/// A termination message longer than this is cut.
const MESSAGE_MAX_BYTES: usize = 4096;

/// The files of one process.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// What it is told.
    pub config: PathBuf,
    /// Where it writes its address.
    pub address: PathBuf,
    /// Where it writes its last words.
    pub termination: PathBuf,
    /// Where its process id is noted.
    pub pid: PathBuf,
    /// Its output.
    pub log: PathBuf,
}

impl Files {
    /// The files of the process `name` in `state`. The name becomes part of file names, so it is checked.
    pub fn new(state: &Path, name: &str) -> Result<Self, Error> {
        let safe = !name.is_empty()
            && !name.starts_with('.')
            && name.len() <= 240
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !safe {
            return Err(Error::Name { name: name.to_owned() });
        }
        let run = state.join("run");
        Ok(Self {
            config: run.join(format!("{name}.yaml")),
            address: run.join(format!("{name}.address")),
            termination: run.join(format!("{name}.termination")),
            pid: run.join(format!("{name}.pid")),
            log: state.join("logs").join(format!("{name}.log")),
        })
    }

    /// Takes away what the process before left behind, and writes the configuration.
    pub fn prepare(&self, config: &str) -> Result<(), Error> {
        for stale in [&self.address, &self.termination] {
            remove(stale)?;
        }
        write_private(&self.config, config.as_bytes())
    }

    /// The address the process listens on, once it has written it whole.
    pub fn read_address(&self) -> Option<String> {
        let text = fs::read_to_string(&self.address).ok()?;
        let address = text.trim();
        address
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
            .then(|| address.to_owned())
    }

    /// What the process said last.
    pub fn read_termination(&self) -> Option<String> {
        let bytes = fs::read(&self.termination).ok()?;
        let cut = &bytes[..bytes.len().min(MESSAGE_MAX_BYTES)];
        let text = String::from_utf8_lossy(cut).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// The log, opened to be appended to; a long one is put aside first, over the one put aside before.
    pub fn open_log(&self, max_bytes: u64) -> Result<File, Error> {
        if fs::metadata(&self.log).is_ok_and(|metadata| metadata.len() > max_bytes) {
            let aside = self.log.with_extension("log.1");
            fs::rename(&self.log, aside).map_err(Error::file(&self.log, "put the log aside"))?;
        }
        let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log);
        open.map_err(Error::file(&self.log, "open the log"))
    }

    /// Removes everything but the log.
    pub fn remove(&self) -> Result<(), Error> {
        for path in [&self.config, &self.address, &self.termination, &self.pid] {
            remove(path)?;
        }
        Ok(())
    }
}

/// Makes the folders of the state, readable by nobody else.
pub(super) fn make_folders(state: &Path) -> Result<(), Error> {
    for folder in [state.to_owned(), state.join("run"), state.join("logs")] {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(Error::file(&folder, "make the folder"))?;
    }
    Ok(())
}

/// Writes a file that only this user can read; a reader sees the old or the new text, never a part.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .map_err(Error::file(&partial, "write"))?;
    file.write_all(bytes).map_err(Error::file(&partial, "write"))?;
    fs::rename(&partial, path).map_err(Error::file(path, "replace"))
}

pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path, "remove")(error)),
        _ => Ok(()),
    }
}
