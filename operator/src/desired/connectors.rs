//! Debezium sources as connectors.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::names::{ConnectorName, StageId, StageKind};
use acequia_crds::pipeline::source::{Debezium, Source};
use acequia_crds::pipeline::store::Postgres;
use acequia_crds::pipeline::workers::Workers;
use acequia_crds::problem::Problem;
use acequia_crds::stage::SlotRelease;

use super::Context;
use super::stages::workers;
use crate::debezium::{self, Input, Refused};
use crate::model::desired::{ConnectorTarget, DesiredConnector, Preconditions};

pub(super) fn connectors(
    context: &Context<'_>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<ConnectorName, DesiredConnector> {
    let sources = context.spec.sources.iter().enumerate();
    sources
        .filter_map(|(index, source)| Some((index, source, source.debezium.as_ref()?)))
        .filter_map(|(index, source, debezium)| {
            let connector = connector(context, index, source, debezium, problems)?;
            Some((context.identity.connector(&source.name), connector))
        })
        .collect()
}

fn connector(
    context: &Context<'_>,
    index: usize,
    source: &Source,
    debezium: &Debezium,
    problems: &mut Vec<Problem>,
) -> Option<DesiredConnector> {
    let field = format!("spec.sources[{index}]");
    let store = context.postgres(&debezium.store, || format!("{field}.debezium.store"), problems)?;
    let Some(url) = context.connect_url.clone() else {
        let message = "is missing, which debezium sources need";
        problems.push(Problem::new("spec.connect", message, "add `connect: {url: http://connect:8083}`"));
        return None;
    };
    let input = Input {
        pipeline: &context.identity,
        source: &source.name,
        spec: debezium,
        store: &store,
        secrets: context.secrets,
    };
    let config = match debezium::config(&input) {
        Ok(config) => config,
        Err(refused) => {
            problems.push(problem(context, &field, debezium, &refused));
            return None;
        }
    };
    let mut topics: BTreeSet<String> = debezium.tables.iter().map(|table| table.topic.clone()).collect();
    topics.insert(context.identity.heartbeat_topic(&source.name));
    Some(DesiredConnector {
        stage: StageId::new(StageKind::Source, &source.name),
        field,
        url,
        config,
        after: Preconditions { topics, setup: setup(context, &store) },
        target: if context.spec.suspend { ConnectorTarget::Stopped } else { ConnectorTarget::Running },
        release: Some(SlotRelease {
            store,
            slot: context.identity.slot(&source.name),
            publication: context.identity.publication(&source.name),
        }),
        deletion_policy: debezium.deletion_policy.into(),
        workers: Workers { replicas: None, ..workers(context, None) },
    })
}

/// Generators that set up the database that `store` is in. A suspended Pipeline runs none, so none is waited for.
fn setup(context: &Context<'_>, store: &Postgres) -> BTreeSet<StageId> {
    let same = |name: &str| {
        context.postgres.get(name).is_some_and(|one| {
            (&one.host, one.port, &one.database) == (&store.host, store.port, &store.database)
        })
    };
    let generators = context.spec.generators.iter().filter(|_| !context.spec.suspend);
    generators
        .filter(|generator| {
            let setup = generator.setup.as_ref().and_then(|setup| context.config_maps.get(&setup.config_map));
            setup.is_some_and(|map| map.keys().filter_map(|key| key.strip_suffix(".sql")).any(same))
        })
        .map(|generator| StageId::new(StageKind::Generator, &generator.name))
        .collect()
}

/// A refusal's message begins with the field, relative to the source's `debezium`; one about the store is the store's.
fn problem(context: &Context<'_>, field: &str, debezium: &Debezium, refused: &Refused) -> Problem {
    let text = refused.to_string();
    let (at, message) = text.split_once(": ").unwrap_or(("", text.as_str()));
    let field = match at.strip_prefix("store.") {
        Some(part) => {
            let position = context.spec.stores.iter().position(|store| store.name == debezium.store);
            position
                .map_or_else(|| format!("{field}.debezium"), |i| format!("spec.stores[{i}].postgres.{part}"))
        }
        None => format!("{field}.debezium.{at}"),
    };
    let (message, fix) = message.split_once("; ").unwrap_or((message, "correct it"));
    Problem::new(field, message, fix)
}
