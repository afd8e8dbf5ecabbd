//! Consumer and producer against librdkafka's own mock of a cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_kafka::admin::Admin;
use acequia_kafka::consumer::{BatchConsumer, Fault, Polled, Position, Rebalance, TopicPartition};
use acequia_kafka::producer::{Producer, ProducerSettings};
use acequia_kafka::{Connection, KafkaError, Login, Secret};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use support::{Database, Member, settings, step_until};

const DEADLINE: Duration = Duration::from_secs(20);

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    connection: Connection,
}

fn cluster(topic: &str, partitions: i32) -> Cluster {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(topic, partitions, 1).unwrap();
    let connection = Connection::plaintext(mock.bootstrap_servers());
    Cluster { mock, connection }
}

/// Writes records `from..to` round-robin over the partitions.
fn write(connection: &Connection, topic: &str, partitions: i32, numbers: std::ops::Range<i32>) {
    let producer = Producer::connect(connection, &ProducerSettings::new("test")).unwrap();
    for number in numbers {
        let (key, value) = (number.to_string(), format!("value {number}"));
        let partition = Some(number % partitions);
        producer.send(topic, partition, Some(key.as_bytes()), Some(value.as_bytes())).unwrap();
    }
    producer.flush(DEADLINE).unwrap();
}

fn poll_until(consumer: &mut BatchConsumer, mut found: impl FnMut(&Polled) -> bool) -> Polled {
    let started = Instant::now();
    loop {
        let polled = consumer.poll(1_000, Duration::from_millis(100));
        if found(&polled) {
            return polled;
        }
        assert!(started.elapsed() < DEADLINE, "waited in vain; last: {polled:?}");
    }
}

fn assigned(polled: &Polled) -> Option<&Vec<TopicPartition>> {
    polled.rebalance.iter().find_map(|rebalance| match rebalance {
        Rebalance::Assigned(partitions) => Some(partitions),
        _ => None,
    })
}

fn at(partition: &TopicPartition, offset: i64) -> Position {
    Position { topic: partition.topic.clone(), partition: partition.partition, offset }
}

#[test]
fn records_come_only_after_their_partition_is_assigned_and_from_the_given_offset() {
    let Cluster { connection, mock: _mock } = cluster("orders", 1);
    write(&connection, "orders", 1, 0..10);
    let mut consumer = BatchConsumer::subscribe(&connection, &settings("g", &["orders"])).unwrap();
    let polled = poll_until(&mut consumer, |polled| assigned(polled).is_some());
    assert!(polled.records.is_empty());
    let idle = consumer.poll(100, Duration::from_millis(500));
    assert!(idle.records.is_empty(), "nothing may come before the claim: {idle:?}");
    consumer.assign(&[at(&assigned(&polled).unwrap()[0], 7)]).unwrap();
    let polled = poll_until(&mut consumer, |polled| !polled.records.is_empty());
    let offsets: Vec<_> = polled.records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [7, 8, 9]);
    consumer.close(DEADLINE).unwrap();
}

#[test]
fn a_record_keeps_key_value_and_time_and_tells_null_from_empty() {
    let Cluster { connection, mock: _mock } = cluster("orders", 1);
    let producer = Producer::connect(&connection, &ProducerSettings::new("test")).unwrap();
    producer.send("orders", Some(0), Some(b"k"), Some(b"v")).unwrap();
    producer.send("orders", Some(0), None, None).unwrap();
    producer.send("orders", Some(0), Some(b""), Some(b"")).unwrap();
    producer.flush(DEADLINE).unwrap();
    let mut consumer = BatchConsumer::subscribe(&connection, &settings("g", &["orders"])).unwrap();
    let polled = poll_until(&mut consumer, |polled| assigned(polled).is_some());
    consumer.assign(&[at(&assigned(&polled).unwrap()[0], 0)]).unwrap();
    let polled = poll_until(&mut consumer, |polled| polled.records.len() == 3);
    let batch = &polled.records.by_partition()[0];
    let pairs: Vec<_> = batch.iter().map(|record| (record.key, record.value)).collect();
    assert_eq!(pairs, [(Some(&b"k"[..]), Some(&b"v"[..])), (None, None), (Some(&b""[..]), Some(&b""[..]))]);
    assert_eq!(polled.records.payload_bytes(), 2);
    assert!(batch.iter().all(|record| record.timestamp_ms().is_some_and(|ms| ms > 1_600_000_000_000)));
    assert_eq!((&**batch.topic(), batch.first_offset(), batch.next_offset()), ("orders", Some(0), Some(3)));
}

