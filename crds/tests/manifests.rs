//! The five target manifests, which say what a user should be able to write, and the examples, which this version runs.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::path::Path;

use acequia_crds::lint::{Place, not_available};
use acequia_crds::manifest::{self, Document};
use acequia_crds::pipeline::Pipeline;
use acequia_crds::problem::render;
use serde_json::Value;

fn manifests() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            (
                path.file_stem().unwrap().to_string_lossy().into_owned(),
                std::fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    found.sort();
    assert_eq!(found.len(), 5);
    found
}

fn pipeline(name: &str, text: &str) -> Pipeline {
    let documents: Vec<Document> = manifest::read(text).unwrap();
    let (pipeline, problems) = documents[0].pipeline();
    assert!(problems.is_empty(), "{}", render(&problems, name));
    pipeline.unwrap()
}

#[test]
fn the_target_manifests_have_no_problems() {
    for (name, text) in manifests() {
        assert_eq!(pipeline(&name, &text).metadata.name.as_deref(), Some(name.as_str()));
    }
}

#[test]
fn the_target_manifests_mean_the_same_in_yaml_1_1_and_1_2() {
    for (name, text) in manifests() {
        let old = manifest::read(&text).unwrap().remove(0).value;
        let strict = serde_yaml::options! { strict_booleans: true };
        let new: Value = serde_yaml::from_str_with_options(&text, strict).unwrap();
        assert_eq!(old, new, "{name}");
    }
}

#[test]
fn what_is_written_out_reads_back_the_same() {
    for (name, text) in manifests() {
        let pipeline = pipeline(&name, &text);
        let json = serde_json::to_string(&pipeline).unwrap();
        assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), pipeline, "{name}");
        let yaml = serde_yaml::to_string(&pipeline).unwrap();
        assert_eq!(self::pipeline(&name, &yaml), pipeline, "{name}");
    }
}

