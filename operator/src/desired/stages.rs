//! Stages: what each worker is told.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::lint::Place;
use acequia_crds::names::{StageId, StageKind};
use acequia_crds::pipeline::generator::Generator;
use acequia_crds::pipeline::kafka::Kafka;
use acequia_crds::pipeline::sink::{Sink, SinkKind};
use acequia_crds::pipeline::store::{Postgres, Redis, Store};
use acequia_crds::pipeline::workers::Workers;
use acequia_crds::problem::Problem;
use acequia_crds::stage::{CapturedTable, GeneratorWork, SinkTopic, SinkWork, StageConfig, Work};
use acequia_crds::stage_report::config_hash;

use super::{Context, aggregations};
use crate::model::desired::{DesiredStage, Reads, Role, RunPolicy};

pub(super) fn stages(context: &Context<'_>, problems: &mut Vec<Problem>) -> BTreeMap<StageId, DesiredStage> {
    let mut stages = BTreeMap::new();
    for (index, spec) in context.spec.generators.iter().enumerate() {
        stages.extend(generator(context, &format!("spec.generators[{index}]"), spec, problems));
    }
    for (index, spec) in context.spec.sinks.iter().enumerate() {
        stages.extend(sink(context, &format!("spec.sinks[{index}]"), spec, problems));
    }
    stages.extend(aggregations::stages(context, problems));
    stages
}

pub(super) type Entry = (StageId, DesiredStage);

fn generator(
    context: &Context<'_>,
    field: &str,
    spec: &Generator,
    problems: &mut Vec<Problem>,
) -> Option<Entry> {
    let setup = setup(context, field, spec, problems);
    let rows = spec.templates.iter().flat_map(|template| &template.rows);
    let names: BTreeSet<&str> =
        rows.map(|row| row.store.as_str()).chain(setup.keys().map(String::as_str)).collect();
    let mut stores = BTreeMap::new();
    for name in names {
        let store = context.postgres(name, || format!("{field}.templates"), problems)?;
        stores.insert(name.to_owned(), store);
    }
    let mut secrets = kafka_secrets(&context.kafka);
    for store in stores.values() {
        secrets.extend(store_secrets(store));
    }
    let work = Work::Generator(GeneratorWork { generator: spec.clone(), stores, setup });
    let parts = Parts {
        kind: StageKind::Generator,
        name: &spec.name,
        work,
        role: Role::Producer,
        workers: Workers { replicas: None, ..workers(context, spec.workers.as_ref()) },
        secrets,
        reads: Vec::new(),
    };
    parts.stage(context, field, problems)
}

/// Store → SQL, from the ConfigMap that the generator names.
fn setup(
    context: &Context<'_>,
    field: &str,
    spec: &Generator,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let Some(setup) = &spec.setup else { return BTreeMap::new() };
    let field = format!("{field}.setup.configMap");
    let Some(map) = context.config_maps.get(&setup.config_map) else {
        let message = format!("there is no ConfigMap `{}`", setup.config_map);
        let fix = match context.place {
            Place::Machine => "put it into one of the files or folders given with -f",
            Place::Cluster => "apply it in the Pipeline's namespace: kubectl apply -f FILE",
        };
        problems.push(Problem::new(field, message, fix));
        return BTreeMap::new();
    };
    let mut sql = BTreeMap::new();
    for (key, text) in map {
        match key.strip_suffix(".sql").filter(|store| context.postgres.contains_key(store)) {
            Some(store) => {
                sql.insert(store.to_owned(), text.clone());
            }
            None => problems.push(Problem::new(
                field.clone(),
                format!("key `{key}` of `{}` is not `<store>.sql` of a postgres store", setup.config_map),
                "rename the key, or add the store to spec.stores",
            )),
        }
    }
    sql
}

fn sink(context: &Context<'_>, field: &str, spec: &Sink, problems: &mut Vec<Problem>) -> Option<Entry> {
    // Other kinds are refused as not available.
    let Some(SinkKind::Postgres(postgres)) = spec.kind() else { return None };
    let store = context.postgres(&spec.store, || format!("{field}.store"), problems)?;
    let id = StageId::new(StageKind::Sink, &spec.name);
    let group = spec.group.clone().unwrap_or_else(|| context.identity.group(&id));
    let captured = captured(context);
    let topics = spec
        .from
        .iter()
        .map(|name| SinkTopic { name: name.clone(), captured: captured.get(name.as_str()).cloned() });
    let mut secrets = kafka_secrets(&context.kafka);
    secrets.extend(store_secrets(&store));
    let reads = Reads { group: group.clone(), topics: spec.from.iter().cloned().collect() };
    let topics: Vec<SinkTopic> = topics.collect();
    topics
        .iter()
        .filter_map(|topic| topic.captured.as_ref())
        .for_each(|table| secrets.extend(store_secrets(&table.store)));
    let work = Work::Sink(SinkWork { group, topics, store, postgres: postgres.clone() });
    let parts = Parts {
        kind: StageKind::Sink,
        name: &spec.name,
        work,
        role: Role::Consumer,
        workers: workers(context, spec.workers.as_ref()),
        secrets,
        reads: vec![reads],
    };
    parts.stage(context, field, problems)
}

