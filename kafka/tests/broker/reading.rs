//! Partitions read to their end, and followed.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use acequia_kafka::admin::OffsetOf;
use acequia_kafka::consumer::{Fault, LogReader, LogReaderSettings, Position, TopicPartition};
use acequia_kafka::log::{self, PartitionEnd};
use acequia_kafka::producer::{Producer, ProducerSettings};
use acequia_kafka::{Connection, KafkaError};

use crate::fixture::{Broker, DEADLINE, broker, unique};

fn position(topic: &str, offset: i64) -> Position {
    Position { topic: Arc::from(topic), partition: 0, offset }
}

/// The values of partition 0, and where it ends.
fn read(
    connection: &Connection,
    topic: &str,
    deadline: Duration,
) -> Result<(Vec<String>, PartitionEnd), KafkaError> {
    let mut values = Vec::new();
    let end = log::read_partition(connection, topic, 0, deadline, |record| {
        values.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
    })?;
    Ok((values, end))
}

fn send(producer: &Producer, topic: &str, values: &[&str]) {
    for value in values {
        producer.send(topic, Some(0), Some(value.as_bytes()), Some(value.as_bytes())).unwrap();
    }
    while producer.in_flight() > 0 {
        producer.poll(Duration::from_millis(1));
    }
}

fn write_in_transaction(producer: &Producer, topic: &str, values: &[&str], commit: bool) {
    producer.begin_transaction().unwrap();
    send(producer, topic, values);
    if commit { producer.commit_transaction(DEADLINE) } else { producer.abort_transaction(DEADLINE) }
        .unwrap();
}

/// The ends of partition 0 once the marker that a commit or an abort may still be writing is there.
fn await_end(broker: &Broker, topic: &str, end: i64) {
    let started = Instant::now();
    loop {
        let extent = log::extent(&broker.connection, topic, OffsetOf::LatestCommitted, DEADLINE).unwrap();
        if extent.ends[0].offset == end {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{extent:?} never became {end}");
    }
}

#[test]
fn an_open_transaction_below_the_end_is_waited_for_whether_it_is_committed_or_aborted() {
    let Some(broker) = broker() else { return };
    // The broker shall not abort it meanwhile, however long a busy machine takes.
    let patient = ProducerSettings { transaction_timeout_ms: 60_000, ..ProducerSettings::new("test") };
    for commit in [true, false] {
        let topic = broker.topic("restored", 1, &[]);
        let open = broker.transactional_with(&unique("open"), patient.clone());
        let other = broker.transactional(&unique("other"));
        write_in_transaction(&other, &topic, &["first"], true);
        open.begin_transaction().unwrap();
        send(&open, &topic, &["open"]);
        write_in_transaction(&other, &topic, &["behind it"], true);
        // Offsets: first 0, marker 1, open 2, behind it 3, marker 4.
        // However long it may take, it gets as far as the open transaction and no further; a busy machine takes longer.
        let far_enough = [1, 4, 15].into_iter().any(|seconds| {
            let early = read(&broker.connection, &topic, Duration::from_secs(seconds)).unwrap_err();
            assert!(matches!(early, KafkaError::Timeout { .. }), "{early:?}");
            early.to_string().contains("read to 2 of")
        });
        assert!(far_enough, "it stopped before the open transaction");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| read(&broker.connection, &topic, DEADLINE).unwrap());
            if commit { open.commit_transaction(DEADLINE) } else { open.abort_transaction(DEADLINE) }
                .unwrap();
            let over = Instant::now();
            let (values, _) = waiting.join().unwrap();
            println!("read {:?} after the transaction's end", over.elapsed());
            let expected: &[&str] =
                if commit { &["first", "open", "behind it"] } else { &["first", "behind it"] };
            assert_eq!(values, expected);
        });
        await_end(&broker, &topic, 6);
        let (values, end) = read(&broker.connection, &topic, DEADLINE).unwrap();
        assert_eq!((end.start, end.end), (0, 6));
        assert_eq!(end.records, values.len() as u64);
        broker.delete(&[&topic]);
    }
}

#[test]
fn a_partition_without_records_is_read_at_once_and_a_missing_one_is_an_error() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("empty", 1, &[]);
    let started = Instant::now();
    let (values, end) = read(&broker.connection, &topic, DEADLINE).unwrap();
    println!("an empty partition took {:?}", started.elapsed());
    assert_eq!((values.len(), end), (0, PartitionEnd { start: 0, end: 0, records: 0 }));
    let producer = broker.transactional(&unique("writer"));
    write_in_transaction(&producer, &topic, &["thrown away", "this too"], false);
    await_end(&broker, &topic, 3);
    let started = Instant::now();
    let (values, end) = read(&broker.connection, &topic, DEADLINE).unwrap();
    println!("an aborted transaction alone took {:?}", started.elapsed());
    assert_eq!((values.len(), end), (0, PartitionEnd { start: 0, end: 3, records: 0 }));
    let missing = log::read_partition(&broker.connection, &topic, 7, DEADLINE, |_| {}).unwrap_err();
    assert!(missing.is_not_found(), "{missing:?}");
    let missing = read(&broker.connection, &unique("missing"), DEADLINE).unwrap_err();
    assert!(missing.is_not_found(), "{missing:?}");
    broker.delete(&[&topic]);
}

