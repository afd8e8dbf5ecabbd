//! Consume, process, produce: offsets of a group that are part of a transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_kafka::KafkaError;
use acequia_kafka::consumer::{BatchConsumer, Committed, Rebalance, TopicPartition};
use acequia_kafka::producer::{CommitAt, Producer};

use crate::fixture::{Broker, DEADLINE, broker, unique};
use crate::support::{Database, Member, settings, step_until};

fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: Arc::from(topic), partition }
}

fn commit_at(topic: &str, offset: i64, metadata: &str) -> CommitAt {
    CommitAt { topic: Arc::from(topic), partition: 0, offset, metadata: metadata.to_owned() }
}

fn committed_of(member: &Member, topic: &str) -> BTreeMap<TopicPartition, Committed> {
    member.consumer.committed(&[partition(topic, 0), partition(topic, 1)], DEADLINE).unwrap()
}

/// A member of a new group that has its partitions.
fn member_of(broker: &Broker, topic: &str) -> Member {
    let mut member =
        Member::join(&broker.connection, &settings(&unique("group"), &[topic]), &Database::default());
    step_until("the partitions", &mut [&mut member], |members| !members[0].partitions().is_empty());
    member
}

fn open_transaction(producer: &Producer, topic: &str) {
    producer.begin_transaction().unwrap();
    producer.send(topic, Some(0), None, Some(b"value")).unwrap();
}

#[test]
fn offsets_of_a_committed_transaction_are_seen_and_those_of_an_aborted_one_are_not() {
    let Some(broker) = broker() else { return };
    let (from, to) = (broker.topic("from", 2, &[]), broker.topic("to", 1, &[]));
    let member = member_of(&broker, &from);
    let producer = broker.transactional(&unique("worker"));
    assert_eq!(committed_of(&member, &from), BTreeMap::new());

    let send = |offset, metadata| {
        open_transaction(&producer, &to);
        let group = member.consumer.group_metadata().unwrap();
        producer.send_offsets(&[commit_at(&from, offset, metadata)], &group, DEADLINE).unwrap();
    };
    let is = |offset, metadata: &str| {
        let committed = Committed { offset, metadata: metadata.to_owned() };
        assert_eq!(committed_of(&member, &from), BTreeMap::from([(partition(&from, 0), committed)]));
    };
    send(5, "watermark 1700000000000 \u{e9}");
    producer.commit_transaction(DEADLINE).unwrap();
    is(5, "watermark 1700000000000 \u{e9}");
    send(9, "thrown away");
    producer.abort_transaction(DEADLINE).unwrap();
    is(5, "watermark 1700000000000 \u{e9}");
    send(7, "");
    producer.commit_transaction(DEADLINE).unwrap();
    is(7, "");
    broker.delete(&[&from, &to]);
}

#[test]
fn offsets_of_an_open_transaction_are_waited_for() {
    let Some(broker) = broker() else { return };
    let (from, to) = (broker.topic("from", 1, &[]), broker.topic("to", 1, &[]));
    let member = member_of(&broker, &from);
    let producer = broker.transactional(&unique("worker"));
    open_transaction(&producer, &to);
    let group = member.consumer.group_metadata().unwrap();
    producer.send_offsets(&[commit_at(&from, 3, "")], &group, DEADLINE).unwrap();
    let early = member.consumer.committed(&[partition(&from, 0)], Duration::from_secs(1)).unwrap_err();
    assert!(matches!(early, KafkaError::Timeout { .. }) && early.to_string().contains("open"), "{early}");
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| {
            producer.commit_transaction(DEADLINE).unwrap();
            Instant::now()
        });
        assert_eq!(committed_of(&member, &from)[&partition(&from, 0)].offset, 3);
        let seen = Instant::now();
        println!("seen {:?} after the commit", seen.saturating_duration_since(commit.join().unwrap()));
    });
    broker.delete(&[&from, &to]);
}

