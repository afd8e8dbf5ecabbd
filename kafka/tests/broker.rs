//! Against a real broker, named by `ACEQUIA_TEST_KAFKA` (`host:port`); without it these tests say that they are
//! skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use acequia_kafka::admin::{Admin, ConfigChange, NewTopic, OffsetOf};
use acequia_kafka::consumer::{Fault, Rebalance};
use acequia_kafka::producer::{Producer, ProducerSettings};
use acequia_kafka::{Connection, KafkaError, Login, Secret, compacted, log};
use support::{Database, Member, settings, step_until};

const DEADLINE: Duration = Duration::from_secs(20);

struct Broker {
    connection: Connection,
    admin: Admin,
}

fn broker() -> Option<Broker> {
    let Ok(address) = std::env::var("ACEQUIA_TEST_KAFKA") else {
        eprintln!("skipped: ACEQUIA_TEST_KAFKA names no broker");
        return None;
    };
    let connection = Connection::plaintext(address);
    let admin = Admin::connect(&connection, "test").unwrap();
    Some(Broker { connection, admin })
}

/// A name no earlier test used on the same broker.
fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("test.{what}.{now_ms}.{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Broker {
    fn topic(&self, what: &str, partitions: i32, config: &[(&str, &str)]) -> String {
        let name = unique(what);
        self.create(&name, partitions, config);
        name
    }

    fn create(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let topic = NewTopic { name: name.to_owned(), partitions, replication_factor: -1, config };
        let created = self.admin.create_topics(&[topic], false, DEADLINE).unwrap();
        assert_eq!(created.get(name), Some(&Ok(())));
    }

    fn delete(&self, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.admin.delete_topics(&names, DEADLINE).unwrap();
    }

    fn producer(&self) -> Producer {
        Producer::connect(&self.connection, &ProducerSettings::new("test")).unwrap()
    }

    fn write(&self, topic: &str, partitions: i32, count: i32) {
        let producer = self.producer();
        for number in 0..count {
            producer
                .send(topic, Some(number % partitions), None, Some(number.to_string().as_bytes()))
                .unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    }

    fn transactional(&self, id: &str) -> Producer {
        let mut settings = ProducerSettings::new("test");
        settings.transactional_id = Some(id.to_owned());
        let producer = Producer::connect(&self.connection, &settings).unwrap();
        producer.init_transactions(DEADLINE).unwrap();
        producer
    }
}

#[test]
fn a_topic_is_created_described_grown_and_deleted() {
    let Some(broker) = broker() else { return };
    let name = broker.topic("life", 2, &[("retention.ms", "86400000")]);
    let described = broker.admin.describe_topics(std::slice::from_ref(&name), DEADLINE).unwrap();
    let first = described.get(&name).unwrap();
    assert_eq!(first.partitions.iter().map(|p| p.id).collect::<Vec<_>>(), [0, 1]);
    assert!(first.partitions.iter().all(|p| p.replicas == 1 && p.leader.is_some()), "{first:?}");
    assert!(!first.internal);
    assert!(broker.admin.list_topics(DEADLINE).unwrap().contains(&name));

    let grown = broker.admin.create_partitions(&[(name.clone(), 5)], DEADLINE).unwrap();
    assert_eq!(grown.get(&name), Some(&Ok(())));
    let shrunk = broker.admin.create_partitions(&[(name.clone(), 1)], DEADLINE).unwrap();
    assert!(shrunk[&name].is_err(), "{shrunk:?}");

    let deleted = broker.admin.delete_topics(std::slice::from_ref(&name), DEADLINE).unwrap();
    assert_eq!(deleted.get(&name), Some(&Ok(())));
    assert!(broker.admin.describe_topics(std::slice::from_ref(&name), DEADLINE).unwrap().is_empty());
    let again = broker.admin.delete_topics(std::slice::from_ref(&name), DEADLINE).unwrap();
    assert!(again[&name].as_ref().unwrap_err().is_not_found(), "{again:?}");

    broker.create(&name, 2, &[]);
    let second = broker.admin.describe_topics(std::slice::from_ref(&name), DEADLINE).unwrap();
    assert_ne!(second[&name].id, first.id, "a topic made anew is another topic");
    assert_eq!(second[&name].id.to_string().parse(), Ok(second[&name].id));
    broker.delete(&[&name]);
}

#[test]
fn one_refusal_in_a_batch_leaves_the_rest_alone_and_validation_changes_nothing() {
    let Some(broker) = broker() else { return };
    let exists = broker.topic("exists", 1, &[]);
    let topic = |name: &str, config: &[(&str, &str)]| NewTopic {
        name: name.to_owned(),
        partitions: 1,
        replication_factor: -1,
        config: config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    let (fine, wrong) = (unique("fine"), unique("wrong"));
    let wanted = [topic(&exists, &[]), topic(&fine, &[]), topic(&wrong, &[("retention.ms", "soon")])];
    let validated = broker.admin.create_topics(&wanted, true, DEADLINE).unwrap();
    assert!(validated[&fine].is_ok());
    assert!(broker.admin.describe_topics(std::slice::from_ref(&fine), DEADLINE).unwrap().is_empty());
    let created = broker.admin.create_topics(&wanted, false, DEADLINE).unwrap();
    assert!(created[&fine].is_ok());
    assert!(created[&exists].as_ref().unwrap_err().already_exists());
    let refused = created[&wrong].as_ref().unwrap_err();
    assert!(refused.reason.contains("retention.ms"), "{refused}");
    broker.delete(&[&exists, &fine]);
}

#[test]
fn only_the_named_keys_of_a_configuration_change() {
    let Some(broker) = broker() else { return };
    let names = [broker.topic("config", 1, &[("retention.ms", "1000000"), ("segment.bytes", "2000000")])];
    let read = || broker.admin.topic_configs(&names, DEADLINE).unwrap().remove(&names[0]).unwrap();
    let before = read();
    assert_eq!(before["retention.ms"].value.as_deref(), Some("1000000"));
    assert!(before["retention.ms"].is_topic_override && !before["cleanup.policy"].is_topic_override);

    let changes = vec![
        ConfigChange::Set("cleanup.policy".into(), "compact".into()),
        ConfigChange::Delete("retention.ms".into()),
    ];
    let missing = unique("missing");
    let altered = BTreeMap::from([
        (names[0].clone(), changes),
        (missing.clone(), vec![ConfigChange::Set("retention.ms".into(), "1".into())]),
    ]);
    let outcome = broker.admin.incremental_alter_configs(&altered, DEADLINE).unwrap();
    assert!(outcome[&names[0]].is_ok(), "{outcome:?}");
    assert!(outcome[&missing].as_ref().unwrap_err().is_not_found(), "{outcome:?}");
    let after = read();
    assert_eq!(after["cleanup.policy"].value.as_deref(), Some("compact"));
    assert_eq!(after["segment.bytes"], before["segment.bytes"]);
    assert!(!after["retention.ms"].is_topic_override, "{:?}", after["retention.ms"]);

    let wrong =
        BTreeMap::from([(names[0].clone(), vec![ConfigChange::Set("no.such.key".into(), "1".into())])]);
    assert!(broker.admin.incremental_alter_configs(&wrong, DEADLINE).unwrap()[&names[0]].is_err());
    assert!(broker.admin.topic_configs(&[missing], DEADLINE).unwrap().is_empty());
    broker.delete(&[&names[0]]);
}

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

/// Members come, go and die while records arrive; positions live outside Kafka.
#[test]
fn each_record_is_read_once_while_members_join_leave_and_die() {
    let Some(broker) = broker() else { return };
    let (topic, group) = (broker.topic("handover", 4, &[]), unique("group"));
    let (settings, database) = (settings(&group, &[&topic]), Database::default());
    let join = || Member::join(&broker.connection, &settings, &database);
    let mut first = join();
    broker.write(&topic, 4, 4_000);
    step_until("the first 4,000", &mut [&mut first], |_| database.read_count() >= 4_000);

    let mut second = join();
    broker.write(&topic, 4, 4_000);
    step_until("two partitions each", &mut [&mut first, &mut second], |members| {
        members.iter().all(|member| member.partitions().len() == 2)
    });
    broker.write(&topic, 4, 4_000);
    step_until("12,000", &mut [&mut first, &mut second], |_| database.read_count() >= 12_000);
    assert!(first.rebalances.iter().any(|rebalance| matches!(rebalance, Rebalance::Revoked(_))));

    first.consumer.close(DEADLINE).unwrap();
    step_until("the one that left", &mut [&mut second], |members| members[0].partitions().len() == 4);
    let mut third = join();
    step_until("two partitions each", &mut [&mut second, &mut third], |members| {
        members.iter().all(|member| member.partitions().len() == 2)
    });
    broker.write(&topic, 4, 4_000);
    step_until("a part", &mut [&mut second, &mut third], |_| database.read_count() >= 13_000);
    drop(second);
    step_until("the one that died", &mut [&mut third], |members| members[0].partitions().len() == 4);
    broker.write(&topic, 4, 4_000);
    step_until("20,000", &mut [&mut third], |_| database.read_count() >= 20_000);
    database.assert_each_record_once();
    assert_eq!(database.read_count(), 20_000);
    third.consumer.close(DEADLINE).unwrap();
    broker.delete(&[&topic]);
}

#[test]
fn partitions_and_topics_made_after_the_subscription_are_read() {
    let Some(broker) = broker() else { return };
    let (early, late) = (broker.topic("early", 1, &[]), unique("late"));
    let database = Database::default();
    let settings = settings(&unique("group"), &[&early, &late]);
    let mut member = Member::join(&broker.connection, &settings, &database);
    step_until("the topic that is missing", &mut [&mut member], |members| {
        members[0]
            .faults
            .iter()
            .any(|fault| matches!(fault, Fault::UnknownTopic { topic } if **topic == *late))
    });
    broker.create(&late, 2, &[]);
    broker.admin.create_partitions(&[(early.clone(), 2)], DEADLINE).unwrap();
    step_until("four partitions", &mut [&mut member], |members| members[0].partitions().len() == 4);
    broker.write(&early, 2, 10);
    broker.write(&late, 2, 10);
    step_until("every record", &mut [&mut member], |_| database.read_count() == 20);
    database.assert_each_record_once();
    broker.delete(&[&early, &late]);
}

#[test]
fn a_second_static_member_with_the_same_id_fences_the_first() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("static", 1, &[]);
    let mut settings = settings(&unique("group"), &[&topic]);
    settings.instance_id = Some("pod-0".into());
    let database = Database::default();
    let mut first = Member::join(&broker.connection, &settings, &database);
    step_until("the partition", &mut [&mut first], |members| !members[0].partitions().is_empty());
    let mut second = Member::join(&broker.connection, &settings, &database);
    step_until("the fence", &mut [&mut first, &mut second], |members| {
        members[0].faults.iter().any(|fault| matches!(fault, Fault::Fenced(_)))
    });
    step_until("the second's partition", &mut [&mut second], |members| !members[0].partitions().is_empty());
    broker.delete(&[&topic]);
}

#[test]
fn an_end_behind_transaction_markers_is_reported() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("markers", 1, &[]);
    let producer = broker.transactional(&unique("writer"));
    for _ in 0..3 {
        producer.begin_transaction().unwrap();
        producer.send(&topic, Some(0), None, Some(b"value")).unwrap();
        producer.commit_transaction(DEADLINE).unwrap();
    }
    let end = 6; // three records and three markers, the last of which may be written after the commit returned
    let database = Database::default();
    let mut member = Member::join(&broker.connection, &settings(&unique("group"), &[&topic]), &database);
    step_until("the end", &mut [&mut member], |members| members[0].ends.iter().any(|p| p.offset == end));
    assert_eq!(database.read_count(), 3);
    broker.delete(&[&topic]);
}

