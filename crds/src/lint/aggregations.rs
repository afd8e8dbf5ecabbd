//! `spec.aggregations`.

use super::expressions::{RECORD, ROW};
use super::{Report, sinks, tables};
use crate::pipeline::aggregation::{
    Aggregation, EmitKind, Output, OutputKind, RedisLayout, RedisOutput, WindowKind,
};
use crate::pipeline::store::Store;
use crate::pipeline::transform::Format;

/// What is put behind a key for the version of its value.
const VERSION_SUFFIX: &str = ":acequia";

/// Columns that every table of windows has.
const WINDOW_COLUMNS: &[&str] = &["window_start", "window_end"];

pub(super) fn check(report: &mut Report<'_>) {
    let aggregations = &report.spec.aggregations;
    report.unique(aggregations.iter().map(|one| one.name.as_str()), "spec.aggregations", "name");
    for (index, aggregation) in aggregations.iter().enumerate() {
        let path = format!("spec.aggregations[{index}]");
        one(aggregation, &path, report);
        tables::check(aggregation, &path, report);
        own_output(aggregation, &path, report);
        window(aggregation, &path, report);
        for (index, output) in aggregation.to.iter().enumerate() {
            self::output(output, aggregation, &format!("{path}.to[{index}]"), report);
        }
        if let Some(workers) = &aggregation.workers {
            report.workers(workers, &format!("{path}.workers"));
        }
    }
}

fn one<'a>(aggregation: &'a Aggregation, path: &str, report: &mut Report<'a>) {
    report.inputs(&aggregation.from, path);
    let rows = aggregation.format == Format::Debezium;
    let record: Vec<&str> = if rows { [RECORD, ROW].concat() } else { RECORD.to_vec() };
    report.optional_expression(aggregation.latest_by.as_ref(), &format!("{path}.latestBy"), &record);
    if rows && aggregation.latest_by.is_some() {
        let fix = "remove it: rows of a change topic have their table's key already";
        report.add_key(format!("{path}.latestBy"), "is for `format: json`", fix);
    }
    report.optional_expression(aggregation.event_time.as_ref(), &format!("{path}.eventTime"), &record);
    let variables = report.steps(aggregation.explode.as_ref(), &aggregation.lookups, path, &record);
    report.optional_expression(aggregation.filter.as_ref(), &format!("{path}.where"), &variables);
    for (index, group) in aggregation.group_by.iter().enumerate() {
        report.expression(&group.value, &format!("{path}.groupBy[{index}].value"), &variables);
    }
    for (index, measure) in aggregation.measures.iter().enumerate() {
        let path = format!("{path}.measures[{index}]");
        let Some(kind) = measure.kind() else {
            let fix = "write exactly one of `count`, `sum`, `avg`, `min`, `max` and `countDistinct`";
            report.add(&path, format!("`{}` does not say what to compute", measure.name), fix);
            continue;
        };
        if let Some(text) = kind.expression() {
            report.expression(text, &format!("{path}.{}", kind.field()), &variables);
        }
        report.optional_expression(measure.filter.as_ref(), &format!("{path}.where"), &variables);
        report.optional_expression(measure.today.as_ref(), &format!("{path}.today"), &variables);
    }
    names(aggregation, path, report);
}

/// What is looked up would change with what comes out, and a replay would find something else.
fn own_output(aggregation: &Aggregation, path: &str, report: &mut Report<'_>) {
    for (index, lookup) in aggregation.lookups.iter().enumerate() {
        if aggregation.to.iter().any(|output| output.topic.as_ref() == Some(&lookup.topic)) {
            let message = format!("`{}` is what this aggregation writes", lookup.topic);
            report.add(format!("{path}.lookups[{index}].topic"), message, "look up another topic");
        }
    }
}

/// Groups and measures become columns of one row.
fn names(aggregation: &Aggregation, path: &str, report: &mut Report<'_>) {
    let groups = aggregation.group_by.iter().map(|group| group.name.as_str());
    report.unique(groups.clone(), &format!("{path}.groupBy"), "name");
    report.unique(
        aggregation.measures.iter().map(|measure| measure.name.as_str()),
        &format!("{path}.measures"),
        "name",
    );
    let groups: Vec<&str> = groups.collect();
    for (index, measure) in aggregation.measures.iter().enumerate() {
        if groups.contains(&measure.name.as_str()) {
            let message = format!("`{}` is a group already", measure.name);
            report.add(format!("{path}.measures[{index}].name"), message, "choose another name");
        }
    }
    let measures = aggregation.measures.iter().map(|measure| measure.name.as_str()).enumerate();
    let named = groups
        .iter()
        .copied()
        .enumerate()
        .map(|(index, name)| (format!("{path}.groupBy[{index}].name"), name));
    for (path, name) in
        named.chain(measures.map(|(index, name)| (format!("{path}.measures[{index}].name"), name)))
    {
        if WINDOW_COLUMNS.contains(&name) {
            report.add(path, format!("`{name}` is a column of every window already"), "choose another name");
        }
    }
}