#[test]
fn offsets_from_a_generation_that_is_over_are_refused_and_the_transaction_can_be_aborted() {
    let Some(broker) = broker() else { return };
    let (from, to) = (broker.topic("from", 1, &[]), broker.topic("to", 1, &[]));
    let settings = settings(&unique("group"), &[&from]);
    let database = Database::default();
    let mut zombie = Member::join(&broker.connection, &settings, &database);
    let before = zombie.consumer.group_metadata().unwrap_err();
    assert!(before.is_member_gone(), "not joined yet: {before}");
    step_until("the partition", &mut [&mut zombie], |members| !members[0].partitions().is_empty());
    let first_generation = zombie.consumer.group_metadata().unwrap();

    let mut next = Member::join(&broker.connection, &settings, &database);
    step_until("the second member", &mut [&mut zombie, &mut next], |members| {
        members[1].rebalances.contains(&Rebalance::Assigned(Vec::new()))
    });
    let second_generation = zombie.consumer.group_metadata().unwrap();
    assert!(first_generation.generation() < second_generation.generation());
    assert_eq!(first_generation.member(), second_generation.member());

    let producer = broker.transactional(&unique("worker"));
    let refused = |group| {
        open_transaction(&producer, &to);
        let error = producer.send_offsets(&[commit_at(&from, 9, "")], group, DEADLINE).unwrap_err();
        assert!(matches!(error, KafkaError::MemberGone { .. }) && error.is_transient(), "{error:?}");
        producer.abort_transaction(DEADLINE).unwrap();
    };
    refused(&first_generation);
    open_transaction(&producer, &to);
    producer.send_offsets(&[commit_at(&from, 4, "")], &second_generation, DEADLINE).unwrap();
    producer.commit_transaction(DEADLINE).unwrap();

    zombie.consumer.close(DEADLINE).unwrap();
    step_until("the partition", &mut [&mut next], |members| !members[0].partitions().is_empty());
    refused(&second_generation);
    assert_eq!(committed_of(&next, &from)[&partition(&from, 0)].offset, 4);
    let written = acequia_kafka::log::read_range(&broker.connection, &to, DEADLINE).unwrap();
    assert_eq!(written.len(), 1, "only what went with accepted offsets");
    broker.delete(&[&from, &to]);
}

#[test]
fn offsets_of_a_static_member_that_was_replaced_are_refused() {
    let Some(broker) = broker() else { return };
    let (from, to) = (broker.topic("from", 1, &[]), broker.topic("to", 1, &[]));
    let mut settings = settings(&unique("group"), &[&from]);
    settings.instance_id = Some("pod-0".into());
    let database = Database::default();
    let mut first = Member::join(&broker.connection, &settings, &database);
    step_until("the partition", &mut [&mut first], |members| !members[0].partitions().is_empty());
    let group = first.consumer.group_metadata().unwrap();
    let mut second = Member::join(&broker.connection, &settings, &database);
    step_until("the second's partition", &mut [&mut second], |members| !members[0].partitions().is_empty());
    let producer = broker.transactional(&unique("worker"));
    open_transaction(&producer, &to);
    let error = producer.send_offsets(&[commit_at(&from, 1, "")], &group, DEADLINE).unwrap_err();
    assert!(matches!(error, KafkaError::MemberGone { .. }), "{error:?}");
    producer.abort_transaction(DEADLINE).unwrap();
    broker.delete(&[&from, &to]);
}

#[test]
fn a_fenced_producer_learns_it_from_its_offsets() {
    let Some(broker) = broker() else { return };
    let (from, to, id) = (broker.topic("from", 1, &[]), broker.topic("to", 1, &[]), unique("worker"));
    let member = member_of(&broker, &from);
    let group = member.consumer.group_metadata().unwrap();
    let first = broker.transactional(&id);
    open_transaction(&first, &to);
    let _second = broker.transactional(&id);
    let error = match first.send_offsets(&[commit_at(&from, 1, "")], &group, DEADLINE).unwrap_err() {
        KafkaError::MustAbort { .. } => first.abort_transaction(DEADLINE).unwrap_err(),
        error => error,
    };
    assert!(matches!(error, KafkaError::Fenced { .. }), "{error:?}");
    broker.delete(&[&from, &to]);
}

