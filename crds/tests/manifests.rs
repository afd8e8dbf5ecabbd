//! The five target manifests: what a user should be able to write.

use std::path::Path;

use acequia_crds::lint::not_available;
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
        let problems = not_available(&pipeline(&name, &text).spec);
        assert!(problems.iter().all(|problem| problem.message.ends_with("not available in this version")));
        problems.into_iter().map(|problem| problem.path).collect()
    };
    let aggregations = (0..5).map(|index| format!("spec.aggregations[{index}]"));
    let expected: Vec<_> = aggregations.chain(["spec.gateway".to_owned()]).collect();
    assert_eq!(paths("instashop-cdc"), expected);
    let events = (0..4).map(|index| format!("spec.generators[0].templates[{index}].event"));
    assert_eq!(paths("instashop-events"), events.chain(["spec.gateway".to_owned()]).collect::<Vec<_>>());
    assert!(paths("instashop-polling").contains(&"spec.sources[0].sql".to_owned()));
    assert!(paths("instashop-polling").contains(&"spec.transforms[0]".to_owned()));
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