#[test]
fn a_poll_returns_with_the_first_records_and_not_at_its_timeout() {
    let Cluster { connection, mock: _mock } = cluster("orders", 1);
    let mut consumer = BatchConsumer::subscribe(&connection, &settings("g", &["orders"])).unwrap();
    let polled = poll_until(&mut consumer, |polled| assigned(polled).is_some());
    consumer.assign(&[at(&assigned(&polled).unwrap()[0], 0)]).unwrap();
    write(&connection, "orders", 1, 0..5);
    let started = Instant::now();
    while consumer.poll(1_000, Duration::from_secs(15)).records.is_empty() {}
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn batches_may_outlive_their_consumer_and_be_freed_by_another_thread() {
    let Cluster { connection, mock: _mock } = cluster("orders", 3);
    write(&connection, "orders", 3, 0..3_000);
    let mut consumer = BatchConsumer::subscribe(&connection, &settings("g", &["orders"])).unwrap();
    let polled = poll_until(&mut consumer, |polled| assigned(polled).is_some());
    let positions: Vec<_> = assigned(&polled).unwrap().iter().map(|partition| at(partition, 0)).collect();
    consumer.assign(&positions).unwrap();
    let mut kept = Vec::new();
    let mut count = 0;
    while count < 3_000 {
        let polled = poll_until(&mut consumer, |polled| !polled.records.is_empty());
        count += polled.records.len();
        kept.extend(polled.records.into_partitions());
    }
    drop(consumer);
    let threads: Vec<_> = kept
        .into_iter()
        .map(|batch| std::thread::spawn(move || batch.iter().filter(|record| record.value.is_some()).count()))
        .collect();
    assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 3_000);
}

#[test]
fn a_second_member_takes_over_half_and_each_record_is_read_once() {
    let Cluster { connection, mock: _mock } = cluster("orders", 4);
    write(&connection, "orders", 4, 0..400);
    let database = Database::default();
    let settings = settings("g", &["orders"]);
    let mut first = Member::join(&connection, &settings, &database);
    step_until("all partitions", &mut [&mut first], |members| members[0].partitions().len() == 4);
    let mut second = Member::join(&connection, &settings, &database);
    step_until("two partitions each", &mut [&mut first, &mut second], |members| {
        members.iter().all(|member| member.partitions().len() == 2)
    });
    write(&connection, "orders", 4, 400..800);
    step_until("every record", &mut [&mut first, &mut second], |_| database.read_count() >= 800);
    first.consumer.close(DEADLINE).unwrap();
    step_until("the rest's partitions", &mut [&mut second], |members| members[0].partitions().len() == 4);
    write(&connection, "orders", 4, 800..1_200);
    step_until("every record", &mut [&mut second], |_| database.read_count() >= 1_200);
    database.assert_each_record_once();
    assert_eq!(database.read_count(), 1_200);
}

#[test]
fn a_position_outside_the_log_is_reported_and_a_seek_goes_on() {
    let Cluster { connection, mock: _mock } = cluster("orders", 1);
    write(&connection, "orders", 1, 0..10);
    let mut consumer = BatchConsumer::subscribe(&connection, &settings("g", &["orders"])).unwrap();
    let polled = poll_until(&mut consumer, |polled| assigned(polled).is_some());
    let partition = assigned(&polled).unwrap()[0].clone();
    consumer.assign(&[at(&partition, 5_000)]).unwrap();
    let polled = poll_until(&mut consumer, |polled| !polled.faults.is_empty());
    assert_eq!(polled.faults, [Fault::OutOfRange { topic: Arc::from("orders"), partition: 0 }]);
    assert!(polled.records.is_empty());
    consumer.seek(&[at(&partition, 8)]).unwrap();
    let polled = poll_until(&mut consumer, |polled| !polled.records.is_empty());
    assert_eq!(polled.records.by_partition()[0].first_offset(), Some(8));
}

#[test]
fn the_record_after_an_error_isnt_skipped_by_the_next_rebalance() {
    let Cluster { connection, mock } = cluster("orders", 2);
    write(&connection, "orders", 2, 0..20);
    let (settings, database) = (settings("g", &["orders"]), Database::default());
    let mut first = Member::join(&connection, &settings, &database);
    step_until("the first records", &mut [&mut first], |_| database.read_count() == 20);
    let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    mock.request_errors(RDKafkaApiKey::Fetch, &[denied; 2]);
    step_until("the error", &mut [&mut first], |members| {
        members[0].faults.iter().any(|fault| matches!(fault, Fault::Denied(_)))
    });
    let mut second = Member::join(&connection, &settings, &database);
    step_until("one partition each", &mut [&mut first, &mut second], |members| {
        members.iter().all(|member| member.partitions().len() == 1)
    });
    write(&connection, "orders", 2, 20..40);
    step_until("the other records", &mut [&mut first, &mut second], |_| database.read_count() >= 40);
    database.assert_each_record_once();
}

#[test]
fn a_paused_partition_brings_nothing_until_it_is_resumed() {
    let Cluster { connection, mock: _mock } = cluster("orders", 1);
    let mut consumer = BatchConsumer::subscribe(&connection, &settings("g", &["orders"])).unwrap();
    let polled = poll_until(&mut consumer, |polled| assigned(polled).is_some());
    let partition = assigned(&polled).unwrap()[0].clone();
    consumer.assign(&[at(&partition, 0)]).unwrap();
    write(&connection, "orders", 1, 0..5);
    poll_until(&mut consumer, |polled| polled.records.iter().any(|record| record.offset == 4));
    consumer.pause(std::slice::from_ref(&partition)).unwrap();
    write(&connection, "orders", 1, 5..10);
    assert!(consumer.poll(100, Duration::from_secs(1)).records.is_empty());
    consumer.resume(&[partition]).unwrap();
    let polled = poll_until(&mut consumer, |polled| !polled.records.is_empty());
    assert_eq!(polled.records.by_partition()[0].first_offset(), Some(5));
}

