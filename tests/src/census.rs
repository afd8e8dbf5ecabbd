//! What a Pipeline left behind: a census of everything outside before it came and after it went.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use acequia_kafka::admin::Admin;
use acequia_kafka::compacted;

use crate::database::Database;
use crate::stack::{KAFKA_DEADLINE, Stack};
use crate::worker::http_get;

/// Where Acequia records what is whose; it stays when everything else has gone.
const OWNERSHIP_TOPIC: &str = "acequia.ownership";

/// Everything of a kind, by name.
pub type Census = BTreeMap<&'static str, BTreeSet<String>>;

/// Counts what is outside now. `databases` are those whose publications are looked at. A stage's own topics and groups,
/// of each incarnation, are among the topics and groups.
///
/// # Panics
/// When a server can't be asked.
pub fn take(stack: &Stack, databases: &[String]) -> Census {
    let admin = Admin::connect(&stack.kafka(), "acequia tests").expect("an admin client");
    let mut topics = admin.list_topics(KAFKA_DEADLINE).expect("the topics");
    // The broker makes these when it first needs them.
    topics.retain(|name| !name.starts_with("__"));
    let owned = if topics.remove(OWNERSHIP_TOPIC) {
        let claims =
            compacted::read_all(&stack.kafka(), OWNERSHIP_TOPIC, KAFKA_DEADLINE).expect("the claims");
        claims.into_keys().map(|key| String::from_utf8_lossy(&key).into_owned()).collect()
    } else {
        BTreeSet::new()
    };
    let groups = admin.list_groups(KAFKA_DEADLINE).expect("the groups");
    let connectors = connectors(stack);
    let slots =
        column(&Database::open_as_superuser(stack).rows("SELECT slot_name FROM pg_replication_slots"));
    let publications = databases.iter().flat_map(|database| {
        let names = column(&Database::open(stack, database).rows("SELECT pubname FROM pg_publication"));
        names.into_iter().map(move |name| format!("{database}: {name}"))
    });
    BTreeMap::from([
        ("topic", topics),
        ("claim", owned),
        ("group", groups),
        ("connector", connectors),
        ("slot", slots),
        ("publication", publications.collect()),
    ])
}

/// What is there after and wasn't before, in words.
pub fn left_behind(before: &Census, after: &Census) -> Vec<String> {
    let nothing = BTreeSet::new();
    let new = |(kind, names): (&&'static str, &BTreeSet<String>)| -> Vec<String> {
        let before = before.get(kind).unwrap_or(&nothing);
        names.difference(before).map(|name| format!("{kind} {name}")).collect()
    };
    after.iter().flat_map(new).collect()
}

/// Names of the connectors.
fn connectors(stack: &Stack) -> BTreeSet<String> {
    let address = stack.address("connect:8083").to_owned();
    let asked = crate::wait::until(
        "Connect lists its connectors",
        Duration::from_secs(60),
        || http_get(&address, "/connectors"),
        Option::is_some,
    );
    serde_json::from_str(&asked.unwrap_or_default()).expect("a list of connectors")
}

/// The only column of rows as [`Database::rows`] gives them.
fn column(rows: &[crate::check::Row]) -> BTreeSet<String> {
    let objects = rows.iter().filter_map(|row| serde_json::from_str(row.first()?.as_deref()?).ok());
    objects.filter_map(|row: BTreeMap<String, String>| row.into_values().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(topics: &[&str], slots: &[&str]) -> Census {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        BTreeMap::from([("topic", set(topics)), ("slot", set(slots))])
    }

    #[test]
    fn what_was_there_before_is_not_left_behind() {
        assert_eq!(left_behind(&census(&["a"], &["s"]), &census(&["a"], &[])), Vec::<String>::new());
    }

    #[test]
    fn whatever_stays_is_named() {
        let left = left_behind(&census(&["a"], &[]), &census(&["a", "b"], &["s"]));
        assert_eq!(left, ["slot s", "topic b"]);
        assert_eq!(left_behind(&Census::new(), &census(&["a"], &[])), ["topic a"]);
    }

    #[test]
    fn the_column_of_rows_is_their_text() {
        let row = vec![Some("{\"slot_name\":\"acequia_a\"}".to_owned())];
        assert_eq!(column(&[row]), BTreeSet::from(["acequia_a".to_owned()]));
    }
}
