//! What Pipelines that are gone left half removed, while the operator that was at it has ended: claims in the ownership
//! topic say so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use acequia_crds::names::PipelineId;
use acequia_crds::pipeline::kafka::Kafka;
use tokio::sync::mpsc;

use super::pipeline::Office;
use crate::access::depends_on_namespace;
use crate::cluster::Cluster;
use crate::desired::begun_removals;
use crate::kubernetes::children::PipelineKey;
use crate::model::desired::Desired;
use crate::model::ownership::Ownership;

/// Pause before a Kafka cluster that didn't answer is asked again.
const PAUSE: Duration = Duration::from_secs(30);

/// A Pipeline, and what is to be seen through if it is gone.
#[derive(Debug, PartialEq)]
pub struct Leftover {
    /// Whose it was.
    pub key: PipelineKey,
    /// Nothing, but for removals that were begun.
    pub wanted: Desired,
}

/// Asks each Kafka cluster that Pipelines of these namespaces may use, until all have answered once.
pub async fn search(office: Arc<Office>, namespaces: BTreeSet<String>, found: mpsc::Sender<Leftover>) {
    let mut clusters: Vec<(&Kafka, Arc<Cluster>)> = Vec::new();
    for kafka in &office.settings.kafka {
        for namespace in asked_as(kafka, &namespaces) {
            // All of them are allowed.
            let Ok(cluster) = office.access.cluster(kafka, namespace) else { continue };
            if !clusters.iter().any(|(_, known)| Arc::ptr_eq(known, &cluster)) {
                clusters.push((kafka, cluster));
            }
        }
    }
    let (settings, found) = (&office.settings, &found);
    let answers = clusters.into_iter().map(|(kafka, cluster)| async move {
        let claims = claims_in(&cluster).await;
        for leftover in leftovers(&claims, &settings.cluster, settings.namespace.as_deref(), kafka) {
            // Nobody listens any more when the operator ends.
            let _ = found.send(leftover).await;
        }
    });
    futures::future::join_all(answers).await;
}

/// The namespaces as whose Pipelines a Kafka cluster is asked. One that is the same for all is asked in any case: the last
/// Pipeline of its namespace may be gone.
fn asked_as<'a>(kafka: &Kafka, namespaces: &'a BTreeSet<String>) -> Vec<&'a str> {
    if depends_on_namespace(kafka) { namespaces.iter().map(String::as_str).collect() } else { vec![""] }
}

/// Who owns what there, once the cluster answers.
async fn claims_in(cluster: &Arc<Cluster>) -> Arc<Ownership> {
    loop {
        match cluster.claims().await {
            Ok(claims) => return claims,
            Err(error) => tracing::info!(%error, "what was left half removed isn't known yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Removals that were begun by Pipelines of this Kubernetes cluster, and of this namespace where only one is kept.
fn leftovers(claims: &Ownership, cluster: &str, namespace: Option<&str>, kafka: &Kafka) -> Vec<Leftover> {
    let begun = claims.begun_removals().into_iter();
    let ours = begun.filter_map(|(owner, connectors)| {
        let id = PipelineId::from_text(owner)?;
        (id.cluster == cluster && namespace.is_none_or(|namespace| id.namespace == namespace))
            .then_some((id, connectors))
    });
    ours.map(|(id, connectors)| {
        let key = PipelineKey { namespace: id.namespace.clone(), name: id.name.clone() };
        let urls = connectors.into_iter().map(|(_, connector)| connector.url.clone()).collect();
        Leftover { key, wanted: begun_removals(id, kafka.clone(), urls) }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_world::{connector_claim, connector_key, connector_name};
    use crate::model::ownership::{Claim, ClaimState};

    #[test]
    fn a_kafka_cluster_is_asked_also_when_no_pipeline_is_left() {
        let kafka = |servers: &str| Kafka { bootstrap_servers: servers.into(), tls: None, sasl: None };
        let (none, some) = (BTreeSet::new(), BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!(asked_as(&kafka("kafka.data.svc:9092"), &none), [""]);
        assert_eq!(asked_as(&kafka("kafka:9092"), &some), ["a", "b"]);
        assert!(asked_as(&kafka("kafka:9092"), &none).is_empty());
    }

    #[test]
    fn only_removals_that_were_begun_here_are_seen_through() {
        let mut claims = Ownership::default();
        let mut claim = |owner: &str, name: &str, state: ClaimState| {
            let mut key = connector_key(&connector_name(name));
            owner.clone_into(&mut key.owner);
            claims.record(key, Some(Claim { state, ..connector_claim() }));
        };
        claim("here/shop/a", "one", ClaimState::Deleting);
        claim("here/shop/a", "two", ClaimState::Deleting);
        claim("here/shop/b", "three", ClaimState::Held);
        claim("here/other/c", "four", ClaimState::Deleting);
        claim("elsewhere/shop/a", "five", ClaimState::Deleting);
        let kafka = Kafka { bootstrap_servers: "kafka:9092".into(), tls: None, sasl: None };
        let found = |namespace: Option<&str>| -> Vec<String> {
            let found = leftovers(&claims, "here", namespace, &kafka);
            assert!(found.iter().all(|one| one.wanted.only_begun && one.wanted.connect_urls.len() == 1));
            found.into_iter().map(|one| format!("{}/{}", one.key.namespace, one.key.name)).collect()
        };
        assert_eq!(found(Some("shop")), ["shop/a"]);
        assert_eq!(found(None), ["other/c", "shop/a"]);
    }
}
