//! What pods are made of.

use std::collections::{BTreeMap, BTreeSet};

use acequia_crds::names::{PipelineId, StageKind};
use acequia_crds::pipeline::workers::{Toleration, TolerationOperator, Workers};
use k8s_openapi::api::core::v1::{PodSpec, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::objects::{PodSettings, Shape};
use crate::fake_world::stage;
use crate::model::desired::{Job, Role};

fn shape() -> Shape {
    let settings = serde_json::from_str::<PodSettings>(r#"{"image": "acequia:1"}"#).unwrap();
    let pipeline = PipelineId { cluster: "c".into(), namespace: "n".into(), name: "shop".into() };
    Shape { pipeline, uid: "u".into(), settings }
}

fn workers() -> Workers {
    let anywhere = Toleration {
        key: Some("dedicated".into()),
        operator: Some(TolerationOperator::Exists),
        value: None,
        effect: None,
        toleration_seconds: None,
    };
    Workers {
        image: Some("own:2".into()),
        node_selector: BTreeMap::from([("disk".to_owned(), "fast".to_owned())]),
        tolerations: vec![anywhere],
        ..Workers::default()
    }
}

fn job() -> Job {
    Job {
        name: "release".into(),
        role: Role::SlotRelease,
        text: String::new(),
        secrets: BTreeSet::new(),
        workers: workers(),
    }
}

fn placed(pod: &PodSpec) -> (&str, Option<&str>, Option<&str>) {
    let disk = pod.node_selector.as_ref().and_then(|labels| labels.get("disk"));
    let tolerated = pod.tolerations.as_ref().and_then(|all| all.first()?.key.as_deref());
    (pod.containers[0].image.as_deref().unwrap(), disk.map(String::as_str), tolerated)
}

#[test]
fn a_job_runs_where_the_stages_of_its_pipeline_run_and_with_their_image() {
    let expected = ("own:2", Some("fast"), Some("dedicated"));
    let (_, job) = shape().job("release", &job(), 60);
    assert_eq!(placed(&job.spec.unwrap().template.spec.unwrap()), expected);
    let (id, mut stage) = stage(StageKind::Sink, "warehouse");
    stage.workers = workers();
    let deployment = shape().deployment(&id, &stage);
    assert_eq!(placed(&deployment.spec.unwrap().template.spec.unwrap()), expected);
}

#[test]
fn what_a_stage_says_of_resources_is_request_and_limit_and_only_what_lasts_is_probed() {
    let (id, mut stage) = stage(StageKind::Sink, "warehouse");
    stage.workers.resources = serde_json::from_str(r#"{"memory": "1Gi", "cpu": 1}"#).unwrap();
    let spec = shape().deployment(&id, &stage).spec.unwrap();
    assert_eq!(spec.strategy.unwrap().type_.as_deref(), Some("Recreate"));
    let container = &spec.template.spec.unwrap().containers[0];
    let resources = container.resources.clone().unwrap();
    assert_eq!(resources.requests, resources.limits);
    assert_eq!(resources.limits.unwrap()["memory"].0, "1Gi");
    let path = |probe: &Option<Probe>| probe.as_ref()?.http_get.as_ref()?.path.clone();
    assert_eq!(path(&container.liveness_probe).as_deref(), Some("/healthz"));
    assert_eq!(path(&container.readiness_probe).as_deref(), Some("/readyz"));
    let (_, job) = shape().job("release", &job(), 60);
    assert!(job.spec.unwrap().template.spec.unwrap().containers[0].liveness_probe.is_none());
}

#[test]
fn a_stage_has_a_network_policy_where_the_administrator_wants_one() {
    let (id, stage) = stage(StageKind::Sink, "warehouse");
    assert!(shape().network_policy(&id).is_none());
    let mut shape = shape();
    shape.settings.network_policies = true;
    let spec = shape.network_policy(&id).unwrap().spec.unwrap();
    assert_eq!(spec.pod_selector.unwrap(), shape.deployment(&id, &stage).spec.unwrap().selector);
    let rules = spec.ingress.unwrap();
    assert_eq!(rules[0].ports.as_ref().unwrap()[0].port, Some(IntOrString::Int(8080)));
    assert_eq!(spec.policy_types.unwrap(), ["Ingress"]);
}

#[test]
fn every_pod_keeps_the_rules_of_restricted_pod_security_and_has_no_token() {
    let (id, stage) = stage(StageKind::Sink, "warehouse");
    let pod = shape().deployment(&id, &stage).spec.unwrap().template.spec.unwrap();
    assert_eq!((pod.automount_service_account_token, pod.enable_service_links), (Some(false), Some(false)));
    let security = pod.security_context.unwrap();
    assert_eq!(security.run_as_non_root, Some(true));
    assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
    let container = pod.containers[0].security_context.clone().unwrap();
    assert_eq!(
        (container.allow_privilege_escalation, container.read_only_root_filesystem),
        (Some(false), Some(true))
    );
    assert_eq!(container.capabilities.unwrap().drop.unwrap(), ["ALL"]);
}