#[test]
fn a_cluster_that_goes_away_is_reported_and_reading_goes_on_when_it_is_back() {
    let Cluster { connection, mock } = cluster("orders", 1);
    write(&connection, "orders", 1, 0..5);
    let database = Database::default();
    let mut member = Member::join(&connection, &settings("g", &["orders"]), &database);
    step_until("the first records", &mut [&mut member], |_| database.read_count() == 5);
    mock.broker_down(1).unwrap();
    step_until("the outage", &mut [&mut member], |members| {
        members[0].faults.iter().any(|fault| matches!(fault, Fault::Unreachable(_)))
    });
    mock.broker_up(1).unwrap();
    write(&connection, "orders", 1, 5..10);
    step_until("the other records", &mut [&mut member], |_| database.read_count() == 10);
    database.assert_each_record_once();
}

#[test]
fn more_records_than_the_queue_holds_are_all_delivered() {
    let Cluster { connection, mock: _mock } = cluster("orders", 1);
    let mut settings = ProducerSettings::new("test");
    settings.queued_max_records = 100;
    let producer = Producer::connect(&connection, &settings).unwrap();
    for _ in 0..5_000 {
        producer.send("orders", Some(0), None, Some(b"value")).unwrap();
    }
    producer.flush(DEADLINE).unwrap();
    assert_eq!(producer.in_flight(), 0);
}

#[test]
fn a_record_that_no_broker_takes_is_reported_with_its_key() {
    let Cluster { connection, mock } = cluster("orders", 1);
    let mut settings = ProducerSettings::new("test");
    settings.delivery_timeout_ms = 1_500;
    let producer = Producer::connect(&connection, &settings).unwrap();
    mock.broker_down(1).unwrap();
    producer.send("orders", Some(0), Some(b"one"), Some(b"value")).unwrap();
    producer.send("orders", Some(0), Some(b"two"), Some(b"value")).unwrap();
    let error = producer.flush(DEADLINE).unwrap_err();
    assert!(error.to_string().contains("orders"), "{error}");
    let rest = producer.take_undelivered();
    assert_eq!(rest.iter().map(|record| record.key.as_deref()).collect::<Vec<_>>(), [Some(&b"two"[..])]);
}

#[test]
fn an_address_where_nobody_listens_is_unreachable_within_the_deadline() {
    let admin = Admin::connect(&Connection::plaintext("127.0.0.1:1"), "test").unwrap();
    let deadline = Duration::from_secs(2);
    let started = Instant::now();
    for error in [
        admin.list_topics(deadline).unwrap_err(),
        admin.describe_topics(&["orders".into()], deadline).unwrap_err(),
    ] {
        assert!(matches!(error, KafkaError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(error.is_transient());
    }
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[test]
fn a_broker_without_the_call_for_deleting_groups_is_an_error_and_not_the_end_of_the_process() {
    let Cluster { connection, mock: _mock } = cluster("orders", 1);
    let admin = Admin::connect(&connection, "test").unwrap();
    let error = admin.delete_groups(&["g".into()], Duration::from_secs(2)).unwrap_err();
    assert!(error.to_string().contains("groups"), "{error}");
}

#[test]
fn a_refused_setting_doesnt_repeat_the_password() {
    let password = "s3cret-canary";
    let login = |mechanism: &str, password: &str| Login {
        mechanism: mechanism.into(),
        username: "app".into(),
        password: Secret::new(password),
    };
    let with = |login| Connection { sasl: Some(login), ..Connection::plaintext("127.0.0.1:1") };
    let zero_byte = format!("{password}\0");
    for connection in [with(login("NONE-SUCH", password)), with(login("PLAIN", &zero_byte))] {
        let error = Admin::connect(&connection, "test").err().expect("the settings are wrong");
        assert!(!format!("{error} {error:?}").contains(password), "{error}");
        let error = Producer::connect(&connection, &ProducerSettings::new("test")).err().expect("as above");
        assert!(!format!("{error} {error:?}").contains(password), "{error}");
    }
}

#[test]
fn a_coordinator_that_is_not_ready_is_an_error_or_waited_for_when_a_groups_offsets_are_asked() {
    let Cluster { mock, connection } = cluster("orders", 1);
    let admin = Admin::connect(&connection, "test").unwrap();
    let loading = RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    let moved = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR;
    for error in [loading, moved] {
        mock.request_errors(RDKafkaApiKey::OffsetFetch, &[error; 2]);
        let deadline = Duration::from_secs(5);
        let started = Instant::now();
        // With another kind of client this takes the process with it.
        while let Err(refused) = admin.group_offsets("group", deadline) {
            assert!(refused.is_transient(), "{refused}");
            assert!(started.elapsed() < DEADLINE, "{refused}");
        }
    }
}
