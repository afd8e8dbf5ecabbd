//! `spec.gateway`.

use std::collections::BTreeSet;

use super::Report;
use crate::pipeline::gateway::{Endpoint, EndpointKind, Gateway, Panel, PanelKind, Parameter, ParameterType};
use crate::pipeline::store::Store;
use crate::pipeline::text::IntOrText;

pub(super) fn check(report: &mut Report<'_>) {
    let Some(gateway) = &report.spec.gateway else { return };
    let paths = gateway.endpoints.iter().map(|endpoint| endpoint.path.as_str());
    report.unique(paths, "spec.gateway.endpoints", "path");
    for (index, endpoint) in gateway.endpoints.iter().enumerate() {
        self::endpoint(endpoint, &format!("spec.gateway.endpoints[{index}]"), report);
    }
    if let Some(dashboard) = &gateway.dashboard {
        report.positive(dashboard.refresh, "spec.gateway.dashboard.refresh");
        for (index, panel) in dashboard.panels.iter().enumerate() {
            self::panel(panel, gateway, &format!("spec.gateway.dashboard.panels[{index}]"), report);
        }
    }
    if let Some(workers) = &gateway.workers {
        report.workers(workers, "spec.gateway.workers");
    }
}

fn endpoint(endpoint: &Endpoint, path: &str, report: &mut Report<'_>) {
    let store = report.store(&endpoint.store, &format!("{path}.store")).and_then(Store::kind);
    let Some(kind) = endpoint.kind() else {
        report.add(path, "does not say what it answers", "write exactly one of `query` and `redis`");
        return;
    };
    let redis = matches!(kind, EndpointKind::Redis(_));
    if let Some(store) = store
        && (store.field() == "redis") != redis
    {
        let message = format!("`{}` is a {} store", endpoint.store, store.field());
        let fix = if redis {
            "write a `query`, or name a redis store"
        } else {
            "write `redis: {key: …}`, or name another store"
        };
        report.add(format!("{path}.store"), message, fix);
    }
    let names = endpoint.parameters.iter().map(|parameter| parameter.name.as_str());
    report.unique(names.clone(), &format!("{path}.parameters"), "name");
    for (index, parameter) in endpoint.parameters.iter().enumerate() {
        self::parameter(parameter, &format!("{path}.parameters[{index}]"), report);
    }
    let (field, used) = match kind {
        EndpointKind::Query(query) => {
            report.query(query, &format!("{path}.query"));
            ("query", placeholders(query))
        }
        EndpointKind::Redis(redis) => ("redis.key", braces(&redis.key)),
    };
    for name in used.iter().filter(|name| !names.clone().any(|parameter| parameter == **name)) {
        let fix = format!("add `parameters: [{{name: {name}, type: int}}]`");
        report.add(format!("{path}.{field}"), format!("`{name}` is no parameter"), fix);
    }
    for (index, name) in names.enumerate().filter(|(_, name)| !used.contains(name)) {
        let message = format!("`{name}` is not used");
        report.add(
            format!("{path}.parameters[{index}].name"),
            message,
            format!("put it into `{field}` or remove it"),
        );
    }
    if let Some(limit) = &endpoint.limit
        && limit.default > limit.max
    {
        let message = format!("`default` {} is above `max` {}", limit.default, limit.max);
        report.add(format!("{path}.limit"), message, "lower `default`");
    }
}

fn parameter(parameter: &Parameter, path: &str, report: &mut Report<'_>) {
    if let (Some(min), Some(max)) = (parameter.min, parameter.max) {
        report.range(min, max, path);
    }
    if parameter.kind != ParameterType::Int && (parameter.min.is_some() || parameter.max.is_some()) {
        report.add(path, "`min` and `max` are for `type: int`", "remove them or change `type`");
    }
    match (parameter.kind, &parameter.default) {
        (ParameterType::Int, Some(IntOrText::Int(number))) => {
            let below = parameter.min.is_some_and(|min| *number < min);
            if below || parameter.max.is_some_and(|max| *number > max) {
                let message = format!("{number} is not between `min` and `max`");
                report.add(format!("{path}.default"), message, "choose one between them");
            }
        }
        (ParameterType::Int, Some(IntOrText::Text(text))) => {
            report.add(
                format!("{path}.default"),
                format!("`{text}` is not a whole number"),
                "write a number",
            );
        }
        _ => {}
    }
}

fn panel(panel: &Panel, gateway: &Gateway, path: &str, report: &mut Report<'_>) {
    let paths: Vec<&str> = gateway.endpoints.iter().map(|endpoint| endpoint.path.as_str()).collect();
    if !paths.contains(&panel.endpoint.as_str()) {
        let message = format!("`{}` is the path of no endpoint", panel.endpoint);
        report.add(format!("{path}.endpoint"), message, super::pick(&panel.endpoint, &paths));
    }
    let (label, value) = match panel.kind {
        PanelKind::Stat | PanelKind::Text => (false, true),
        PanelKind::Timeseries | PanelKind::Bar | PanelKind::Pie => (true, true),
        PanelKind::Table => (false, false),
    };
    let series = matches!(panel.kind, PanelKind::Timeseries | PanelKind::Bar);
    let fields = [("label", label, panel.label.is_some()), ("value", value, panel.value.is_some())];
    for (field, wanted, there) in fields {
        if wanted && !there {
            report.add(
                format!("{path}.{field}"),
                "is missing for this `kind`",
                "name a field of the endpoint's answer",
            );
        } else if there && !wanted {
            report.add_key(format!("{path}.{field}"), "has no effect on this `kind`", "remove it");
        }
    }
    if panel.series.is_some() && !series {
        report.add_key(format!("{path}.series"), "is for `timeseries` and `bar`", "remove it");
    }
}

/// The `:name` parts of a query, outside texts, comments and `::type`.
fn placeholders(query: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut quote = None;
    let mut previous = ' ';
    for (index, character) in query.char_indices() {
        match quote {
            Some(open) if character == open => quote = None,
            None if character == '\'' || character == '"' => quote = Some(character),
            None if character == ':' && previous != ':' => {
                let rest = &query[index + 1..];
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                if rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
                    found.insert(&rest[..end]);
                }
            }
            _ => {}
        }
        previous = character;
    }
    found
}

/// The `{name}` parts of a key.
fn braces(key: &str) -> BTreeSet<&str> {
    key.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::placeholders;

    #[test]
    fn parameters_are_found_outside_texts_and_casts() {
        let query = "SELECT a::date, ':no', \":no\" FROM t WHERE b > :from AND c < now() - make_interval(mins => :minutes)";
        assert_eq!(placeholders(query).into_iter().collect::<Vec<_>>(), ["from", "minutes"]);
    }
}