#[test]
fn what_a_group_committed_is_listed_until_the_group_is_deleted() {
    let Some(broker) = broker() else { return };
    let (topic, group) = (broker.topic("committed", 1, &[]), unique("group"));
    broker.write(&topic, 1, 10);
    let database = Database::default();
    let mut member = Member::join(&broker.connection, &settings(&group, &[&topic]), &database);
    step_until("all records", &mut [&mut member], |_| database.read_count() == 10);
    let positions = member.consumer.assignment();
    member.consumer.commit(&positions).unwrap();
    let committed = || broker.admin.group_offsets(&group, DEADLINE).unwrap();
    step_until("the commit", &mut [&mut member], |_| committed().get(&(topic.clone(), 0)) == Some(&10));

    let names = [group.clone(), unique("missing")];
    let described = broker.admin.describe_groups(&names, DEADLINE).unwrap();
    assert_eq!(described.keys().collect::<Vec<_>>(), [&group]);
    let members: Vec<_> = described[&group].members.iter().map(|m| (&*m.client_id, &m.partitions)).collect();
    assert_eq!(members, [("test", &vec![(topic.clone(), 0)])]);
    let in_use = broker.admin.delete_groups(&names[..1], DEADLINE).unwrap();
    assert!(in_use[&group].is_err(), "a group with members can't be deleted");

    member.consumer.close(DEADLINE).unwrap();
    let deleted = broker.admin.delete_groups(&names, DEADLINE).unwrap();
    assert_eq!(deleted[&group], Ok(()));
    assert!(deleted[&names[1]].as_ref().unwrap_err().is_not_found(), "{deleted:?}");
    assert!(committed().is_empty());
    broker.delete(&[&topic]);
}

