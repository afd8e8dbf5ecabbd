//! `spec.kafka`, `spec.connect` and `spec.stores`.

use super::Report;
use crate::pipeline::kafka::SaslMechanism;
use crate::pipeline::source::SourceKind;
use crate::pipeline::store::{Postgres, SslMode, StoreKind};

pub(super) fn check(report: &mut Report<'_>) {
    let spec = report.spec;
    for address in spec.kafka.bootstrap_servers.split(',') {
        host_port(address.trim(), "spec.kafka.bootstrapServers", "kafka:9092", report);
    }
    if let Some(sasl) = &spec.kafka.sasl
        && sasl.mechanism == SaslMechanism::Plain
        && spec.kafka.tls.is_none()
    {
        report.add(
            "spec.kafka.sasl.mechanism",
            "PLAIN without `tls` sends the password in clear",
            "add `tls: {}` to spec.kafka, or use SCRAM-SHA-512",
        );
    }
    connect(report);
    report.unique(spec.stores.iter().map(|store| store.name.as_str()), "spec.stores", "name");
    for (index, store) in spec.stores.iter().enumerate() {
        let path = format!("spec.stores[{index}]");
        match store.kind() {
            Some(StoreKind::Postgres(postgres)) => certificates(postgres, &path, report),
            Some(StoreKind::Redis(redis)) => {
                host_port(&redis.address, &format!("{path}.redis.address"), "redis:6379", report);
            }
            Some(StoreKind::Cassandra(cassandra)) => {
                for (point, address) in cassandra.contact_points.iter().enumerate() {
                    let path = format!("{path}.cassandra.contactPoints[{point}]");
                    host_port(address, &path, "cassandra:9042", report);
                }
            }
            None => {}
        }
    }
}

fn connect(report: &mut Report<'_>) {
    let spec = report.spec;
    let mut kinds =
        spec.sources.iter().enumerate().filter_map(|(index, source)| Some((index, source.kind()?)));
    let needs = kinds.find(|(_, kind)| matches!(kind, SourceKind::Debezium(_) | SourceKind::Connector(_)));
    if let Some((index, kind)) = needs
        && spec.connect.is_none()
    {
        report.add_key(
            format!("spec.sources[{index}].{}", kind.field()),
            "runs on Kafka Connect, but spec.connect is missing",
            "add `connect: {url: \"http://connect:8083\"}` to spec",
        );
    }
}

fn certificates(postgres: &Postgres, path: &str, report: &mut Report<'_>) {
    let verifies = matches!(postgres.ssl_mode, SslMode::VerifyCa | SslMode::VerifyFull);
    if postgres.ca_secret.is_some() && !verifies {
        report.add_key(
            format!("{path}.postgres.caSecret"),
            "is only used with `sslMode` verify-ca or verify-full",
            "write `sslMode: verify-full` or remove it",
        );
    }
    if postgres.host.contains([':', '/']) {
        report.add(
            format!("{path}.postgres.host"),
            format!("`{}` is no host name", postgres.host),
            "write only the name or address; the port is the field `port`",
        );
    }
}

fn host_port(address: &str, path: &str, example: &str, report: &mut Report<'_>) {
    let valid = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['/', ' ']) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if !valid {
        report.add(path, format!("`{address}` is not `host:port`"), format!("write it as `{example}`"));
    }
}
