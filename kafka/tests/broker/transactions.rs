//! Transactions, and topics read whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use acequia_kafka::admin::OffsetOf;
use acequia_kafka::compacted::{Follower, Latest};
use acequia_kafka::{KafkaError, compacted, log};

use crate::fixture::{Broker, DEADLINE, broker, unique};

#[test]
fn an_aborted_transaction_is_never_read_and_an_open_one_not_yet() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("transactions", 1, &[]);
    let producer = broker.transactional(&unique("writer"));
    for (value, commit) in [("kept 1", true), ("thrown away", false), ("kept 2", true)] {
        producer.begin_transaction().unwrap();
        producer.send(&topic, Some(0), Some(b"k"), Some(value.as_bytes())).unwrap();
        if commit { producer.commit_transaction(DEADLINE) } else { producer.abort_transaction(DEADLINE) }
            .unwrap();
    }
    producer.begin_transaction().unwrap();
    producer.send(&topic, Some(0), Some(b"k"), Some(b"open")).unwrap();
    while producer.in_flight() > 0 {
        producer.poll(Duration::from_millis(10));
    }
    let values: Vec<_> = log::read_range(&broker.connection, &topic, DEADLINE).unwrap();
    let values: Vec<_> = values.iter().map(|record| record.value.as_deref().unwrap()).collect();
    assert_eq!(values, [&b"kept 1"[..], b"kept 2"]);
    let end = |of| broker.admin.offsets(&[(topic.clone(), 0)], of, DEADLINE).unwrap()[&(topic.clone(), 0)];
    assert!(end(OffsetOf::LatestCommitted) < end(OffsetOf::Latest));
    assert_eq!(end(OffsetOf::Earliest), 0);
    producer.abort_transaction(DEADLINE).unwrap();
    broker.delete(&[&topic]);
}

#[test]
fn a_second_producer_with_the_same_id_fences_the_first() {
    let Some(broker) = broker() else { return };
    let (topic, id) = (broker.topic("fence", 1, &[]), unique("writer"));
    let first = broker.transactional(&id);
    first.begin_transaction().unwrap();
    first.send(&topic, Some(0), None, Some(b"from the first")).unwrap();
    let second = broker.transactional(&id);
    // An old epoch may also come from a transaction that timed out, so only the abort knows for sure.
    let error = match first.commit_transaction(DEADLINE).unwrap_err() {
        KafkaError::MustAbort { .. } => first.abort_transaction(DEADLINE).unwrap_err(),
        error => error,
    };
    assert!(matches!(error, KafkaError::Fenced { .. }), "{error:?}");
    second.begin_transaction().unwrap();
    second.send(&topic, Some(0), None, Some(b"from the second")).unwrap();
    second.commit_transaction(DEADLINE).unwrap();
    let values = log::read_range(&broker.connection, &topic, DEADLINE).unwrap();
    assert_eq!(
        values.iter().map(|r| r.value.as_deref()).collect::<Vec<_>>(),
        [Some(&b"from the second"[..])]
    );
    broker.delete(&[&topic]);
}

#[test]
fn a_compacted_topic_reads_as_the_latest_value_of_each_key() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("compacted", 1, &[("cleanup.policy", "compact")]);
    assert!(compacted::read_all(&broker.connection, &topic, DEADLINE).unwrap().is_empty());
    let entry =
        |key: &str, value: Option<&str>| (key.as_bytes().to_vec(), value.map(|v| v.as_bytes().to_vec()));
    let entries = [entry("a", Some("1")), entry("b", Some("2")), entry("a", Some("3")), entry("b", None)];
    compacted::write(&broker.connection, &topic, &entries, DEADLINE).unwrap();
    let all = compacted::read_all(&broker.connection, &topic, DEADLINE).unwrap();
    assert_eq!(all, BTreeMap::from([(b"a".to_vec(), b"3".to_vec())]));
    let missing = compacted::read_all(&broker.connection, &unique("missing"), DEADLINE).unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    broker.delete(&[&topic]);
}

/// What a follower tells: `anew`, `key=value`, `-key`.
fn told(follower: &mut Follower, broker: &Broker, expect_topic: bool) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut told = Vec::new();
    let there = follower.catch_up(&broker.connection, &broker.admin, DEADLINE, |latest| {
        told.push(match latest {
            Latest::Anew => "anew".to_owned(),
            Latest::Value(key, value) => format!("{}={}", text(key), text(value)),
            Latest::Tombstone(key) => format!("-{}", text(key)),
        });
    });
    assert_eq!(there.unwrap(), expect_topic);
    told
}

#[test]
fn a_follower_reads_what_is_new_and_begins_anew_with_another_topic_of_the_name() {
    let Some(broker) = broker() else { return };
    let settings = [("cleanup.policy", "compact")];
    let topic = broker.topic("followed", 1, &settings);
    let write = |entries: &[(&str, Option<&str>)]| {
        let bytes = |text: &str| text.as_bytes().to_vec();
        let entries: Vec<_> = entries.iter().map(|(key, value)| (bytes(key), value.map(bytes))).collect();
        compacted::write(&broker.connection, &topic, &entries, DEADLINE).unwrap();
    };
    let mut follower = Follower::new(&topic);
    assert_eq!(told(&mut follower, &broker, true), ["anew"]);
    write(&[("a", Some("1")), ("b", Some("2"))]);
    assert_eq!(told(&mut follower, &broker, true), ["a=1", "b=2"]);
    assert_eq!(told(&mut follower, &broker, true), [""; 0]);
    write(&[("a", None)]);
    assert_eq!(told(&mut follower, &broker, true), ["-a"]);
    assert_eq!(told(&mut Follower::new(&topic), &broker, true), ["anew", "a=1", "b=2", "-a"]);

    broker.delete(&[&topic]);
    let started = Instant::now();
    let is_there =
        || !broker.admin.describe_topics(std::slice::from_ref(&topic), DEADLINE).unwrap().is_empty();
    while is_there() {
        assert!(started.elapsed() < DEADLINE, "{topic} doesn't go");
    }
    assert_eq!(told(&mut follower, &broker, false), ["anew"]);
    broker.create(&topic, 1, &settings);
    write(&[("c", Some("3"))]);
    assert_eq!(told(&mut follower, &broker, true), ["anew", "c=3"]);
    broker.delete(&[&topic]);
}