#[test]
fn a_note_that_is_too_long_costs_the_transaction_and_not_the_producer() {
    let Some(broker) = broker() else { return };
    let (from, to) = (broker.topic("from", 1, &[]), broker.topic("to", 1, &[]));
    let member = member_of(&broker, &from);
    let group = member.consumer.group_metadata().unwrap();
    let producer = broker.transactional(&unique("worker"));
    open_transaction(&producer, &to);
    let long = commit_at(&from, 1, &"x".repeat(5_000));
    let error = producer.send_offsets(&[long], &group, DEADLINE).unwrap_err();
    assert!(matches!(error, KafkaError::MustAbort { .. }), "{error:?}");
    producer.abort_transaction(DEADLINE).unwrap();
    open_transaction(&producer, &to);
    let negative = producer.send_offsets(&[commit_at(&from, -1, "")], &group, DEADLINE).unwrap_err();
    assert!(matches!(negative, KafkaError::InvalidArgument { .. }), "{negative:?}");
    producer.send_offsets(&[commit_at(&from, 1, &"x".repeat(4_096))], &group, DEADLINE).unwrap();
    producer.commit_transaction(DEADLINE).unwrap();
    assert_eq!(committed_of(&member, &from)[&partition(&from, 0)].metadata.len(), 4_096);
    broker.delete(&[&from, &to]);
}

/// Prints what the parts of a transaction cost, for those who choose how often to commit.
#[test]
fn many_transactions_with_offsets_are_committed_one_after_the_other() {
    let Some(broker) = broker() else { return };
    let (from, to) = (broker.topic("from", 2, &[]), broker.topic("to", 4, &[]));
    let changelog = broker.topic("changelog", 2, &[]);
    let member = member_of(&broker, &from);
    let producer = broker.transactional(&unique("worker"));
    let spent = run_transactions(&member.consumer, &producer, &from, [&to, &changelog]);
    for (name, mut times) in spent {
        times.sort();
        println!("{name}: median {:?}, worst {:?}", times[times.len() / 2], times[times.len() - 1]);
    }
    assert_eq!(committed_of(&member, &from)[&partition(&from, 0)].offset, 40);
    assert_eq!(acequia_kafka::log::read_range(&broker.connection, &to, DEADLINE).unwrap().len(), 40 * 2_000);
    broker.delete(&[&from, &to, &changelog]);
}

fn run_transactions(
    consumer: &BatchConsumer,
    producer: &Producer,
    from: &str,
    to: [&str; 2],
) -> BTreeMap<&'static str, Vec<Duration>> {
    let mut spent: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for round in 1..=40 {
        let started = Instant::now();
        let mut last = started;
        let mut took = |what| {
            spent.entry(what).or_default().push(last.elapsed());
            last = Instant::now();
        };
        producer.begin_transaction().unwrap();
        for number in 0..2_000 {
            producer.send(to[0], Some(number % 4), Some(b"some key"), Some(&[7; 100])).unwrap();
            producer.send(to[1], Some(number % 2), Some(b"some key"), Some(&[7; 100])).unwrap();
        }
        took("1 send 4,000 records");
        let group = consumer.group_metadata().unwrap();
        producer.send_offsets(&[commit_at(from, round, "watermark 1")], &group, DEADLINE).unwrap();
        took("2 send offsets");
        producer.commit_transaction(DEADLINE).unwrap();
        took("3 commit");
        spent.entry("4 together").or_default().push(started.elapsed());
    }
    spent
}
