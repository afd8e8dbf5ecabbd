//! The four endpoints of every worker.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use acequia_crds::stage_report::StageState;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use super::Progress;

/// Binds the first address that can be, writes the bound one to `address_file`, and serves until the process ends.
pub async fn serve(listen: &[SocketAddr], address_file: Option<&Path>, progress: Progress) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    if let Some(path) = address_file {
        write_whole(path, &listener.local_addr()?.to_string())?;
    }
    let sampled = progress.clone();
    tokio::spawn(async move {
        let mut every_second = tokio::time::interval(Duration::from_secs(1));
        loop {
            every_second.tick().await;
            sampled.sample(Instant::now());
        }
    });
    let router = Router::new()
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || StatusCode::OK))
        .route("/readyz", get(ready))
        .with_state(progress);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the status endpoints ended");
        }
    });
    Ok(())
}

async fn status(State(progress): State<Progress>) -> Response {
    Json(progress.report()).into_response()
}

async fn metrics(State(progress): State<Progress>) -> Response {
    match progress.metrics() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(progress): State<Progress>) -> StatusCode {
    match progress.state() {
        StageState::Running => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

// Readers poll for the file: it must never be seen half-written.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(unfinished, path)
}
