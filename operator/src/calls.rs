//! How long Kafka and Kafka Connect take to answer, of all calls of this process.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Seconds. A call is given up after 10 (Kafka) or 30 (Connect).
const BUCKETS: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.5, 3.0, 10.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    server: &'static str,
    outcome: &'static str,
}

/// The calls. Clones count together.
#[derive(Clone, Debug)]
pub struct Calls(Family<CallLabels, Histogram, fn() -> Histogram>);

impl Calls {
    /// None yet.
    pub fn new() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(BUCKETS)))
    }

    /// Makes them part of what is served as metrics.
    pub fn register(&self, registry: &mut Registry) {
        let help = "How long a call took, by whether Kafka did it, or Kafka Connect answered";
        registry.register_with_unit("call", help, Unit::Seconds, self.0.clone());
    }

    /// Counts one call to a `server` (`kafka` or `connect`).
    pub async fn timed<T, E>(
        &self,
        server: &'static str,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let done = call.await;
        let labels = CallLabels { server, outcome: if done.is_ok() { "ok" } else { "failed" } };
        self.0.get_or_create(&labels).observe(began.elapsed().as_secs_f64());
        done
    }
}

impl Default for Calls {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[tokio::test]
    async fn calls_are_counted_by_server_and_outcome() {
        let (calls, mut registry) = (Calls::new(), Registry::default());
        calls.register(&mut registry);
        calls.timed("kafka", async { Ok::<_, ()>(()) }).await.unwrap();
        calls.clone().timed("connect", async { Err::<(), _>("away") }).await.unwrap_err();
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "call_seconds_count{server=\"kafka\",outcome=\"ok\"} 1",
            "call_seconds_count{server=\"connect\",outcome=\"failed\"} 1",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
