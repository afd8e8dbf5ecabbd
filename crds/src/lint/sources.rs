//! `spec.sources`.

use super::Report;
use crate::debezium_keys;
use crate::manifest::{field, nearest};
use crate::pipeline::csv::{Csv, CsvType};
use crate::pipeline::source::{Connector, Debezium, Http, Source, SourceKind, Sql};

/// Settings of a connector that are said elsewhere, or that would let it load classes and read files of the Connect workers.
const RESERVED: &[(&str, &str)] = &[
    ("name", "is derived from the Pipeline"),
    ("connector.class", "is the field `class`"),
    ("producer.override.", "can load classes and read files"),
    ("consumer.override.", "can load classes and read files"),
    ("admin.override.", "can load classes and read files"),
];

pub(super) fn check(report: &mut Report<'_>) {
    let sources = &report.spec.sources;
    report.unique(sources.iter().map(|source| source.name.as_str()), "spec.sources", "name");
    for (index, source) in sources.iter().enumerate() {
        let path = format!("spec.sources[{index}]");
        one(source, &path, report);
        if let Some(workers) = &source.workers {
            report.workers(workers, &format!("{path}.workers"));
        }
    }
}

fn one(source: &Source, path: &str, report: &mut Report<'_>) {
    let Some(kind) = source.kind() else {
        let kinds = [
            ("debezium", source.debezium.is_some()),
            ("connector", source.connector.is_some()),
            ("sql", source.sql.is_some()),
            ("http", source.http.is_some()),
            ("csv", source.csv.is_some()),
        ];
        let there: Vec<&str> = kinds.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
        if there.is_empty() {
            report.add(path, "has no kind", "add one of `debezium`, `connector`, `sql`, `http` and `csv`");
        } else {
            let message = format!("has two kinds at once: {}", crate::manifest::quoted(&there));
            report.add(path, message, "split it into a source for each");
        }
        return;
    };
    match kind {
        SourceKind::Debezium(debezium) => self::debezium(debezium, &format!("{path}.debezium"), report),
        SourceKind::Connector(connector) => self::connector(connector, &format!("{path}.connector"), report),
        SourceKind::Sql(sql) => self::sql(sql, &format!("{path}.sql"), report),
        SourceKind::Http(http) => self::http(http, &format!("{path}.http"), report),
        SourceKind::Csv(csv) => self::csv(csv, &format!("{path}.csv"), report),
    }
    match kind {
        SourceKind::Debezium(_) | SourceKind::Connector(_) => elsewhere(source, kind.field(), path, report),
        _ => records(source, kind, path, report),
    }
}

/// What a connector does by itself has no place beside it.
fn elsewhere(source: &Source, kind: &str, path: &str, report: &mut Report<'_>) {
    let fields = [
        ("topic", source.topic.is_some(), "name the topics inside it"),
        ("key", source.key.is_some(), "use a transform"),
        ("select", !source.select.is_empty(), "use a transform"),
        ("workers", source.workers.is_some(), "remove it: a connector runs on Kafka Connect"),
    ];
    for (name, _, fix) in fields.iter().filter(|(_, there, _)| *there) {
        report.add_key(format!("{path}.{name}"), format!("has no effect beside `{kind}`"), *fix);
    }
}

fn records(source: &Source, kind: SourceKind<'_>, path: &str, report: &mut Report<'_>) {
    match &source.topic {
        Some(topic) => report.topic(topic, &format!("{path}.topic")),
        None => report.add(path, "does not say where records go", "add `topic: <name>`"),
    }
    let variables =
        if matches!(kind, SourceKind::Http(_)) { &["body", "n", "now"][..] } else { &["event", "now"] };
    for (name, text) in &source.select {
        report.expression(text, &field(&format!("{path}.select"), name), variables);
    }
    let mut names: Vec<&str> = source.select.keys().map(String::as_str).collect();
    if let (SourceKind::Csv(csv), true) = (kind, names.is_empty()) {
        names = csv.columns.iter().map(|column| column.name.as_str()).collect();
    }
    if let Some(key) = &source.key
        && !names.is_empty()
        && !names.contains(&key.as_str())
    {
        let message = format!("`{key}` is no field of the record");
        report.add(format!("{path}.key"), message, super::pick(key, &names));
    }
}

