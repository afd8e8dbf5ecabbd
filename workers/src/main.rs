//! `acequia-worker`: one role of one stage.

use std::process::ExitCode;

use acequia_workers::command::{Command, Options, Role, read_config};
use acequia_workers::secrets::SecretsFolder;
use acequia_workers::service::Progress;
use acequia_workers::{aggregator, consumer, producer, service, slot_release, stop};
use anyhow::Context;
use clap::Parser;

/// The configuration can't be used: a restart won't help.
const BAD_CONFIG: u8 = 2;

fn main() -> ExitCode {
    let command = Command::parse();
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .init();
    let (Role::Producer(options)
    | Role::Consumer(options)
    | Role::Aggregator(options)
    | Role::SlotRelease(options)) = &command.role;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(&command.role, options));
            // The thread that waits for the end of standard input can't be interrupted: don't wait for it.
            runtime.shutdown_background();
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            tracing::error!(error = text, "giving up");
            if let Some(path) = &options.termination_message {
                // Whoever reads it finds the same text in the log.
                let _ = std::fs::write(path, &text);
            }
            let bad_config = error.is::<acequia_workers::command::InvalidConfig>();
            ExitCode::from(if bad_config { BAD_CONFIG } else { 1 })
        }
    }
}

async fn run(role: &Role, options: &Options) -> anyhow::Result<()> {
    let (config, hash) = read_config(options)?;
    let secrets = SecretsFolder::at(&options.secrets);
    let progress = Progress::new(hash);
    let (request, stop) = stop::channel();
    tokio::spawn(stop::listen(request, options.stop_with_stdin));
    service::serve(&options.listen, options.address_file.as_deref(), progress.clone())
        .await
        .with_context(|| format!("cannot listen on {:?}", options.listen))?;
    tracing::info!(pipeline = config.pipeline, stage = config.stage, "started");
    match role {
        Role::Producer(_) => producer::run(&config, &secrets, &progress, &stop).await?,
        Role::Consumer(_) => {
            consumer::run(&config, &secrets, &progress, &stop, options.instance.as_deref()).await?;
        }
        Role::Aggregator(_) => {
            aggregator::run(&config, &secrets, &progress, &stop, options.instance.as_deref()).await?;
        }
        Role::SlotRelease(_) => slot_release::run(&config, &secrets).await?,
    }
    tracing::info!("stopped");
    Ok(())
}