#[test]
fn a_login_that_the_listener_doesnt_take_is_denied_soon_and_without_the_password() {
    let Some(broker) = broker() else { return };
    let password = "s3cret-canary";
    let login = Login {
        mechanism: "SCRAM-SHA-512".into(),
        username: "nobody".into(),
        password: Secret::new(password),
    };
    let address =
        std::env::var("ACEQUIA_TEST_KAFKA_SASL").unwrap_or(broker.connection.bootstrap_servers.clone());
    let connection = Connection { sasl: Some(login), ..Connection::plaintext(address) };
    let admin = Admin::connect(&connection, "test").unwrap();
    let error = admin.describe_topics(&["any".into()], DEADLINE).unwrap_err();
    assert!(matches!(error, KafkaError::Denied { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains(password));
    let database = Database::default();
    let mut member = Member::join(&connection, &settings(&unique("group"), &["any"]), &database);
    step_until("the refusal", &mut [&mut member], |members| {
        members[0].faults.iter().any(|fault| matches!(fault, Fault::Denied(_)))
    });
    assert!(!format!("{:?}", member.faults).contains(password));
}

#[test]
fn a_list_of_offsets_with_a_missing_topic_is_an_error_that_says_so() {
    let Some(broker) = broker() else { return };
    let error = broker.admin.offsets(&[(unique("missing"), 0)], OffsetOf::Latest, DEADLINE).unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
}
