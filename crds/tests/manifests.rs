//! The five target manifests: what a user should be able to write.

use acequia_crds::pipeline::Pipeline;

#[test]
fn the_target_manifests_are_pipelines() {
    let mut seen = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let pipeline: Pipeline =
            serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(pipeline.metadata.name.is_some());
        seen += 1;
    }
    assert_eq!(seen, 5);
}
