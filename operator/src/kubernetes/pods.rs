//! What a pod says of the process in it.
//!
//! Pure.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::objects::{CONFIG_HASH, CONTAINER, WORKER_PORT};
use crate::model::observed::{ObservedReplica, ReplicaState};

/// Reasons for which a container waits that nothing but a change heals.
const CANNOT_START: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// The process of a pod. None: the pod has come to its end, by itself or evicted. It may lie there for long, counts no
/// more, and the Deployment has another one made.
pub fn replica(pod: &Pod) -> Option<ObservedReplica> {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    if matches!(phase, "Succeeded" | "Failed") {
        return None;
    }
    let container = worker(pod);
    let (state, why) = state(pod, container);
    let annotations = pod.metadata.annotations.as_ref();
    let address = status
        .and_then(|status| status.pod_ip.as_ref())
        .filter(|_| state == ReplicaState::Running)
        .map(|ip| address(ip));
    Some(ObservedReplica {
        state,
        config_hash: annotations.and_then(|map| map.get(CONFIG_HASH)).cloned().unwrap_or_default(),
        pid: None,
        pod: pod.metadata.name.clone(),
        address,
        restarts: container.map_or(0, |one| u32::try_from(one.restart_count).unwrap_or(0)),
        last_exit: why.or_else(|| last_exit(container)),
        report: None,
    })
}

/// How a pod's worker ended, if it has.
pub fn exit(pod: &Pod) -> Option<&ContainerStateTerminated> {
    worker(pod)?.state.as_ref()?.terminated.as_ref()
}

fn worker(pod: &Pod) -> Option<&ContainerStatus> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.iter().find(|one| one.name == CONTAINER)
}

fn state(pod: &Pod, container: Option<&ContainerStatus>) -> (ReplicaState, Option<String>) {
    if pod.metadata.deletion_timestamp.is_some() {
        return (ReplicaState::Stopping, None);
    }
    if let Some(why) = unschedulable(pod) {
        return (ReplicaState::CannotStart, Some(why));
    }
    let Some(state) = container.and_then(|one| one.state.as_ref()) else {
        return (ReplicaState::Running, None);
    };
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if CANNOT_START.contains(&reason) {
            let image = container.map(|one| one.image.as_str()).unwrap_or_default();
            let message = waiting.message.as_deref().unwrap_or("no reason is given");
            let fix = if reason.contains("Image") {
                "; correct spec.workers.image, or load the image into the cluster"
            } else {
                ""
            };
            return (ReplicaState::CannotStart, Some(format!("{reason}: image {image}: {message}{fix}")));
        }
        if reason == "CrashLoopBackOff" {
            return (ReplicaState::BackingOff { until_ms: 0 }, None);
        }
    }
    if state.terminated.is_some() {
        return (ReplicaState::BackingOff { until_ms: 0 }, None);
    }
    (ReplicaState::Running, None)
}

fn unschedulable(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|one| one.type_ == "PodScheduled" && one.status == "False")?;
    let message = scheduled.message.as_deref().unwrap_or("no reason is given");
    Some(format!("no node takes its pod: {message}; make room, or lower spec.workers.resources"))
}

fn last_exit(container: Option<&ContainerStatus>) -> Option<String> {
    let container = container?;
    let of = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        state.as_ref().and_then(|state| state.terminated.as_ref()).map(ended)
    };
    of(&container.state).or_else(|| of(&container.last_state))
}

/// How a container ended: its last words, or the kernel's.
pub fn ended(how: &ContainerStateTerminated) -> String {
    let message = how.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
    let reason = how.reason.as_deref().filter(|reason| *reason != "Error");
    let words = message.or(reason).unwrap_or("no reason is known; see its log");
    let hint =
        if how.reason.as_deref() == Some("OOMKilled") { "; raise spec.workers.resources.memory" } else { "" };
    format!("exit code {}: {words}{hint}", how.exit_code)
}

