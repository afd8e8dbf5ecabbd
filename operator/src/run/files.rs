//! The state folder: what a run leaves for `acequia status` and for the next run.

use std::path::{Path, PathBuf};

use crate::status::Report;

/// A state folder.
#[derive(Clone, Debug)]
pub struct StateFolder {
    path: PathBuf,
}

impl StateFolder {
    /// The folder at this path; it need not be there yet.
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the last report is.
    pub fn status_file(&self) -> PathBuf {
        self.path.join("status.json")
    }

    /// Writes the report so that a reader never sees half of it. A full disk must not end the run.
    pub fn write(&self, report: &Report) {
        let (file, new) = (self.status_file(), self.path.join("status.json.new"));
        let written = serde_json::to_vec_pretty(report)
            .map_err(std::io::Error::other)
            .and_then(|text| std::fs::write(&new, text))
            .and_then(|()| std::fs::rename(&new, &file));
        if let Err(error) = written {
            tracing::warn!(file = %file.display(), %error, "the status can't be written");
        }
    }
}
