//! `spec.sinks`.

use std::collections::BTreeMap;

use super::Report;
use super::expressions::{RECORD, ROW};
use super::transforms::captures;
use crate::column_type::ColumnType;
use crate::pipeline::sink::{CassandraSink, Column, PostgresSink, Sink, SinkKind, WriteMode};
use crate::pipeline::store::Store;

pub(super) fn check(report: &mut Report<'_>) {
    let sinks = &report.spec.sinks;
    report.unique(sinks.iter().map(|sink| sink.name.as_str()), "spec.sinks", "name");
    for (index, sink) in sinks.iter().enumerate() {
        let path = format!("spec.sinks[{index}]");
        one(sink, &path, report);
        if let Some(group) = &sink.group
            && sinks[..index].iter().any(|other| other.group.as_ref() == Some(group))
        {
            let message = format!(
                "`{group}` is the group of another sink, and they would take each other's partitions"
            );
            report.add(format!("{path}.group"), message, "give each a group of its own");
        }
        if let Some(workers) = &sink.workers {
            report.workers(workers, &format!("{path}.workers"));
        }
    }
}

fn one<'a>(sink: &'a Sink, path: &str, report: &mut Report<'a>) {
    report.inputs(&sink.from, path);
    let store = report.store(&sink.store, &format!("{path}.store"));
    let Some(kind) = sink.kind() else {
        if sink.postgres.is_some() {
            report.add(path, "has `postgres` and `cassandra` at once", "split it into two sinks");
        } else {
            report.add(path, "does not say how to write", "add `postgres` or `cassandra`, as its store is");
        }
        return;
    };
    let field = match kind {
        SinkKind::Postgres(_) => "postgres",
        SinkKind::Cassandra(_) => "cassandra",
    };
    if let Some(store) = store.and_then(Store::kind)
        && store.field() != field
    {
        let message = format!("`{}` is a {} store, but the sink writes `{field}`", sink.store, store.field());
        report.add(format!("{path}.store"), message, format!("name a {field} store of spec.stores"));
    }
    let mirror = matches!(kind, SinkKind::Postgres(postgres) if postgres.mode == WriteMode::Mirror);
    let record: Vec<&str> = if mirror { [RECORD, ROW].concat() } else { RECORD.to_vec() };
    let variables = report.steps(sink.explode.as_ref(), &[], path, &record);
    match kind {
        SinkKind::Postgres(postgres) => {
            let path = format!("{path}.postgres");
            columns(&postgres.columns, &path, &variables, true, report);
            match postgres.mode {
                WriteMode::Mirror => self::mirror(sink, postgres, &path, report),
                WriteMode::Append | WriteMode::Upsert => table(postgres, &path, report),
            }
        }
        SinkKind::Cassandra(cassandra) => {
            let path = format!("{path}.cassandra");
            columns(&cassandra.columns, &path, &variables, false, report);
            primary_key(cassandra, &path, report);
        }
    }
}

/// The columns of a table: names, types, values.
pub(super) fn columns(
    list: &[Column],
    path: &str,
    variables: &[&str],
    postgres: bool,
    report: &mut Report<'_>,
) {
    report.unique(list.iter().map(|column| column.name.as_str()), &format!("{path}.columns"), "name");
    for (index, column) in list.iter().enumerate() {
        let path = format!("{path}.columns[{index}]");
        if postgres && let Err(error) = ColumnType::parse(&column.type_name) {
            report.add(format!("{path}.type"), error.message, error.fix);
        }
        report.optional_expression(column.value.as_ref(), &format!("{path}.value"), variables);
    }
}

/// Modes that write one table from columns.
fn table(sink: &PostgresSink, path: &str, report: &mut Report<'_>) {
    let mode = if sink.mode == WriteMode::Append { "append" } else { "upsert" };
    if sink.table.is_none() {
        report.add(
            format!("{path}.table"),
            format!("is missing, which `{mode}` needs"),
            "add `table: <name>`",
        );
    }
    if sink.columns.is_empty() {
        let fix = "add at least one, for example `{name: id, type: bigint}`";
        report.add(format!("{path}.columns"), format!("is missing, which `{mode}` needs"), fix);
    }
    if sink.mode == WriteMode::Append && !sink.key.is_empty() {
        report.add_key(
            format!("{path}.key"),
            "has no effect: `append` adds every record",
            "remove it, or use `upsert`",
        );
    } else if sink.mode == WriteMode::Upsert && sink.key.is_empty() {
        let fix = "name the columns that identify a row: `key: [id]`";
        report.add(format!("{path}.key"), "is missing, which `upsert` needs", fix);
    }
    key(&sink.key, &sink.columns, &format!("{path}.key"), report);
}

/// Every part of a key is a column, and is always there.
fn key(key: &[String], columns: &[Column], path: &str, report: &mut Report<'_>) {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    for (index, name) in key.iter().enumerate() {
        let path = format!("{path}[{index}]");
        match columns.iter().find(|column| column.name == *name) {
            None => report.add(path, format!("`{name}` is not in `columns`"), super::pick(name, &names)),
            Some(column) if column.optional => {
                let message = format!("`{name}` is optional, but a key is always there");
                report.add(path, message, "remove `optional` of that column");
            }
            Some(_) => {}
        }
    }
}

fn mirror(sink: &Sink, postgres: &PostgresSink, path: &str, report: &mut Report<'_>) {
    let spec = report.spec;
    if !postgres.columns.is_empty() && postgres.key.is_empty() {
        let fix = "name the columns that identify a row: `key: [id]`";
        report.add(format!("{path}.key"), "is missing, which a mirror with `columns` needs", fix);
    }
    key(&postgres.key, &postgres.columns, &format!("{path}.key"), report);
    if postgres.columns.is_empty() && !postgres.key.is_empty() {
        report.add_key(
            format!("{path}.key"),
            "has no effect without `columns`",
            "add `columns` or remove it",
        );
    }
    if sink.from.len() > 1 && (postgres.table.is_some() || !postgres.columns.is_empty()) {
        let field = if postgres.table.is_some() { "table" } else { "columns" };
        let message = "is for one topic, but a mirror writes each topic to a table of its own";
        report.add_key(format!("{path}.{field}"), message, "remove it, or make a sink for each topic");
        return;
    }
    let mut tables = BTreeMap::new();
    for (index, topic) in sink.from.iter().enumerate() {
        let from = format!("{}.from[{index}]", path.trim_end_matches(".postgres"));
        let captured = captures(spec, topic);
        let Some((_, table)) = captured.first() else {
            let described = !postgres.columns.is_empty() && postgres.table.is_some();
            if spec.topic(topic).is_some() && !described {
                let fix = "capture it with a debezium source, or describe the table with `table`, `columns` and `key`";
                report.add(
                    from,
                    format!("no source of this Pipeline captures `{topic}`, so its table is unknown"),
                    fix,
                );
            }
            continue;
        };
        let name = table.table.rsplit('.').next().unwrap_or(&table.table);
        if let Some(other) = tables.insert(name, topic)
            && other != topic
        {
            let message = format!("`{topic}` and `{other}` are both mirrored into the table `{name}`");
            report.add(from, message, "make a sink for each, and give one another `table`");
        }
    }
}

fn primary_key(sink: &CassandraSink, path: &str, report: &mut Report<'_>) {
    key(&sink.primary_key, &sink.columns, &format!("{path}.primaryKey"), report);
}
