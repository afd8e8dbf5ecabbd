//! Every name that Acequia derives, in one place.
//!
//! Two different identities never share a name: parts are joined by a separator that no part may hold, and where
//! a part holds something that the target doesn't allow, or the whole is too long, the name is cut and ends in two
//! separators and a hash of the parts. Two separators in a row appear in no other name.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The compacted topic that says which Pipeline owns which topic and connector.
pub const OWNERSHIP_TOPIC: &str = "acequia.ownership";
/// What Debezium puts before the topic prefix in the name of a heartbeat topic (`topic.heartbeat.prefix`).
pub const HEARTBEAT_PREFIX: &str = "acequia.heartbeat";
/// Topics whose name begins like this are Acequia's own; a manifest may not name them.
pub const INTERNAL_PREFIX: &str = "acequia.";

/// Longest name of a Kafka topic.
const KAFKA_MAX: usize = 249;
/// A heartbeat topic is this much longer than the topic prefix in it.
const TOPIC_PREFIX_MAX: usize = KAFKA_MAX - HEARTBEAT_PREFIX.len() - 1;
/// PostgreSQL cuts identifiers silently after 63 bytes.
const POSTGRES_MAX: usize = 63;
/// A pod's name ends in up to 17 more characters, and is cut after 63.
const DEPLOYMENT_MAX: usize = 46;
/// Hexadecimal digits of a hash in a name: 64 bits.
const HASH_DIGITS: usize = 16;

/// The identity of a Pipeline, everywhere: `<cluster>/<namespace>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineId {
    /// The Kubernetes cluster, an operator setting; `local` for `acequia run`.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// What a stage does, as the first part of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StageKind {
    /// Makes synthetic rows or events.
    Generator,
    /// Reads a system into topics.
    Source,
    /// Reads topics, writes topics.
    Transform,
    /// Writes topics into a store.
    Sink,
    /// Computes windows and totals.
    Aggregation,
    /// Serves the API and the dashboard.
    Gateway,
}

impl StageKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Generator, Self::Source, Self::Transform, Self::Sink, Self::Aggregation, Self::Gateway];

    /// The word in ids.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generator => "generator",
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Sink => "sink",
            Self::Aggregation => "aggregation",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Identity of a stage inside its Pipeline: `<kind>-<name>`, for example `sink-dwh`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageId(String);

impl StageId {
    /// The id of the stage `name`. No kind holds a `-`, so the kind can be read back from the id.
    pub fn new(kind: StageKind, name: &str) -> Self {
        Self(format!("{kind}-{name}"))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Name of a connector in Kafka Connect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConnectorName(String);

impl ConnectorName {
    /// A name that is already known, for example one that Connect listed.
    pub fn from_text(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What one incarnation of an aggregation is called in Kafka. Everything that holds its state or its progress has the
/// incarnation in its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregationNames {
    /// The group that reads what is aggregated: `acequia.<namespace>.<pipeline>.<stage>.<incarnation>.combine`.
    pub combine_group: String,
    /// The group that reads partial values: `acequia.<namespace>.<pipeline>.<stage>.<incarnation>.merge`.
    pub merge_group: String,
    /// Partial values: `acequia.partials.<namespace>.<pipeline>.<stage>.<incarnation>`.
    pub partials_topic: String,
    /// Groups and their values: `acequia.state.<namespace>.<pipeline>.<stage>.<incarnation>`.
    pub state_topic: String,
    /// What each row contributed: `acequia.rows.<namespace>.<pipeline>.<stage>.<incarnation>`.
    pub rows_topic: String,
    /// Records that came too late: `acequia.late.<namespace>.<pipeline>.<stage>`.
    pub late_topic: String,
    /// Records that can't be read: `acequia.dead-letters.<namespace>.<pipeline>.<stage>`.
    pub dead_letter_topic: String,
}

impl fmt::Display for PipelineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.cluster, self.namespace, self.name)
    }
}

