//! `acequia operator`, `acequia ready` and `acequia release`.

use std::process::ExitCode;
use std::time::Duration;

use super::stop::asked_to_stop;
use super::{Error, OperatorArgs, ReadyArgs, ReleaseArgs};
use crate::controller::{self, OperatorSettings};
use crate::http::{Http, Verb};

/// How long the operator may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) async fn operator(args: OperatorArgs) -> Result<ExitCode, Error> {
    let settings = OperatorSettings::read(&args.settings)?;
    controller::run(settings, &args.listen, asked_to_stop()?).await?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn release(args: ReleaseArgs) -> Result<ExitCode, Error> {
    let released = controller::release(args.namespace.as_deref()).await?;
    crate::run::screen::say(&format!("took the finalizer off {released} Pipelines\n"));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn ready(args: ReadyArgs) -> Result<ExitCode, Error> {
    let url = args.url.trim_end_matches('/').to_owned();
    let not_ready = |reason: String| Error::NotReady { url: url.clone(), reason };
    let http = Http::new(DEADLINE).map_err(|failure| not_ready(failure.to_string()))?;
    let answer = http.call(Verb::Get, &format!("{url}/readyz"), None, None).await;
    let answer = answer.map_err(|failure| not_ready(failure.to_string()))?;
    if answer.status != 200 {
        return Err(not_ready(answer.body));
    }
    crate::run::screen::say("ready\n");
    Ok(ExitCode::SUCCESS)
}