fn debezium(debezium: &Debezium, path: &str, report: &mut Report<'_>) {
    report.postgres(&debezium.store, &format!("{path}.store"), "Debezium captures PostgreSQL databases");
    for (index, captured) in debezium.tables.iter().enumerate() {
        let path = format!("{path}.tables[{index}]");
        report.topic(&captured.topic, &format!("{path}.topic"));
        if debezium.tables[..index].iter().any(|other| other.table == captured.table) {
            report.add(
                format!("{path}.table"),
                format!("`{}` is captured already", captured.table),
                "remove one",
            );
        }
    }
    for (setting, value) in &debezium.config {
        let path = field(&format!("{path}.config"), setting);
        if let Some(why) = debezium_keys::refusal(setting) {
            report.add_key(path, format!("`{setting}` cannot be set here: {why}"), "remove it");
        } else if setting == "heartbeat.interval.ms" && value.to_text().parse::<u64>().is_ok_and(|ms| ms == 0)
        {
            let message = "without heartbeats an idle table lets the database's log grow for ever";
            report.add(path, message, "write a time above 0, in milliseconds");
        } else if !debezium_keys::KEYS.iter().any(|key| key.name == setting) {
            let known: Vec<&str> = debezium_keys::KEYS.iter().map(|key| key.name).collect();
            if let Some(near) = nearest(setting, &known) {
                report.add_key(
                    path,
                    format!("`{setting}` is not a setting"),
                    format!("did you mean `{near}`?"),
                );
            }
        }
    }
}

fn connector(connector: &Connector, path: &str, report: &mut Report<'_>) {
    let from = connector.config_from.iter().enumerate();
    let keys = connector
        .config
        .keys()
        .map(|key| (field(&format!("{path}.config"), key), key))
        .chain(from.map(|(index, from)| (format!("{path}.configFrom[{index}].key"), &from.key)));
    for (path, key) in keys {
        if let Some((_, why)) =
            RESERVED.iter().find(|(name, _)| key == name || (name.ends_with('.') && key.starts_with(name)))
        {
            report.add_key(path, format!("`{key}` cannot be set here: it {why}"), "remove it");
        }
    }
    for (index, from) in connector.config_from.iter().enumerate() {
        if connector.config.contains_key(&from.key) {
            let message = format!("`{}` is in `config` already", from.key);
            report.add(format!("{path}.configFrom[{index}].key"), message, "keep one of them");
        }
    }
}

fn sql(sql: &Sql, path: &str, report: &mut Report<'_>) {
    report.postgres(&sql.store, &format!("{path}.store"), "`sql` queries PostgreSQL databases");
    report.query(&sql.query, &format!("{path}.query"));
    report.positive(sql.interval, &format!("{path}.interval"));
    for (name, column) in [("column", &sql.cursor.column), ("key", &sql.cursor.key)] {
        if !sql.query.contains(column.as_str()) && !sql.query.contains('*') {
            let message = format!("`{column}` is not in the query");
            report.add(format!("{path}.cursor.{name}"), message, "select it, or name another column");
        }
    }
}

fn http(http: &Http, path: &str, report: &mut Report<'_>) {
    let numbered = http.url.contains("{n}");
    if let Some(iterate) = &http.iterate {
        if iterate.from > iterate.to {
            let message = format!("`from` {} is above `to` {}", iterate.from, iterate.to);
            report.add(format!("{path}.iterate"), message, "swap them");
        }
        if !numbered {
            report.add(
                format!("{path}.url"),
                "has no `{n}` for the number",
                "put `{n}` into it, or remove `iterate`",
            );
        }
    } else if numbered {
        let fix = "add `iterate: {from: 1, to: 10}`, or remove `{n}`";
        report.add(format!("{path}.url"), "has `{n}`, but nothing says which numbers", fix);
    }
    report.range(http.interval.min, http.interval.max, &format!("{path}.interval"));
    report.positive(http.interval.max, &format!("{path}.interval.max"));
    report.positive(http.timeout, &format!("{path}.timeout"));
}

fn csv(csv: &Csv, path: &str, report: &mut Report<'_>) {
    if csv.origin().is_none() {
        let fix = "write exactly one of `configMap`, `volumeClaim` and `url`";
        report.add(path, "does not say where the one file is", fix);
    }
    report.unique(csv.columns.iter().map(|column| column.name.as_str()), &format!("{path}.columns"), "name");
    for (index, column) in csv.columns.iter().enumerate() {
        let path = format!("{path}.columns[{index}]");
        let number = matches!(column.kind, CsvType::Int | CsvType::Decimal | CsvType::Double);
        let time = matches!(column.kind, CsvType::Date | CsvType::Time | CsvType::Timestamp);
        if column.format.is_some() && !time {
            report.add_key(format!("{path}.format"), "is for dates and times", "remove it or change `type`");
        }
        for (name, bound) in [("min", column.min), ("max", column.max)] {
            if bound.is_some() && !number {
                report.add_key(format!("{path}.{name}"), "is for numbers", "remove it or change `type`");
            }
        }
        if let (Some(min), Some(max)) = (column.min, column.max) {
            report.range(min, max, &path);
        }
    }
}

impl Report<'_> {
    /// Says so when a text is not one reading statement.
    pub(super) fn query(&mut self, query: &str, path: &str) {
        let text = query.trim();
        let first = text.split(|character: char| !character.is_ascii_alphabetic()).next().unwrap_or_default();
        if !["select", "with"].iter().any(|word| first.eq_ignore_ascii_case(word)) {
            self.add(path, "is not a query", "write a SELECT");
        } else if text.contains(';') {
            self.add(path, "has a `;`", "write one statement without it");
        }
    }
}
