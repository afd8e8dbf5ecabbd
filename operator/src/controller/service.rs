//! The operator's own endpoints: `/healthz`, `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Error;
use super::metrics::Metrics;

/// Serves them at the first address that can be bound, until the program ends.
///
/// # Errors
/// The port is taken.
pub async fn serve(addresses: &[SocketAddr], metrics: Arc<Metrics>) -> Result<(), Error> {
    let listener = TcpListener::bind(addresses).await;
    let listener = listener.map_err(|source| Error::Listen { addresses: addresses.to_vec(), source })?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|State(metrics): State<Arc<Metrics>>| async move { metrics.text() }))
        .with_state(metrics);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the operator's endpoints are gone");
        }
    });
    Ok(())
}

async fn ready(State(metrics): State<Arc<Metrics>>) -> (StatusCode, &'static str) {
    if metrics.is_ready() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the Pipelines have not been listed yet")
    }
}