#[test]
fn what_this_version_lacks_is_named_in_each_of_them() {
    let paths = |name: &str| -> Vec<String> {
        let (name, text) = manifests().into_iter().find(|(other, _)| other == name).unwrap();
        let problems = not_available(&pipeline(&name, &text).spec, Place::Machine);
        assert!(problems.iter().all(|problem| problem.message.ends_with("not available in this version")));
        problems.into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(paths("instashop-cdc"), ["spec.gateway"]);
    let events = (0..4).map(|index| format!("spec.generators[0].templates[{index}].event"));
    assert_eq!(paths("instashop-events"), events.chain(["spec.gateway".to_owned()]).collect::<Vec<_>>());
    assert!(paths("instashop-polling").contains(&"spec.sources[0].sql".to_owned()));
    assert!(paths("instashop-polling").contains(&"spec.transforms[0]".to_owned()));
    let distinct = "spec.aggregations[2].measures[1].countDistinct".to_owned();
    assert!(paths("instashop-polling").contains(&distinct));
    assert!(paths("pizza").contains(&"spec.sources[0].csv".to_owned()));
    assert!(paths("pizza").contains(&"spec.sinks[0].postgres.mode".to_owned()));
    for path in [
        "spec.stores[0].cassandra",
        "spec.sources[0].http",
        "spec.sinks[1].explode",
        "spec.sinks[1].cassandra",
    ] {
        assert!(paths("pokemon").contains(&path.to_owned()), "{path}");
    }
}

#[test]
fn what_a_mirror_would_ignore_is_named() {
    let paths = |topic: &str| -> Vec<String> {
        let text = format!(
            "{{apiVersion: acequia.dev/v1alpha1, kind: Pipeline, metadata: {{name: p}}, spec: {{kafka: {{bootstrapServers: 'k:1'}}, \
             sources: [{{name: s, debezium: {{store: d, tables: [{{table: public.t, topic: captured}}]}}}}], \
             sinks: [{{name: m, from: [{topic}], store: d, postgres: {{mode: mirror, table: t, key: [id], \
             columns: [{{name: id, type: bigint}}, {{name: n, type: text, value: event.m, optional: true}}]}}}}]}}}}"
        );
        let spec = serde_yaml::from_str::<Pipeline>(&text).unwrap().spec;
        not_available(&spec, Place::Machine).into_iter().map(|problem| problem.path).collect()
    };
    assert_eq!(paths("captured"), ["spec.sinks[0].postgres.columns"]);
    let of_column = ["value", "optional"].map(|field| format!("spec.sinks[0].postgres.columns[1].{field}"));
    assert_eq!(paths("other"), of_column);
}

#[test]
fn how_pods_are_can_be_said_where_there_are_pods() {
    let text = "{apiVersion: acequia.dev/v1alpha1, kind: Pipeline, metadata: {name: p}, spec: {kafka: {bootstrapServers: 'k:1'}, \
                workers: {image: i, resources: {cpu: 1}, nodeSelector: {a: b}, tolerations: [{key: k}], replicas: {min: 1, max: 2}}}}";
    let spec = serde_yaml::from_str::<Pipeline>(text).unwrap().spec;
    let paths = |place| -> Vec<String> {
        not_available(&spec, place).into_iter().map(|problem| problem.path).collect()
    };
    let of_pods = ["image", "resources", "nodeSelector", "tolerations"];
    let mut all = of_pods.map(|field| format!("spec.workers.{field}")).to_vec();
    all.push("spec.workers.replicas".to_owned());
    assert_eq!(paths(Place::Machine), all);
    assert_eq!(paths(Place::Cluster), ["spec.workers.replicas"]);
}

#[test]
fn what_an_aggregation_can_not_do_yet_is_named() {
    let paths = |aggregation: &str| -> Vec<String> {
        let text = format!(
            "{{apiVersion: acequia.dev/v1alpha1, kind: Pipeline, metadata: {{name: p}}, spec: {{kafka: {{bootstrapServers: 'k:1'}}, \
             aggregations: [{{name: a, from: [t], {aggregation}}}]}}}}"
        );
        let spec = serde_yaml::from_str::<Pipeline>(&text).unwrap().spec;
        not_available(&spec, Place::Machine).into_iter().map(|problem| problem.path).collect()
    };
    let window = "window: {tumbling: 30s}";
    let (count, topic) = ("measures: [{name: n, count: {}}]", "to: [{topic: o}]");
    assert!(paths(&format!("{window}, {count}, {topic}")).is_empty());
    for (kind, written) in [("hopping", "{size: 5m, every: 1m}"), ("session", "{gap: 1m}")] {
        let found = paths(&format!("window: {{{kind}: {written}}}, {count}, {topic}"));
        assert_eq!(found, [format!("spec.aggregations[0].window.{kind}")]);
    }
    let found = paths(&format!("{window}, measures: [{{name: n, countDistinct: event.id}}], {topic}"));
    assert_eq!(found, ["spec.aggregations[0].measures[0].countDistinct"]);
    for (output, path) in [
        ("store: s, redis: {key: k, as: sortedSet}", "redis.as"),
        ("store: s, cassandra: {table: t}", "cassandra"),
        (
            "store: s, postgres: {table: t, columns: [{name: c, type: text, value: window.start}]}",
            "postgres.columns",
        ),
    ] {
        let found = paths(&format!("{window}, {count}, to: [{{{output}}}]"));
        assert_eq!(found, [format!("spec.aggregations[0].to[0].{path}")]);
    }
    let found = paths(&format!(
        "{window}, where: headers.a == 'b', {count}, groupBy: [{{name: g, value: headers.g}}], {topic}"
    ));
    assert_eq!(found, ["spec.aggregations[0].where", "spec.aggregations[0].groupBy[0].value"]);
}

#[test]
fn every_example_has_no_problem_and_asks_for_nothing_this_version_lacks() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for folder in std::fs::read_dir(examples).unwrap() {
        let path = folder.unwrap().path().join("pipeline.yaml");
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let name = path.display().to_string();
        let missing = not_available(&pipeline(&name, &text).spec, Place::Machine);
        assert!(missing.is_empty(), "{}", render(&missing, &name));
        seen += 1;
    }
    assert!(seen >= 1);
}

#[test]
fn the_setup_of_an_example_names_stores_of_its_pipeline() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/instashop-cdc");
    let text = std::fs::read_to_string(folder.join("pipeline.yaml")).unwrap();
    let spec = pipeline("instashop-cdc", &text).spec;
    let schema = std::fs::read_to_string(folder.join("schema.yaml")).unwrap();
    let config_map = manifest::read(&schema).unwrap().remove(0);
    let setup = spec.generators[0].setup.as_ref().unwrap();
    assert_eq!(config_map.name, setup.config_map);
    let keys: Vec<_> = config_map.config_map_data().into_keys().collect();
    assert_eq!(keys, ["crm.sql", "ecommerce.sql", "erp.sql", "shop.sql"]);
    assert!(keys.iter().all(|key| spec.store(key.trim_end_matches(".sql")).is_some()));
}
