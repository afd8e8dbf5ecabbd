//! The chart: what it renders, what it refuses, and what its account may do.

use std::process::Command;

use acequia_tests::cluster::{Cluster, NAMESPACE, RELEASE, chart};
use acequia_tests::stack::root;
use serde_json::Value;

/// What the chart renders with these values.
fn rendered(cluster: &Cluster, values: &[&str]) -> Vec<Value> {
    let chart = chart();
    let mut arguments = vec!["template", "acequia", &chart, "--kube-version", "1.34.0"];
    for value in values {
        arguments.extend(["--set", value]);
    }
    let text = cluster.helm(&arguments).expect("the chart renders");
    let documents = text
        .split("\n---")
        .filter(|text| text.lines().any(|line| !line.is_empty() && !line.starts_with('#')));
    documents
        .map(|text| serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}")))
        .collect()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

#[test]
fn the_chart_passes_helm_lint_and_wrong_values_are_refused_by_name() {
    let cluster = Cluster::brought_up();
    cluster.helm(&["lint", "--strict", &chart()]).expect("helm lint");
    let wrong = [
        ("clusterName=Shop", "clusterName"),
        ("scope=Everything", "scope"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("kafka[0].bootstrap=kafka:9092", "bootstrap"),
        ("connect[0].url=connect:8083", "url"),
        ("kafka[0].bootstrapServers=k:1,kafka[0].sasl.mechanism=PLAIN", "credentialsSecret"),
        ("replicas=2", "replicas"),
        ("deletionDeadlineSeconds=1", "deletionDeadlineSeconds"),
        ("runAsUser=0", "runAsUser"),
        // Whoever makes a Service `connect` in a namespace of his own would be told the password.
        ("scope=Cluster,connect[0].url=http://connect:8083,connect[0].credentialsSecret=c", "connect[0].url"),
        (
            "scope=Cluster,connect[0].url=http://connect:8083/v1.0,connect[0].credentialsSecret=c",
            "connect[0].url",
        ),
    ];
    for (value, name) in wrong {
        let refused = cluster
            .helm(&["template", "acequia", &chart(), "--kube-version", "1.34.0", "--set", value])
            .expect_err(value);
        assert!(refused.contains(name), "{value}: {refused}");
    }
}

#[test]
fn an_upgrade_that_would_rename_the_cluster_is_refused_and_the_notes_can_be_run_as_they_are() {
    let cluster = Cluster::brought_up();
    let rename = ["upgrade", RELEASE, &chart(), "--reuse-values", "--dry-run=server", "--set"];
    let with = |value: &str| cluster.helm(&[&rename[..], &[value]].concat());
    let refused = with("clusterName=another").expect_err("another name");
    assert!(refused.contains("clusterName: `another` was `"), "{refused}");
    with("logLevel=debug").expect("the same name");
    let notes = cluster.helm(&["get", "notes", RELEASE]).expect("the notes");
    assert!(
        !notes.contains('<') && notes.contains(&format!("helm test {RELEASE} --namespace {NAMESPACE}")),
        "{notes}"
    );
    let enforced = "jsonpath={.metadata.labels.pod-security\\.kubernetes\\.io/enforce}";
    assert_eq!(cluster.kubectl(&["get", "namespace", NAMESPACE, "-o", enforced]), "restricted");
}

/// The chart of this checkout comes back when this is dropped by a test that fails.
struct Newest<'a>(&'a Cluster);

impl Drop for Newest<'_> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Err(error) = self.0.upgrade(&chart(), &[])
        {
            println!("the older definition stays: {error}");
        }
    }
}

