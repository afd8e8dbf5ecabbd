//! `acequia run`.

use std::process::ExitCode;
use std::time::Duration;

use super::stop::asked_to_stop;
use super::{Error, Output, RunArgs, StateArgs, secrets_folder, settings};
use crate::manifest;
use crate::processes::{self, Supervisor, worker_beside_this};
use crate::run::screen::Screen;
use crate::run::{End, Goal, Run, Start, StateFolder, Watch};
use crate::status::Report;

pub(super) async fn run(args: RunArgs) -> Result<ExitCode, Error> {
    let stop = asked_to_stop()?;
    let settings = settings(&args.files.namespace, &args.local)?;
    let texts = manifest::read(&args.files.files)?;
    let manifest = manifest::load(&texts, &settings)?;
    let secrets = secrets_folder(&args.local)?;
    let supervisor = supervisor(&args.state, &secrets).await?;
    let screen = match args.output {
        Output::Table => Screen::for_people(),
        Output::Json => Screen::Json,
    };
    let run = Run::new(Start {
        desired: manifest.desired,
        watch: Some(Watch { paths: args.files.files, texts, settings }),
        secrets,
        supervisor,
        folder: StateFolder::new(args.state.state),
        screen,
        goal: if args.once { Goal::Ready } else { Goal::None },
    })?;
    let deadline = args.once.then(|| Duration::from_secs(args.timeout));
    let (end, report) = run.until(deadline, stop).await;
    Ok(match end {
        End::Reached => ExitCode::SUCCESS,
        End::Interrupted if !args.once => ExitCode::SUCCESS,
        End::Interrupted => ExitCode::FAILURE,
        End::TooLate => {
            eprintln!("error: not ready after {} s: {}", args.timeout, why_not(report.as_ref()));
            ExitCode::FAILURE
        }
    })
}

pub(super) async fn supervisor(state: &StateArgs, secrets: &std::path::Path) -> Result<Supervisor, Error> {
    let worker = match &state.worker {
        // A bare name would be looked for in PATH.
        Some(worker) => std::path::absolute(worker).unwrap_or_else(|_| worker.clone()),
        None => worker_beside_this()?,
    };
    let settings = processes::Settings::new(worker, state.state.clone(), secrets.to_owned());
    Ok(Supervisor::start(settings).await?)
}

fn why_not(report: Option<&Report>) -> String {
    let condition = report.and_then(|report| report.status.conditions.first());
    condition.map_or_else(|| "nothing was seen at all".to_owned(), |condition| condition.message.clone())
}
