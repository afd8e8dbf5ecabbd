//! Transactions, and topics read whole.

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_kafka::admin::OffsetOf;
use acequia_kafka::{KafkaError, compacted, log};

use crate::fixture::{DEADLINE, broker, unique};

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
