//! A password is nowhere but in its Secret.

use acequia_kafka::admin::Admin;
use acequia_kafka::log::read_range;
use acequia_tests::cluster::{Cluster, condition};
use acequia_tests::database::Database;
use acequia_tests::stack::KAFKA_DEADLINE;
use acequia_tests::wait::until;
use acequia_tests::worker::http_get;

use crate::small::{READY_DEADLINE, Small};

const CANARY: &str = "Kanarienvogel-7281";
/// The same in base64, as it looks when it begins a group of three bytes, or is its second or third; the ends, which depend
/// on what is around, are left out.
const IN_BASE64: [&str; 3] = ["S2FuYXJpZW52b2dlbC03Mjgx", "bmFyaWVudm9nZWwtNzI4M", "YW5hcmllbnZvZ2VsLTcyOD"];

/// Everything that somebody without the right to read Secrets may see: where it stands, and the text.
fn everything(small: &Small) -> Vec<(String, String)> {
    let cluster = &small.cluster;
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "--namespaced", "-o", "name"]);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| *kind != "secrets").collect();
    let mut texts = vec![("objects".to_owned(), cluster.kubectl(&["get", &kinds.join(","), "-o", "json"]))];
    for pod in cluster.kubectl(&["get", "pods", "-o", "name"]).lines() {
        // One that is being replaced has no log yet.
        let log = cluster.try_kubectl(&["logs", pod, "--all-containers"]).unwrap_or_default();
        texts.push((format!("log of {pod}"), log));
        // Only of those whose container ended and was started again.
        let log = cluster.try_kubectl(&["logs", pod, "--all-containers", "--previous"]).unwrap_or_default();
        texts.push((format!("log of {pod} before"), log));
    }
    let metrics = format!(
        "/api/v1/namespaces/{}/services/acequia:8080/proxy/metrics",
        acequia_tests::cluster::NAMESPACE
    );
    texts.push(("metrics".to_owned(), cluster.kubectl_anywhere(&["get", "--raw", &metrics])));
    let connect = small.stack.address("connect:8083");
    let all = http_get(connect, "/connectors?expand=info&expand=status").expect("Connect answers");
    texts.push(("connectors".to_owned(), all));
    // One whose login was refused isn't made.
    let tasks = http_get(connect, &format!("/connectors/{}/tasks", small.connector()));
    texts.push(("tasks".to_owned(), tasks.unwrap_or_default()));
    let admin = Admin::connect(&small.stack.kafka(), "acequia tests").expect("an admin client");
    for topic in admin.list_topics(KAFKA_DEADLINE).expect("the topics") {
        let records =
            read_range(&small.stack.kafka(), &topic, KAFKA_DEADLINE).expect("the topic can be read");
        let parts = records.iter().flat_map(|record| [record.key.clone(), record.value.clone()]).flatten();
        let text: Vec<String> = parts.map(|part| String::from_utf8_lossy(&part).into_owned()).collect();
        texts.push((format!("topic {topic}"), text.join("\n")));
    }
    texts
}

fn holds_it(text: &str) -> bool {
    text.contains(CANARY) || IN_BASE64.iter().any(|encoded| text.contains(encoded))
}

fn secret(cluster: &Cluster, name: &str, password: &str) {
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{username: {}, password: \"{password}\"}}\n",
        name.replace('-', "_")
    );
    // As `kubectl create` does: what `apply` is given is written into an annotation.
    let _ = cluster.try_kubectl(&["delete", "secret", name]);
    cluster.create(&text).expect("the Secret is created");
}

#[test]
fn no_password_is_in_anything_that_the_cluster_the_servers_and_the_logs_show() {
    let mut small = Small::new("canary", |manifest| manifest);
    let role = format!("{}_login", small.topic());
    let name = role.replace('_', "-");
    Database::open_as_superuser(&small.stack)
        .run(&format!("CREATE ROLE {role} LOGIN REPLICATION PASSWORD '{CANARY}' IN ROLE instashop, dwh"));
    small.acequia.edit_file(|pipeline| {
        for store in pipeline["spec"]["stores"].as_array_mut().expect("stores") {
            store["postgres"]["credentialsSecret"] = name.as_str().into();
        }
    });
    // A login that is refused shows what servers and clients say of one.
    secret(&small.cluster, &name, &format!("{CANARY}-but-wrong"));
    small.acequia.start();
    let message = || {
        let object = small.cluster.get("pipelines", &small.name).unwrap_or_default();
        condition(&object, "Ready").map(|ready| ready["message"].to_string()).unwrap_or_default()
    };
    until("the login is refused", READY_DEADLINE, message, |message| message.contains("password"));
    let refused = everything(&small);
    secret(&small.cluster, &name, CANARY);
    small.acequia.wait("all is well", 2 * READY_DEADLINE, |status| status.ready);
    small.flows("with the right login");

    let seen = everything(&small);
    let places: Vec<&String> =
        refused.iter().chain(&seen).filter(|(_, text)| holds_it(text)).map(|(place, _)| place).collect();
    assert_eq!(places, Vec::<&String>::new(), "the password stands there");
    let bytes: usize = seen.iter().map(|(_, text)| text.len()).sum();
    println!("{} places, {bytes} bytes", seen.len());
    assert!(seen.len() > 15 && bytes > 100_000, "too little was looked at");
    let itself = small.cluster.kubectl(&["get", "secret", &name, "-o", "json"]);
    assert!(holds_it(&itself), "where it is it would have been seen");
    let (stack, cluster) = (small.stack.clone(), Cluster::brought_up());
    small.delete();
    cluster.kubectl(&["delete", "secret", &name]);
    Database::open_as_superuser(&stack).run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