fn window(aggregation: &Aggregation, path: &str, report: &mut Report<'_>) {
    let Some(kind) = aggregation.window.kind() else { return };
    let window = format!("{path}.window");
    match kind {
        WindowKind::Tumbling(size) => report.positive(size, &format!("{window}.tumbling")),
        WindowKind::Hopping(hopping) => {
            report.positive(hopping.every, &format!("{window}.hopping.every"));
            let divides = hopping.every.as_ms() > 0 && hopping.size.as_ms() % hopping.every.as_ms() == 0;
            if !divides || hopping.size < hopping.every {
                let message = format!("`every` {} does not divide `size` {}", hopping.every, hopping.size);
                report.add(
                    format!("{window}.hopping"),
                    message,
                    "write, for example, `{size: 5m, every: 1m}`",
                );
            }
        }
        WindowKind::Session(session) => {
            report.positive(session.gap, &format!("{window}.session.gap"));
            if aggregation.format == Format::Debezium || aggregation.latest_by.is_some() {
                let fix = "use tumbling, hopping or global, because rows of a table can be taken back";
                report.add(format!("{window}.session"), "is not possible over the rows of a table", fix);
            }
        }
        WindowKind::Global => {
            let useless = [
                ("watermark", aggregation.watermark),
                ("allowedLateness", aggregation.allowed_lateness),
                ("idleRetention", aggregation.idle_retention),
            ];
            for (field, _) in useless.iter().filter(|(_, there)| there.is_some()) {
                let message = "has no effect on a global window, which never ends";
                report.add_key(format!("{path}.{field}"), message, "remove it or choose another window");
            }
        }
    }
    match aggregation.emit.as_ref().and_then(crate::pipeline::aggregation::Emit::kind) {
        Some(EmitKind::Every(every)) => report.positive(every, &format!("{path}.emit.every")),
        Some(EmitKind::OnClose) if kind == WindowKind::Global => {
            report.add(format!("{path}.emit"), "a global window never closes", "write `emit: {every: 1s}`");
        }
        _ => {}
    }
}

fn output(output: &Output, aggregation: &Aggregation, path: &str, report: &mut Report<'_>) {
    let Some(kind) = output.kind() else {
        let fix = "write exactly one of `topic`, `redis`, `postgres` and `cassandra`, and one entry for each output";
        report.add(path, "is not one output", fix);
        return;
    };
    match (kind, &output.store) {
        (OutputKind::Topic(topic), None) => report.topic(topic, &format!("{path}.topic")),
        (OutputKind::Topic(_), Some(_)) => {
            report.add_key(format!("{path}.store"), "has no effect beside `topic`", "remove one of them");
        }
        (_, None) => report.add(path, "does not say which store", "add `store: <name>`"),
        (_, Some(name)) => {
            if let Some(store) = report.store(name, &format!("{path}.store")).and_then(Store::kind)
                && store.field() != kind.field()
            {
                let message =
                    format!("`{name}` is a {} store, but the output is `{}`", store.field(), kind.field());
                report.add(format!("{path}.store"), message, format!("name a {} store", kind.field()));
            }
        }
    }
    match kind {
        OutputKind::Redis(redis) => self::redis(redis, aggregation, &format!("{path}.redis"), report),
        OutputKind::Postgres(table) | OutputKind::Cassandra(table) => {
            let groups = aggregation.group_by.iter().map(|group| group.name.as_str());
            let measures = aggregation.measures.iter().map(|measure| measure.name.as_str());
            let taken: Vec<&str> = WINDOW_COLUMNS.iter().copied().chain(groups.chain(measures)).collect();
            let mut variables = taken.clone();
            variables.extend(["window", "now"]);
            let path = format!("{path}.{}", kind.field());
            sinks::columns(&table.columns, &path, &variables, kind.field() == "postgres", report);
            for (index, column) in table.columns.iter().enumerate() {
                if taken.contains(&column.name.as_str()) {
                    let message = format!("`{}` is a column already", column.name);
                    report.add(format!("{path}.columns[{index}].name"), message, "choose another name");
                }
            }
        }
        OutputKind::Topic(_) => {}
    }
}

fn redis(redis: &RedisOutput, aggregation: &Aggregation, path: &str, report: &mut Report<'_>) {
    let key = format!("{path}.key");
    let groups: Vec<&str> = aggregation.group_by.iter().map(|group| group.name.as_str()).collect();
    let Some(parts) = parts(&redis.key) else {
        report.add(key, "has a `{` without `}`", "write it as `metrics:{window.start}`");
        return;
    };
    let variables: Vec<&str> = groups.iter().copied().chain(["window"]).collect();
    for part in &parts {
        report.expression(part, &key, &variables);
    }
    let names = |word: &str| {
        parts.iter().any(|part| part.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word))
    };
    let window = aggregation.window.kind();
    if window.is_some_and(|kind| kind != WindowKind::Global) && !names("window") {
        let fix = "put `{window.start}` into the key";
        report.add(&key, "is the same for every window, so they overwrite each other", fix);
    }
    if redis.layout == RedisLayout::Json {
        for group in groups.iter().filter(|group| !names(group)) {
            let message = format!("is the same for every `{group}`, so they overwrite each other");
            report.add(&key, message, format!("put `{{{group}}}` into the key, or write `as: hash`"));
        }
    }
    if redis.key.ends_with(VERSION_SUFFIX) {
        let message = format!("ends in `{VERSION_SUFFIX}`, where the version of another key's value is kept");
        report.add(&key, message, "choose another key");
    }
    if redis.layout == RedisLayout::SortedSet && (groups.is_empty() || aggregation.measures.len() != 1) {
        let fix = "add `groupBy` and keep one measure, or write `as: hash`";
        report.add(format!("{path}.as"), "a sorted set ranks groups by one measure", fix);
    }
    if let Some(ttl) = redis.ttl {
        report.positive(ttl, &format!("{path}.ttl"));
    }
}

/// The expressions in a template of a key; nothing when a brace is not closed.
fn parts(template: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let end = rest[start..].find('}')? + start;
        found.push(&rest[start + 1..end]);
        rest = &rest[end + 1..];
    }
    (!rest.contains('}')).then_some(found)
}
