//! Consumer groups whose positions live outside Kafka.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use acequia_kafka::admin::Admin;
use acequia_kafka::consumer::{Fault, Rebalance};
use acequia_kafka::log;

use crate::fixture::{Broker, DEADLINE, broker, unique};
use crate::support::{Database, Member, settings, step_until};

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

/// A writer in transactions, every third of them aborted, until it is told to stop.
fn write_until(broker: &Broker, topic: &str, stop: &AtomicBool) {
    let producer = broker.transactional(&unique("writer"));
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        producer.begin_transaction().unwrap();
        for number in 0..40 {
            producer.send(topic, Some(number % 4), None, Some(b"value")).unwrap();
        }
        if round % 3 == 2 {
            producer.abort_transaction(DEADLINE).unwrap();
        } else {
            producer.commit_transaction(DEADLINE).unwrap();
        }
    }
}

#[test]
fn what_is_read_through_many_rebalances_is_what_the_log_holds() {
    let Some(broker) = broker() else { return };
    let (topic, database) = (broker.topic("churn", 4, &[]), Database::default());
    let settings = settings(&unique("group"), &[&topic]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| write_until(&broker, &topic, &stop));
        let mut oldest = Member::join(&broker.connection, &settings, &database);
        for round in 0..6 {
            let mut newest = Member::join(&broker.connection, &settings, &database);
            step_until("two partitions each", &mut [&mut oldest, &mut newest], |members| {
                members.iter().all(|member| member.partitions().len() == 2)
            });
            let enough = database.read_count() + 500;
            step_until("records", &mut [&mut oldest, &mut newest], |_| database.read_count() >= enough);
            let leaving = std::mem::replace(&mut oldest, newest);
            // Every other one dies instead, which the group notices after the session.
            if round % 2 == 0 {
                leaving.consumer.close(DEADLINE).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        step_until("the dead one's partitions", &mut [&mut oldest], |members| {
            members[0].partitions().len() == 4
        });
        let written = || log::read_range(&broker.connection, &topic, DEADLINE).unwrap();
        let count = || written().len();
        step_until("every record", &mut [&mut oldest], |members| {
            members[0].ends.iter().map(|end| end.partition).collect::<BTreeSet<_>>().len() == 4
                && database.read_count() >= count()
        });
        let written: Vec<_> = written().iter().map(|record| (record.partition, record.offset)).collect();
        assert!(written.len() >= 3_000, "{}", written.len());
        assert_eq!(database.read_of(&topic), written);
    });
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
fn a_member_that_stops_polling_loses_its_partitions_and_gets_them_back_when_it_polls() {
    let Some(broker) = broker() else { return };
    let (topic, group) = (broker.topic("slow", 2, &[]), unique("group"));
    let (mut settings, database) = (settings(&group, &[&topic]), Database::default());
    settings.max_poll_interval_ms = settings.session_timeout_ms;
    let mut member = Member::join(&broker.connection, &settings, &database);
    broker.write(&topic, 2, 20);
    step_until("the first records", &mut [&mut member], |_| database.read_count() == 20);
    let left = || {
        broker.admin.describe_groups(std::slice::from_ref(&group), DEADLINE).unwrap()[&group]
            .members
            .is_empty()
    };
    step_until("the member to be missed", &mut [], |_| left());
    broker.write(&topic, 2, 20);
    step_until("the other records", &mut [&mut member], |_| database.read_count() == 40);
    database.assert_each_record_once();
    assert!(member.faults.contains(&Fault::MaxPollExceeded), "{:?}", member.faults);
    let lost = |change: &Rebalance| matches!(change, Rebalance::Lost(partitions) if partitions.len() == 2);
    assert!(member.rebalances.iter().any(lost), "{:?}", member.rebalances);
    broker.delete(&[&topic]);
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

/// A coordinator gives a static member that comes back what it had (KAFKA-13435).
#[test]
fn a_static_member_that_comes_back_reads_partitions_and_topics_that_were_added_meanwhile() {
    let Some(broker) = broker() else { return };
    let [one, other] = ["static-one", "static-other"].map(|what| broker.topic(what, 1, &[]));
    let (group, database) = (unique("group"), Database::default());
    let reads = |topics: &[&str]| {
        let mut settings = settings(&group, topics);
        settings.instance_id = Some("pod-0".into());
        // Nothing comes from a session that is over.
        settings.session_timeout_ms = 300_000;
        settings
    };
    let mut before = Member::join(&broker.connection, &reads(&[&one]), &database);
    step_until("the partition", &mut [&mut before], |members| members[0].partitions().len() == 1);
    before.consumer.close(DEADLINE).unwrap();
    let admin = Admin::connect(&broker.connection, "acequia-test").unwrap();
    let grown = admin.create_partitions(&[(one.clone(), 3)], DEADLINE).unwrap();
    assert!(grown.values().all(Result::is_ok), "{grown:?}");
    let mut again = Member::join(&broker.connection, &reads(&[&one, &other]), &database);
    step_until("all partitions", &mut [&mut again], |members| members[0].partitions().len() == 4);
    broker.write(&one, 3, 30);
    broker.write(&other, 1, 10);
    step_until("all records", &mut [&mut again], |_| database.read_count() >= 40);
    database.assert_each_record_once();
    again.consumer.close(DEADLINE).unwrap();
    // What it no longer subscribes to is not read.
    broker.write(&one, 3, 30);
    broker.write(&other, 1, 10);
    let mut fewer = Member::join(&broker.connection, &reads(&[&other]), &database);
    step_until("its records", &mut [&mut fewer], |members| {
        database.read_count() >= 50 && members[0].partitions() == [(other.clone(), 0)]
    });
    let is_foreign = |change: &Rebalance| matches!(change, Rebalance::Assigned(all) if all.iter().any(|p| *p.topic == *one));
    assert!(!fewer.rebalances.iter().any(is_foreign), "{:?}", fewer.rebalances);
    assert_eq!(database.read_count(), 50);
    broker.delete(&[&one, &other]);
}

#[test]
fn a_static_member_that_comes_back_beside_another_gets_its_share_of_what_was_added() {
    let Some(broker) = broker() else { return };
    let topic = broker.topic("static-two", 2, &[]);
    let (group, database) = (unique("group"), Database::default());
    let join = |instance: &str| {
        let mut settings = settings(&group, &[&topic]);
        settings.instance_id = Some(instance.into());
        settings.session_timeout_ms = 300_000;
        // The one that stays doesn't see it by itself.
        settings.metadata_refresh_ms = 300_000;
        Member::join(&broker.connection, &settings, &database)
    };
    let (mut leader, mut other) = (join("pod-0"), join("pod-1"));
    step_until("one partition each", &mut [&mut leader, &mut other], |members| {
        members.iter().all(|member| member.partitions().len() == 1)
    });
    other.consumer.close(DEADLINE).unwrap();
    let admin = Admin::connect(&broker.connection, "acequia-test").unwrap();
    let grown = admin.create_partitions(&[(topic.clone(), 4)], DEADLINE).unwrap();
    assert!(grown.values().all(Result::is_ok), "{grown:?}");
    let mut again = join("pod-1");
    step_until("all partitions", &mut [&mut leader, &mut again], |members| {
        members.iter().map(|member| member.partitions().len()).sum::<usize>() == 4
    });
    broker.delete(&[&topic]);
}

#[test]
fn a_member_that_gets_no_partition_hears_that_it_has_joined() {
    let Some(broker) = broker() else { return };
    let (topic, database) = (broker.topic("spare", 1, &[]), Database::default());
    let settings = settings(&unique("group"), &[&topic]);
    let mut first = Member::join(&broker.connection, &settings, &database);
    step_until("the partition", &mut [&mut first], |members| !members[0].partitions().is_empty());
    let mut spare = Member::join(&broker.connection, &settings, &database);
    step_until("the spare member to hear of its group", &mut [&mut first, &mut spare], |members| {
        members[1].rebalances.contains(&Rebalance::Assigned(Vec::new()))
    });
    assert!(spare.partitions().is_empty());
    first.consumer.close(DEADLINE).unwrap();
    step_until("the partition of the one that left", &mut [&mut spare], |members| {
        !members[0].partitions().is_empty()
    });
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
    assert!(broker.admin.list_groups(DEADLINE).unwrap().contains(&group));
    let members: Vec<_> = described[&group].members.iter().map(|m| (&*m.client_id, &m.partitions)).collect();
    assert_eq!(members, [("test", &vec![(topic.clone(), 0)])]);
    let in_use = broker.admin.delete_groups(&names[..1], DEADLINE).unwrap();
    assert!(in_use[&group].is_err(), "a group with members can't be deleted");

    member.consumer.close(DEADLINE).unwrap();
    let deleted = broker.admin.delete_groups(&names, DEADLINE).unwrap();
    assert_eq!(deleted[&group], Ok(()));
    assert!(deleted[&names[1]].as_ref().unwrap_err().is_not_found(), "{deleted:?}");
    assert!(committed().is_empty() && !broker.admin.list_groups(DEADLINE).unwrap().contains(&group));
    broker.delete(&[&topic]);
}