/// Why a Deployment doesn't get its pods. Example: a quota.
pub fn deployment_fault(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions.iter().find(|one| one.type_ == "ReplicaFailure" && one.status == "True")?;
    let message = failure.message.as_deref().unwrap_or("no reason is given");
    let fix =
        if message.contains("quota") { "; raise the quota, or lower spec.workers.resources" } else { "" };
    Some(format!("the cluster doesn't make its pods: {message}{fix}"))
}

fn address(ip: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{WORKER_PORT}") } else { format!("{ip}:{WORKER_PORT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: &str) -> Pod {
        let text = format!("metadata: {{name: p, annotations: {{{CONFIG_HASH}: h}}}}\nstatus: {status}\n");
        serde_yaml::from_str(&text).unwrap()
    }

    fn waiting(reason: &str, message: &str) -> Pod {
        pod(&format!(
            "{{phase: Pending, containerStatuses: [{{name: worker, image: i, imageID: '', ready: false, \
             restartCount: 3, state: {{waiting: {{reason: {reason}, message: {message}}}}}, lastState: \
             {{terminated: {{exitCode: 1, reason: Error, message: it broke}}}}}}]}}"
        ))
    }

    #[test]
    fn a_pod_that_has_ended_counts_no_more() {
        for phase in ["Succeeded", "Failed"] {
            assert!(replica(&pod(&format!("{{phase: {phase}, reason: Evicted}}"))).is_none(), "{phase}");
        }
    }

    #[test]
    fn a_pod_that_runs_has_an_address_and_its_configuration() {
        let replica = replica(&pod("{phase: Running, podIP: 10.0.0.7}")).unwrap();
        assert_eq!(replica.state, ReplicaState::Running);
        assert_eq!(replica.address.as_deref(), Some("10.0.0.7:8080"));
        assert_eq!((replica.config_hash.as_str(), replica.pod.as_deref()), ("h", Some("p")));
        let six = super::replica(&pod("{phase: Running, podIP: 'fd00::7'}")).unwrap();
        assert_eq!(six.address.as_deref(), Some("[fd00::7]:8080"));
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_named_with_what_to_do() {
        let replica = replica(&waiting("ImagePullBackOff", "not found")).unwrap();
        assert_eq!(replica.state, ReplicaState::CannotStart);
        let why = replica.last_exit.unwrap();
        assert!(why.contains("image i") && why.contains("spec.workers.image"), "{why}");
    }

    #[test]
    fn a_container_that_crashes_tells_its_last_words() {
        let replica = replica(&waiting("CrashLoopBackOff", "back-off")).unwrap();
        assert_eq!(replica.state, ReplicaState::BackingOff { until_ms: 0 });
        assert_eq!((replica.restarts, replica.last_exit.as_deref()), (3, Some("exit code 1: it broke")));
    }

    #[test]
    fn a_container_that_was_injected_is_not_taken_for_the_worker() {
        let sidecar =
            "{name: istio-proxy, image: p, imageID: '', ready: true, restartCount: 0, state: {running: {}}}";
        let worker = "{name: worker, image: i, imageID: '', ready: false, restartCount: 2, state: {terminated: \
                      {exitCode: 1, message: it broke}}}";
        let pod = pod(&format!("{{phase: Running, containerStatuses: [{sidecar}, {worker}]}}"));
        let replica = replica(&pod).unwrap();
        assert_eq!((replica.restarts, replica.last_exit.as_deref()), (2, Some("exit code 1: it broke")));
        assert_eq!(exit(&pod).map(|how| how.exit_code), Some(1));
    }

    #[test]
    fn a_pod_without_a_node_says_why() {
        let status =
            "{phase: Pending, conditions: [{type: PodScheduled, status: 'False', message: too big}]}";
        let replica = replica(&pod(status)).unwrap();
        assert_eq!(replica.state, ReplicaState::CannotStart);
        assert!(replica.last_exit.unwrap().contains("too big; make room"));
    }

    #[test]
    fn a_quota_is_seen_at_the_deployment() {
        let text =
            "status: {conditions: [{type: ReplicaFailure, status: 'True', message: 'exceeded quota: q'}]}";
        let fault = deployment_fault(&serde_yaml::from_str(text).unwrap()).unwrap();
        assert!(fault.contains("exceeded quota: q; raise the quota"), "{fault}");
    }
}
