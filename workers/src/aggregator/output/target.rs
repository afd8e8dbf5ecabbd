//! Where an output writes, checked once, so that writing needs no checks.

use std::collections::BTreeMap;

use acequia_crds::pipeline::aggregation::{
    Aggregation, MeasureKind, Output, OutputKind, RedisLayout, RedisOutput, TableOutput, WindowKind,
};
use acequia_crds::pipeline::store::{Postgres, Redis, Store, StoreKind};

use super::document::Layout;
use super::key::KeyTemplate;
use super::keys::{KeyLayout, KeyPlan};
use super::table::TablePlan;
use crate::command::InvalidConfig;

/// Names of columns that begin like this are Acequia's own.
const OWN_PREFIX: &str = "acequia_";

/// Where an output writes, and how.
#[derive(Clone, Debug)]
pub enum Target {
    /// Keys of a Redis store.
    Redis(RedisTarget),
    /// A table of a PostgreSQL store.
    Postgres(PostgresTarget),
}

/// Keys of a Redis store.
#[derive(Clone, Debug)]
pub struct RedisTarget {
    pub(super) store: Redis,
    /// Place among the aggregation's outputs, so that two in one store don't share a sentinel.
    pub(super) index: usize,
    pub(super) plan: KeyPlan,
}

/// A table of a PostgreSQL store.
#[derive(Clone, Debug)]
pub struct PostgresTarget {
    pub(super) store: Postgres,
    pub(super) plan: TablePlan,
}

impl Target {
    /// Compiles an output of an aggregation that writes into a store. A topic is no target: the merge step writes it
    /// in its own transaction, with what [`document`](super::document) makes.
    ///
    /// # Errors
    /// The output isn't one, names no store of its kind, or asks for what this version doesn't have.
    pub fn new(
        output: &Output,
        aggregation: &Aggregation,
        stores: &BTreeMap<String, Store>,
        incarnation: &str,
    ) -> Result<Self, InvalidConfig> {
        let index = aggregation.to.iter().position(|other| other == output).unwrap_or_default();
        let at = format!("aggregations[{}].to[{index}]", aggregation.name);
        let store = output.store.as_ref().and_then(|name| stores.get(name)).and_then(Store::kind);
        match (output.kind(), store) {
            (Some(OutputKind::Redis(redis)), Some(StoreKind::Redis(store))) => {
                if super::redis::address(&store.address).is_none() {
                    let path =
                        format!("stores[{}].redis.address", output.store.as_deref().unwrap_or_default());
                    let problem =
                        format!("`{}` is no `host:port`; write it like `redis:6379`", store.address);
                    return Err(refused(path, problem));
                }
                let plan = key_plan(redis, aggregation, incarnation, &format!("{at}.redis"))?;
                Ok(Self::Redis(RedisTarget { store: store.clone(), index, plan }))
            }
            (Some(OutputKind::Postgres(table)), Some(StoreKind::Postgres(store))) => {
                let plan = table_plan(table, aggregation, incarnation, &format!("{at}.postgres"))?;
                Ok(Self::Postgres(PostgresTarget { store: store.clone(), plan }))
            }
            (Some(OutputKind::Topic(_)), _) => Err(refused(at, "is a topic, which no store's task writes")),
            (Some(OutputKind::Cassandra(_)), _) => {
                Err(refused(format!("{at}.cassandra"), "is not available in this version; remove it"))
            }
            (Some(kind), _) => {
                let problem = format!("names no {} store; name one", kind.field());
                Err(refused(format!("{at}.store"), problem))
            }
            (None, _) => Err(refused(at, "is not one output; write exactly one of `redis` and `postgres`")),
        }
    }
}

fn key_plan(
    redis: &RedisOutput,
    aggregation: &Aggregation,
    incarnation: &str,
    at: &str,
) -> Result<KeyPlan, InvalidConfig> {
    let names = Layout::new(aggregation);
    let layout = match redis.layout {
        RedisLayout::Json => KeyLayout::Json,
        RedisLayout::Hash => KeyLayout::Hash,
        RedisLayout::SortedSet => {
            let problem = "`sortedSet` is not available in this version; write `json` or `hash`";
            return Err(refused(format!("{at}.as"), problem));
        }
    };
    let template = KeyTemplate::new(&redis.key, &names, is_global(aggregation))
        .map_err(|problem| refused(format!("{at}.key"), problem))?;
    Ok(KeyPlan {
        template,
        layout,
        names,
        ttl_ms: redis.ttl.map(|ttl| i64::try_from(ttl.as_ms()).unwrap_or(i64::MAX)),
        incarnation: incarnation.to_owned(),
    })
}

fn table_plan(
    table: &TableOutput,
    aggregation: &Aggregation,
    incarnation: &str,
    at: &str,
) -> Result<TablePlan, InvalidConfig> {
    if !table.columns.is_empty() {
        return Err(refused(format!("{at}.columns"), "are not available in this version; remove them"));
    }
    let names = Layout::new(aggregation);
    if let Some(name) = names.groups.iter().chain(&names.measures).find(|name| name.starts_with(OWN_PREFIX)) {
        let problem = format!(
            "can't have a column `{name}`: names that begin with `{OWN_PREFIX}` are taken; rename it"
        );
        return Err(refused(at.to_owned(), problem));
    }
    let is_count = |measure: &acequia_crds::pipeline::aggregation::Measure| {
        matches!(measure.kind(), Some(MeasureKind::Count | MeasureKind::CountDistinct(_)))
    };
    let measures = aggregation.measures.iter().map(|measure| (measure.name.clone(), is_count(measure)));
    let windowed = !is_global(aggregation);
    Ok(TablePlan::new(&table.table, windowed, names.groups, measures.collect(), incarnation))
}

fn is_global(aggregation: &Aggregation) -> bool {
    aggregation.window.kind() == Some(WindowKind::Global)
}

fn refused(path: String, problem: impl Into<String>) -> InvalidConfig {
    InvalidConfig::Refused { path, problem: problem.into() }
}
