//! `acequia lint`.

use std::process::ExitCode;

use super::{Error, LintArgs, Output};
use crate::manifest::{self, Faults};
use crate::run::screen::say;

pub(super) fn lint(args: &LintArgs) -> Result<ExitCode, Error> {
    let texts = manifest::read(&args.files.files)?;
    let faults = match manifest::lint(&texts) {
        Ok((0, _)) => return Err(manifest::Error::NoPipeline { paths: args.files.files.clone() }.into()),
        Ok((_, faults)) | Err(manifest::Error::Invalid(faults)) => faults,
        Err(error) => return Err(error.into()),
    };
    print(&faults, args.output);
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(faults: &Faults, output: Output) {
    match output {
        Output::Table => say(&faults.to_string()),
        // Plain structs and texts always serialise.
        Output::Json => say(&format!("{}\n", serde_json::to_string_pretty(faults).unwrap_or_default())),
    }
}