#[test]
fn a_log_whose_last_offsets_were_compacted_away_is_read_to_its_end() {
    let Some(broker) = broker() else { return };
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("delete.retention.ms", "0"),
    ];
    let topic = broker.topic("compacted-tail", 1, &config);
    let producer = broker.transactional(&unique("writer"));
    write_in_transaction(&producer, &topic, &["a", "b", "c"], true);
    write_in_transaction(&producer, &topic, &["a", "b"], true);
    // The marker has the last segment for itself, so all records before it may go.
    producer.begin_transaction().unwrap();
    for key in ["a", "b", "c"] {
        producer.send(&topic, Some(0), Some(key.as_bytes()), None).unwrap();
    }
    producer.commit_transaction(DEADLINE).unwrap();
    let started = Instant::now();
    for round in 0_u64.. {
        // Tombstones go when the log is cleaned for the second time, and without news it isn't.
        write_in_transaction(&producer, &topic, &["thrown away"], false);
        let cleaned_by = Duration::from_secs((round + 1) * 16);
        let mut end = read(&broker.connection, &topic, DEADLINE).unwrap().1;
        while end.records > 0 && started.elapsed() < cleaned_by {
            end = read(&broker.connection, &topic, DEADLINE).unwrap().1;
        }
        if end.records == 0 {
            break;
        }
        assert!(round < 4, "{end:?}: the broker's cleaner doesn't come");
    }
    broker.delete(&[&topic]);
}

#[test]
fn a_large_partition_is_read_in_order_and_whole() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("large", 1, &[]);
    let count: i64 =
        std::env::var("ACEQUIA_TEST_LARGE").map_or(200_000, |count| count.parse().expect("a number"));
    let producer = broker.producer();
    for number in 0..count {
        producer
            .send(&topic, Some(0), Some(&number.to_be_bytes()), Some(b"a value of 30 bytes, about."))
            .unwrap();
    }
    producer.flush(DEADLINE).unwrap();
    let started = Instant::now();
    let mut next = 0_i64;
    let end = log::read_partition(&broker.connection, &topic, 0, DEADLINE, |record| {
        assert_eq!((record.offset, record.key), (next, Some(&next.to_be_bytes()[..])));
        next += 1;
    });
    println!("{count} records took {:?}", started.elapsed());
    assert_eq!(end.unwrap(), PartitionEnd { start: 0, end: count, records: count.unsigned_abs() });
    broker.delete(&[&topic]);
}

/// Polls until the condition holds; the values that came.
fn poll_until(
    reader: &mut LogReader,
    what: &str,
    holds: impl Fn(&LogReader, &[String]) -> bool,
) -> Vec<String> {
    let (started, mut values) = (Instant::now(), Vec::new());
    while !holds(reader, &values) {
        assert!(
            started.elapsed() < DEADLINE,
            "waited in vain for {what}; {values:?}; {:?}",
            reader.positions()
        );
        let polled = reader.poll(100, Duration::from_millis(20));
        assert_eq!(polled.faults, []);
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        values.extend(polled.records.iter().map(|record| text(record.value)));
    }
    values
}