#[test]
fn an_older_definition_is_upgraded_with_the_chart_and_pipelines_stay() {
    let cluster = Cluster::brought_up();
    let folder = tempfile::tempdir().expect("a folder");
    let older = folder.path().join("acequia");
    let copied = Command::new("cp").arg("-r").arg(root().join("helm/acequia")).arg(&older).status();
    assert!(copied.expect("cp").success());
    let file = older.join("files/pipelines.acequia.dev.yaml");
    let text = std::fs::read_to_string(&file).expect("the definition");
    let lines = text.lines().filter(|line| !line.trim().starts_with("suspend: "));
    let without = lines.collect::<Vec<_>>().join("\n").replace("{name: Lag, ", "{name: Delay, ");
    assert!(without.lines().count() < text.lines().count() && without.contains("{name: Delay, "));
    std::fs::write(&file, without).expect("the definition is written");
    let after = |chart: &str| {
        cluster.upgrade(chart, &[]).expect("the chart is upgraded");
        let seen = cluster.kubectl_anywhere(&["get", "crd", "pipelines.acequia.dev", "-o", "json"]);
        let seen: Value = serde_json::from_str(&seen).expect("JSON");
        let version = &seen["spec"]["versions"][0];
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        let keeps = seen["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep";
        let has_column = version["additionalPrinterColumns"].to_string().contains("\"Lag\"");
        (keeps, spec["suspend"].is_object(), has_column)
    };
    let _newest = Newest(&cluster);
    let manifest = "apiVersion: acequia.dev/v1alpha1\nkind: Pipeline\nmetadata: {name: older}\nspec:\n  suspend: true\n  \
         deletionPolicy: Delete\n  kafka: {bootstrapServers: \"kafka:9092\"}\n  topics: [{name: older}]\n";
    assert_eq!(after(&older.display().to_string()), (true, false, false));
    let refused = cluster.apply(manifest).expect_err("a field that it doesn't know");
    assert!(refused.contains("spec.suspend"), "{refused}");
    cluster.apply(&manifest.replace("  suspend: true\n", "")).expect("the Pipeline is applied");
    cluster.kubectl(&["wait", "pipeline/older", "--for=condition=Ready", "--timeout=60s"]);
    let uid = || cluster.kubectl(&["get", "pipeline", "older", "-o", "jsonpath={.metadata.uid}"]);
    let before = uid();
    assert_eq!(after(&chart()), (true, true, true));
    assert_eq!(uid(), before);
    cluster.apply(manifest).expect("now it is known");
    cluster.kubectl(&["delete", "pipeline", "older", "--timeout=60s"]);
}

#[test]
fn who_its_pods_run_as_can_be_left_to_the_cluster() {
    let cluster = Cluster::brought_up();
    let user = |settings: &[&str]| {
        let documents = rendered(&cluster, settings);
        let deployment = &of_kind(&documents, "Deployment")[0]["spec"]["template"]["spec"]["securityContext"];
        let told = of_kind(&documents, "ConfigMap")[0]["data"]["operator.yaml"].to_string();
        (deployment["runAsUser"].as_i64(), deployment["runAsNonRoot"].as_bool(), told.contains("runAsUser"))
    };
    assert_eq!(user(&[]), (Some(65_532), Some(true), true));
    assert_eq!(user(&["runAsUser=null"]), (None, Some(true), false));
}

#[test]
fn rights_are_of_one_namespace_or_of_all_and_hold_no_secret_and_no_wildcard() {
    let cluster = Cluster::brought_up();
    for (scope, kind) in [("Namespaced", "Role"), ("Cluster", "ClusterRole")] {
        let documents = rendered(&cluster, &[&format!("scope={scope}")]);
        let roles = of_kind(&documents, kind);
        assert_eq!(roles.len(), 1, "{scope}");
        let other = if kind == "Role" { "ClusterRole" } else { "Role" };
        assert!(of_kind(&documents, other).is_empty(), "{scope}");
        let text = roles[0]["rules"].to_string();
        assert!(!text.contains('*') && !text.contains("secrets"), "{text}");
    }
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:acequia");
    let may = |verb: &str, what: &str| cluster.try_kubectl(&["auth", "can-i", verb, what, &account]).is_ok();
    assert!(may("patch", "deployments.apps") && may("patch", "pipelines.acequia.dev/status"));
    for (verb, what) in [
        ("get", "secrets"),
        ("list", "secrets"),
        ("create", "pods"),
        ("create", "roles"),
        ("delete", "pipelines.acequia.dev"),
    ] {
        assert!(!may(verb, what), "it may {verb} {what}");
    }
}

#[test]
fn credentials_of_servers_are_mounted_files_and_every_pod_is_restricted() {
    let cluster = Cluster::brought_up();
    let documents = rendered(
        &cluster,
        &[
            "kafka[0].bootstrapServers=k:9092,kafka[0].sasl.mechanism=PLAIN,kafka[0].sasl.credentialsSecret=kafka-login",
            "connect[0].url=http://c:8083,connect[0].credentialsSecret=connect-login",
        ],
    );
    let deployment = of_kind(&documents, "Deployment")[0];
    assert_eq!(
        (&deployment["spec"]["replicas"], &deployment["spec"]["strategy"]["type"]),
        (&1.into(), &"Recreate".into())
    );
    let pod = &deployment["spec"]["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"].to_string();
    for secret in ["kafka-login", "connect-login"] {
        assert!(mounts.contains(&format!("/etc/acequia/secrets/{secret}")), "{mounts}");
    }
    assert!(!pod["containers"][0]["env"].to_string().contains("secretKeyRef"));
    let job = of_kind(&documents, "Job")[0];
    let test = of_kind(&documents, "Pod")[0];
    for spec in [pod, &job["spec"]["template"]["spec"], &test["spec"]] {
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
        assert_eq!(spec["containers"][0]["securityContext"]["capabilities"]["drop"][0], "ALL");
        assert_eq!(spec["enableServiceLinks"], false);
    }
    let crd = of_kind(&documents, "CustomResourceDefinition")[0];
    assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert!(of_kind(&rendered(&cluster, &["crds.install=false"]), "CustomResourceDefinition").is_empty());
}

#[test]
fn the_servers_of_the_examples_can_have_the_official_images() {
    let cluster = Cluster::brought_up();
    let (chart, official) =
        (root().join("examples/stack"), root().join("examples/stack/values-official.yaml"));
    let (chart, official) = (chart.display().to_string(), official.display().to_string());
    cluster.helm(&["lint", "--strict", &chart, "--values", &official]).expect("helm lint");
    // The API server looks at each object, and keeps none.
    let install =
        ["install", "official", &chart, "--values", &official, "--dry-run=server", "--namespace", "default"];
    let text = cluster.helm(&install).expect("the API server takes it");
    for image in ["apache/kafka:", "postgres:", "redis:", "acequia-stack/connect:official"] {
        assert!(
            text.contains(&format!("image: {image}")) || text.contains(&format!("image: \"{image}")),
            "{image}: {text}"
        );
    }
    for ours in ["acequia-stack/kafka", "acequia-stack/postgres", "acequia-stack/redis"] {
        assert!(!text.contains(ours), "{ours}");
    }
}
