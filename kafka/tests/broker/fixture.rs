//! The broker that the environment names, and topics on it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use acequia_kafka::Connection;
use acequia_kafka::admin::{Admin, NewTopic};
use acequia_kafka::producer::{Producer, ProducerSettings};

pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Broker {
    pub connection: Connection,
    pub admin: Admin,
}

pub fn broker() -> Option<Broker> {
    let Ok(address) = std::env::var("ACEQUIA_TEST_KAFKA") else {
        eprintln!("skipped: ACEQUIA_TEST_KAFKA names no broker");
        return None;
    };
    let connection = Connection::plaintext(address);
    let admin = Admin::connect(&connection, "test").unwrap();
    Some(Broker { connection, admin })
}

/// A name no earlier test used on the same broker.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    format!("test.{what}.{now_ms}.{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Broker {
    pub fn topic(&self, what: &str, partitions: i32, config: &[(&str, &str)]) -> String {
        let name = unique(what);
        self.create(&name, partitions, config);
        name
    }

    pub fn create(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let topic = NewTopic { name: name.to_owned(), partitions, replication_factor: -1, config };
        let created = self.admin.create_topics(&[topic], false, DEADLINE).unwrap();
        assert_eq!(created.get(name), Some(&Ok(())));
        // Each broker hears of it in its own time.
        let started = Instant::now();
        let names = [name.to_owned()];
        while self.admin.describe_topics(&names, DEADLINE).unwrap().is_empty() {
            assert!(started.elapsed() < DEADLINE, "{name} doesn't come");
        }
    }

    pub fn delete(&self, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.admin.delete_topics(&names, DEADLINE).unwrap();
    }

    pub fn producer(&self) -> Producer {
        Producer::connect(&self.connection, &ProducerSettings::new("test")).unwrap()
    }

    pub fn write(&self, topic: &str, partitions: i32, count: i32) {
        let producer = self.producer();
        for number in 0..count {
            producer
                .send(topic, Some(number % partitions), None, Some(number.to_string().as_bytes()))
                .unwrap();
        }
        producer.flush(DEADLINE).unwrap();
    }

    pub fn transactional(&self, id: &str) -> Producer {
        self.transactional_with(id, ProducerSettings::new("test"))
    }

    pub fn transactional_with(&self, id: &str, mut settings: ProducerSettings) -> Producer {
        settings.transactional_id = Some(id.to_owned());
        let producer = Producer::connect(&self.connection, &settings).unwrap();
        producer.init_transactions(DEADLINE).unwrap();
        producer
    }
}