#[test]
fn a_reader_loads_a_topic_to_its_end_and_then_follows_it_without_a_group() {
    let Some(broker) = broker() else { return };
    let (topic, late) = (broker.topic("rows", 1, &[]), broker.topic("late", 1, &[]));
    let producer = broker.transactional(&unique("writer"));
    write_in_transaction(&producer, &topic, &["1", "2"], true);
    write_in_transaction(&producer, &topic, &["never"], false);
    await_end(&broker, &topic, 5);
    let extent = log::extent(&broker.connection, &topic, OffsetOf::Latest, DEADLINE).unwrap();
    let mut settings = LogReaderSettings::new("test");
    settings.queued_max_kbytes = 512;
    let mut reader = LogReader::connect_with(&broker.connection, &settings).unwrap();
    assert!(!reader.has_reached(&extent.ends), "not followed yet");
    reader.follow(&extent.starts).unwrap();
    let loaded = poll_until(&mut reader, "the end", |reader, _| reader.has_reached(&extent.ends));
    assert_eq!(loaded, ["1", "2"]);
    assert_eq!(reader.positions(), [position(&topic, 5)]);

    write_in_transaction(&producer, &topic, &["3"], true);
    assert_eq!(poll_until(&mut reader, "the next", |_, values| !values.is_empty()), ["3"]);
    reader.follow(&[position(&late, 0)]).unwrap();
    write_in_transaction(&producer, &late, &["late"], true);
    assert_eq!(poll_until(&mut reader, "the other topic", |_, values| !values.is_empty()), ["late"]);
    write_in_transaction(&producer, &topic, &["4"], true);
    assert_eq!(poll_until(&mut reader, "the first still", |_, values| !values.is_empty()), ["4"]);
    // Offsets: 1 and 2 at 0 and 1, never at 3, 3 at 5, 4 at 7, markers between.
    reader.follow(&[position(&topic, 1)]).unwrap();
    assert!(!reader.has_reached(&[position(&topic, 8)]), "what was read before counts no more");
    assert_eq!(poll_until(&mut reader, "a second time", |_, values| values.len() == 3), ["2", "3", "4"]);
    reader.unfollow(&[TopicPartition { topic: Arc::from(&*topic), partition: 0 }]).unwrap();
    write_in_transaction(&producer, &topic, &["unseen"], true);
    write_in_transaction(&producer, &late, &["late too"], true);
    assert_eq!(poll_until(&mut reader, "the followed one", |_, values| !values.is_empty()), ["late too"]);

    let mut next = LogReader::connect(&broker.connection, "test").unwrap();
    next.follow(&[position(&topic, 6)]).unwrap();
    assert_eq!(poll_until(&mut next, "a restart", |_, values| values.len() == 2), ["4", "unseen"]);
    broker.delete(&[&topic, &late]);
}

#[test]
fn a_reader_isnt_at_an_end_that_an_open_transaction_holds_back() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("held-back", 1, &[]);
    let producer = broker.transactional(&unique("writer"));
    producer.begin_transaction().unwrap();
    send(&producer, &topic, &["open"]);
    let extent = log::extent(&broker.connection, &topic, OffsetOf::Latest, DEADLINE).unwrap();
    let mut reader = LogReader::connect(&broker.connection, "test").unwrap();
    reader.follow(&extent.starts).unwrap();
    // Longer than an empty fetch may take, so that the library has told its end, which is before the transaction.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        assert!(reader.poll(100, Duration::from_millis(20)).records.is_empty());
        assert!(!reader.has_reached(&extent.ends), "{:?}", reader.positions());
    }
    producer.commit_transaction(DEADLINE).unwrap();
    let values = poll_until(&mut reader, "the end", |reader, _| reader.has_reached(&extent.ends));
    assert_eq!(values, ["open"]);
    broker.delete(&[&topic]);
}

#[test]
fn a_reader_that_starts_outside_the_log_says_so_and_goes_on_elsewhere() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("outside", 1, &[]);
    broker.write(&topic, 1, 10);
    let mut reader = LogReader::connect(&broker.connection, "test").unwrap();
    reader.follow(&[position(&topic, 5_000)]).unwrap();
    let started = Instant::now();
    let mut faults = Vec::new();
    while faults.is_empty() {
        assert!(started.elapsed() < DEADLINE);
        faults = reader.poll(100, Duration::from_millis(20)).faults;
    }
    assert_eq!(faults, [Fault::OutOfRange { topic: Arc::from(&*topic), partition: 0 }]);
    reader.follow(&[position(&topic, 8)]).unwrap();
    assert_eq!(poll_until(&mut reader, "the rest", |_, values| values.len() == 2), ["8", "9"]);
    broker.delete(&[&topic]);
}

#[test]
fn a_record_has_its_producers_time_unless_the_topic_asks_for_the_brokers() {
    let Some(broker) = broker() else { return };
    let now_ms = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    let brokers = broker.topic("append-time", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let producers = broker.topic("create-time", 1, &[]);
    // Records wait this long in the producer, so the two times differ.
    let mut settings = ProducerSettings::new("test");
    settings.linger_ms = 400;
    let producer = Producer::connect(&broker.connection, &settings).unwrap();
    for topic in [&brokers, &producers] {
        producer.send(topic, Some(0), None, Some(b"one")).unwrap();
        producer.send(topic, Some(0), None, Some(b"two")).unwrap();
    }
    let sent_ms = now_ms();
    producer.flush(DEADLINE).unwrap();
    let times = |topic: &str| {
        let mut times = Vec::new();
        log::read_partition(&broker.connection, topic, 0, DEADLINE, |record| {
            times.push((record.timestamp_ms().unwrap(), record.append_time_ms()));
        })
        .unwrap();
        assert_eq!(times.len(), 2);
        times
    };
    for (time, append_time) in times(&brokers) {
        assert_eq!(append_time, Some(time));
        assert!(
            time >= sent_ms + 200 && time <= now_ms(),
            "{time} is the broker's, {sent_ms} the producer's"
        );
    }
    for (time, append_time) in times(&producers) {
        assert_eq!(append_time, None);
        assert!(time <= sent_ms, "{time} is the producer's, {sent_ms}");
    }
    broker.delete(&[&brokers, &producers]);
}
