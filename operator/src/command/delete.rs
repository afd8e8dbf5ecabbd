//! `acequia delete`.

use std::process::ExitCode;
use std::time::Duration;

use super::run::supervisor;
use super::stop::asked_to_stop;
use super::{DeleteArgs, Error, secrets_folder, settings};
use crate::desired::deletion_of;
use crate::manifest;
use crate::run::screen::Screen;
use crate::run::{End, Goal, Run, Start, StateFolder};

pub(super) async fn delete(args: DeleteArgs) -> Result<ExitCode, Error> {
    let stop = asked_to_stop()?;
    let settings = settings(&args.files.namespace, &args.local)?;
    let manifest = manifest::load(&manifest::read(&args.files.files)?, &settings)?;
    let secrets = secrets_folder(&args.local)?;
    // Taking the state folder also makes sure that no run of this Pipeline is alive and makes everything again.
    let supervisor = supervisor(&args.state, &secrets).await?;
    let run = Run::new(Start {
        desired: deletion_of(&manifest.desired, &manifest.pipeline.spec),
        watch: None,
        secrets,
        supervisor,
        folder: StateFolder::new(args.state.state),
        screen: Screen::for_people(),
        goal: Goal::Gone,
    })?;
    let (end, report) = run.until(Some(Duration::from_secs(args.timeout)), stop).await;
    if end == End::Reached {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("error: not everything is gone after {} s; run it again. What is left:", args.timeout);
    if let Some(report) = report {
        report.failures.iter().for_each(|failure| eprintln!("  {failure}"));
        report.waiting.iter().for_each(|waiting| eprintln!("  {waiting}"));
    }
    Ok(ExitCode::FAILURE)
}