impl PipelineId {
    /// Reads an identity back. None: it isn't one.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::to_owned);
        let (cluster, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        parts.next().is_none().then_some(Self { cluster, namespace, name })
    }

    /// The consumer group of a stage that isn't given one: `acequia.<namespace>.<pipeline>.<stage id>`.
    pub fn group(&self, stage: &StageId) -> String {
        dotted(&[&self.namespace, &self.name, stage.as_str()], KAFKA_MAX)
    }

    /// What one incarnation of an aggregation is called in Kafka.
    pub fn aggregation(&self, name: &str, incarnation: &str) -> AggregationNames {
        let stage = StageId::new(StageKind::Aggregation, name);
        let [namespace, pipeline, stage] = [&*self.namespace, &*self.name, stage.as_str()];
        let group = |step| dotted(&[namespace, pipeline, stage, incarnation, step], KAFKA_MAX);
        let own = |what| dotted(&[what, namespace, pipeline, stage, incarnation], KAFKA_MAX);
        let lasting = |what| dotted(&[what, namespace, pipeline, stage], KAFKA_MAX);
        AggregationNames {
            combine_group: group("combine"),
            merge_group: group("merge"),
            partials_topic: own("partials"),
            state_topic: own("state"),
            rows_topic: own("rows"),
            late_topic: lasting("late"),
            dead_letter_topic: lasting("dead-letters"),
        }
    }

    /// The Deployment of a stage, and how the names of its other Kubernetes objects begin: `<pipeline>-<stage id>`. It
    /// is hashed where another Pipeline of the namespace could have a stage of that name.
    pub fn deployment(&self, stage: &StageId) -> String {
        let joined = format!("{}-{stage}", self.name);
        let kinds = StageKind::ALL.map(|kind| format!("-{kind}-"));
        // Two may share a dash.
        let begins = |at: usize| kinds.iter().any(|kind| joined[at..].starts_with(kind.as_str()));
        let readings = joined.char_indices().filter(|(at, _)| begins(*at)).count();
        if readings == 1 && joined.len() <= DEPLOYMENT_MAX && !joined.contains("--") {
            return joined;
        }
        let room = DEPLOYMENT_MAX - HASH_DIGITS - 2;
        let readable: String = joined.chars().take(room).collect();
        format!("{}--{}", readable.trim_end_matches('-'), hash(&[&self.name, stage.as_str()]))
    }

    /// The connector of a source: `acequia.<namespace>.<pipeline>.source-<name>`.
    pub fn connector(&self, source: &str) -> ConnectorName {
        ConnectorName(self.topic_prefix(source))
    }

    /// Debezium's `topic.prefix`, its logical name of the server; the same text as the connector's name.
    pub fn topic_prefix(&self, source: &str) -> String {
        let stage = StageId::new(StageKind::Source, source);
        dotted(&[&self.namespace, &self.name, stage.as_str()], TOPIC_PREFIX_MAX)
    }

    /// The topic that a Debezium source beats into, so that its slot moves while its tables are idle.
    pub fn heartbeat_topic(&self, source: &str) -> String {
        format!("{HEARTBEAT_PREFIX}.{}", self.topic_prefix(source))
    }

    /// The replication slot of a Debezium source. Nothing else tells two Kubernetes clusters apart on one database
    /// server, so the cluster is part of the name.
    pub fn slot(&self, source: &str) -> String {
        derived(&["acequia", &self.cluster, &self.namespace, &self.name, source], '_', POSTGRES_MAX)
    }

    /// The publication of a Debezium source; the same text as its slot.
    pub fn publication(&self, source: &str) -> String {
        self.slot(source)
    }
}

/// `acequia.<part>.<part>…`, for Kafka and Connect.
fn dotted(parts: &[&str], max_len: usize) -> String {
    let mut all = vec!["acequia"];
    all.extend_from_slice(parts);
    derived(&all, '.', max_len)
}

