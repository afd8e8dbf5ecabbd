//! Topics, their configuration, offsets and logins.

use std::collections::BTreeMap;

use acequia_kafka::admin::{Admin, ConfigChange, NewTopic, OffsetOf};
use acequia_kafka::consumer::Fault;
use acequia_kafka::{Connection, KafkaError, Login, Secret};

use crate::fixture::{DEADLINE, broker, unique};
use crate::support::{Database, Member, settings, step_until};

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