/// Topic → the table whose changes a Debezium source of this Pipeline writes to it.
fn captured<'a>(context: &Context<'a>) -> BTreeMap<&'a str, CapturedTable> {
    let sources = context.spec.sources.iter().filter_map(|source| source.debezium.as_ref());
    let tables = sources.flat_map(|debezium| debezium.tables.iter().map(move |table| (debezium, table)));
    tables
        .filter_map(|(debezium, table)| {
            let store = context.postgres.get(debezium.store.as_str())?.clone();
            let (schema, name) = table.table.split_once('.')?;
            let captured = CapturedTable { store, schema: schema.to_owned(), table: name.to_owned() };
            Some((table.topic.as_str(), captured))
        })
        .collect()
}

/// What a stage's processes are like: what it says itself, and what the Pipeline says where it says nothing.
pub(super) fn workers(context: &Context<'_>, own: Option<&Workers>) -> Workers {
    let defaults = context.spec.workers.clone().unwrap_or_default();
    own.map_or_else(|| defaults.clone(), |own| own.or(&defaults))
}

pub(super) fn kafka_secrets(kafka: &Kafka) -> BTreeSet<String> {
    let ca = kafka.tls.as_ref().and_then(|tls| tls.ca_secret.as_ref()).map(|secret| secret.name.clone());
    let login = kafka.sasl.as_ref().map(|sasl| sasl.credentials_secret.clone());
    ca.into_iter().chain(login).collect()
}

/// Names of the secrets that a connection to a database needs.
pub(crate) fn store_secrets(store: &Postgres) -> BTreeSet<String> {
    let ca = store.ca_secret.as_ref().map(|secret| secret.name.clone());
    ca.into_iter().chain([store.credentials_secret.clone()]).collect()
}

/// Names of the secrets that a connection to a Redis server needs.
fn redis_secrets(redis: &Redis) -> BTreeSet<String> {
    let tls = redis.tls.as_ref();
    let ca = tls.and_then(|tls| tls.ca_secret.as_ref()).map(|secret| secret.name.clone());
    ca.into_iter().chain(redis.credentials_secret.clone()).collect()
}

/// Names of the secrets that a connection to a store needs.
pub(super) fn secrets_of(store: &Store) -> BTreeSet<String> {
    let postgres = store.postgres.iter().flat_map(store_secrets);
    postgres.chain(store.redis.iter().flat_map(redis_secrets)).collect()
}

/// What differs from stage to stage.
pub(super) struct Parts<'a> {
    pub kind: StageKind,
    pub name: &'a str,
    pub work: Work,
    pub role: Role,
    pub workers: Workers,
    pub secrets: BTreeSet<String>,
    pub reads: Vec<Reads>,
}

impl Parts<'_> {
    pub(super) fn stage(
        self,
        context: &Context<'_>,
        field: &str,
        problems: &mut Vec<Problem>,
    ) -> Option<Entry> {
        let id = StageId::new(self.kind, self.name);
        let config = StageConfig {
            pipeline: context.identity.to_string(),
            stage: id.to_string(),
            kafka: context.kafka.clone(),
            work: self.work,
        };
        let text = match serde_yaml::to_string(&config) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("can't be written as YAML: {error}");
                problems.push(Problem::new(field, message, "simplify it"));
                return None;
            }
        };
        let run = match (context.spec.suspend, self.kind) {
            (false, _) => RunPolicy::Always,
            (true, StageKind::Generator | StageKind::Source) => RunPolicy::Never,
            (true, _) => RunPolicy::UntilDrained,
        };
        let stage = DesiredStage {
            kind: self.kind,
            name: self.name.to_owned(),
            config,
            hash: config_hash(&text),
            text,
            replicas: self.workers.replicas.as_ref().map_or(1, |replicas| replicas.min),
            workers: self.workers,
            role: self.role,
            secrets: self.secrets,
            reads: self.reads,
            run,
        };
        Some((id, stage))
    }
}