/// Joins `parts`, or cuts and hashes them where joining would lose something.
fn derived(parts: &[&str], separator: char, max_len: usize) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || (c == '-' && separator != '_');
    let joined = parts.join(separator.encode_utf8(&mut [0; 4]));
    let lossless = parts.iter().all(|part| !part.is_empty() && part.chars().all(allowed));
    if lossless && joined.len() <= max_len {
        return joined;
    }
    let room = max_len.saturating_sub(HASH_DIGITS + 2);
    let readable: String =
        joined.chars().map(|c| if allowed(c) { c } else { separator }).take(room).collect();
    let readable = readable.trim_end_matches(separator);
    format!("{readable}{separator}{separator}{}", hash(parts))
}

/// A hash of the parts and of where each ends.
fn hash(parts: &[&str]) -> String {
    use std::fmt::Write as _;

    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    digest.finalize().iter().take(HASH_DIGITS / 2).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pipeline(namespace: &str, name: &str) -> PipelineId {
        PipelineId { cluster: "local".into(), namespace: namespace.into(), name: name.into() }
    }

    /// Few letters and all the characters that get lost, so that collisions would be found.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof!["[ab._-]{0,4}", "[ab]{50,70}", "[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", "\\PC{0,8}"]
    }

    fn id() -> impl Strategy<Value = (PipelineId, String)> {
        (part(), part(), part(), part())
            .prop_map(|(cluster, namespace, name, source)| (PipelineId { cluster, namespace, name }, source))
    }

    #[test]
    fn plain_names_can_be_read() {
        let id = pipeline("default", "shop");
        assert_eq!(id.to_string(), "local/default/shop");
        assert_eq!(id.group(&StageId::new(StageKind::Sink, "dwh")), "acequia.default.shop.sink-dwh");
        assert_eq!(id.connector("crm").as_str(), "acequia.default.shop.source-crm");
        assert_eq!(id.heartbeat_topic("crm"), "acequia.heartbeat.acequia.default.shop.source-crm");
        assert_eq!(id.slot("crm"), "acequia_local_default_shop_crm");
    }

    #[test]
    fn state_and_progress_of_an_aggregation_carry_its_incarnation() {
        let names = pipeline("default", "shop").aggregation("sales", "0123456789");
        assert_eq!(names.combine_group, "acequia.default.shop.aggregation-sales.0123456789.combine");
        assert_eq!(names.merge_group, "acequia.default.shop.aggregation-sales.0123456789.merge");
        assert_eq!(names.partials_topic, "acequia.partials.default.shop.aggregation-sales.0123456789");
        assert_eq!(names.state_topic, "acequia.state.default.shop.aggregation-sales.0123456789");
        assert_eq!(names.rows_topic, "acequia.rows.default.shop.aggregation-sales.0123456789");
        assert_eq!(names.late_topic, "acequia.late.default.shop.aggregation-sales");
        assert_eq!(names.dead_letter_topic, "acequia.dead-letters.default.shop.aggregation-sales");
    }

    #[test]
    fn a_deployment_can_be_read_and_never_belongs_to_two_pipelines() {
        let sink = |name: &str| StageId::new(StageKind::Sink, name);
        assert_eq!(pipeline("n", "shop").deployment(&sink("dwh")), "shop-sink-dwh");
        let (one, other) =
            (pipeline("n", "a-sink").deployment(&sink("b")), pipeline("n", "a").deployment(&sink("sink-b")));
        assert!(one.starts_with("a-sink-sink-b--") && other.starts_with("a-sink-sink-b--"), "{one} {other}");
        assert_ne!(one, other);
        let long = pipeline("n", &"p".repeat(40)).deployment(&sink(&"s".repeat(40)));
        assert!(long.len() <= DEPLOYMENT_MAX, "{long}");
    }

    #[test]
    fn a_dash_that_postgres_does_not_allow_costs_a_hash() {
        let (dashed, other) = (pipeline("default", "a-b").slot("c"), pipeline("default", "a").slot("b-c"));
        assert!(dashed.starts_with("acequia_local_default_a_b_c__"), "{dashed}");
        assert!(other.starts_with("acequia_local_default_a_b_c__"), "{other}");
        assert_ne!(dashed, other);
    }

    #[test]
    fn a_hash_that_a_user_writes_is_not_mistaken_for_ours() {
        let hashed = pipeline("n", &"p".repeat(60)).slot("s");
        let digits = &hashed[hashed.len() - HASH_DIGITS..];
        assert_ne!(pipeline("n", &"p".repeat(30)).slot(digits), hashed);
        assert!(!pipeline("n", "p").slot(digits).contains("__"));
    }

    /// Names of topics: those with the incarnation, and those without.
    fn topics(names: &AggregationNames) -> ([String; 3], [String; 2]) {
        let own = [&names.partials_topic, &names.state_topic, &names.rows_topic].map(Clone::clone);
        (own, [&names.late_topic, &names.dead_letter_topic].map(Clone::clone))
    }

    proptest! {
        #[test]
        fn two_incarnations_never_share_state_or_progress(
            ((a, name_a), (b, name_b)) in (id(), id()), (old, new) in ("[0-9a-f]{0,10}", "[0-9a-f]{0,10}"),
        ) {
            let same_stage = a.namespace == b.namespace && a.name == b.name && name_a == name_b;
            let (of_a, of_b) = (a.aggregation(&name_a, &old), b.aggregation(&name_b, &new));
            let groups = |names: &AggregationNames| [names.combine_group.clone(), names.merge_group.clone()];
            for (i, group) in groups(&of_a).iter().enumerate() {
                for (j, other) in groups(&of_b).iter().enumerate() {
                    prop_assert_eq!(group == other, same_stage && old == new && i == j);
                }
                prop_assert_ne!(group, &b.group(&StageId::new(StageKind::Aggregation, &name_b)));
                prop_assert!(group.len() <= KAFKA_MAX);
            }
            let ((own_a, lasting_a), (own_b, lasting_b)) = (topics(&of_a), topics(&of_b));
            for (i, topic) in own_a.iter().enumerate() {
                for (j, other) in own_b.iter().enumerate() {
                    prop_assert_eq!(topic == other, same_stage && old == new && i == j);
                }
                prop_assert!(!lasting_b.contains(topic));
            }
            for (i, topic) in lasting_a.iter().enumerate() {
                for (j, other) in lasting_b.iter().enumerate() {
                    prop_assert_eq!(topic == other, same_stage && i == j);
                }
            }
            for topic in own_a.iter().chain(&lasting_a) {
                prop_assert!(topic.starts_with(INTERNAL_PREFIX) && topic.len() <= KAFKA_MAX);
                prop_assert!(topic.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)));
                prop_assert_ne!(topic, &b.heartbeat_topic(&name_b));
            }
        }

        #[test]
        fn two_identities_never_share_a_name((a, source_a) in id(), (b, source_b) in id()) {
            let same_scope = a.namespace == b.namespace && a.name == b.name && source_a == source_b;
            prop_assert_eq!(a.connector(&source_a) == b.connector(&source_b), same_scope);
            prop_assert_eq!(a.heartbeat_topic(&source_a) == b.heartbeat_topic(&source_b), same_scope);
            prop_assert_eq!(a.slot(&source_a) == b.slot(&source_b), same_scope && a.cluster == b.cluster);
            let stage = |name: &str| StageId::new(StageKind::Sink, name);
            prop_assert_eq!(a.group(&stage(&source_a)) == b.group(&stage(&source_b)), same_scope);
        }

        #[test]
        fn names_fit_where_they_go((id, source) in id()) {
            let slot = id.slot(&source);
            prop_assert!(slot.len() <= POSTGRES_MAX);
            prop_assert!(slot.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
            for name in [id.heartbeat_topic(&source), id.connector(&source).as_str().to_owned()] {
                prop_assert!(name.len() <= KAFKA_MAX);
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)));
            }
        }
    }
}
