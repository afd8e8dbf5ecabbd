//! How this operator reaches the servers that manifests name, and which of them it may reach.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use acequia_crds::pipeline::kafka::Kafka;
use serde::Deserialize;

use crate::calls::Calls;
use crate::cluster::Cluster;
use crate::connect::{self, Client, LoginFiles};
use crate::observe::connect::{CALL_DEADLINE, Connect};

/// Which servers may be reached, and with whose credentials.
pub enum Access {
    /// Whatever the manifest says, with the manifest's own secrets, which are files: `acequia run`.
    AsWritten {
        /// `<folder>/<secret>/<key>`.
        secrets: PathBuf,
    },
    /// What the operator's administrator has allowed, with the operator's own credentials.
    Allowed(Allowed),
}

/// The servers that an administrator allows. A manifest that names another one is refused, so nobody can make the
/// operator carry its credentials elsewhere.
pub struct Allowed {
    kafka: Vec<Kafka>,
    connect: Vec<ConnectServer>,
    secrets: PathBuf,
    calls: Calls,
    /// Shared by all Pipelines that use them.
    clusters: Shared<Cluster>,
    connects: Shared<Connect>,
}

/// What several use, by address, as long as one of them does.
struct Shared<T>(Mutex<BTreeMap<String, Weak<T>>>);

impl<T> Shared<T> {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn get<E>(&self, address: &str, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = all.get(address).and_then(Weak::upgrade) {
            return Ok(used);
        }
        all.retain(|_, one| one.strong_count() > 0);
        let one = Arc::new(make()?);
        all.insert(address.to_owned(), Arc::downgrade(&one));
        Ok(one)
    }
}

/// A Kafka Connect cluster that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectServer {
    /// As manifests write it in `spec.connect.url`.
    pub url: String,
    /// Folder with `username` and `password`. Default: no login.
    #[serde(default)]
    pub credentials_secret: Option<String>,
}

/// Why a server isn't reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The administrator hasn't allowed it.
    #[error(
        "{field}: `{named}` is not one of the servers this operator may use ({allowed}); correct it, or let the administrator add it to `{value}` of the chart"
    )]
    NotAllowed {
        /// The field of the manifest.
        field: &'static str,
        /// What it says.
        named: String,
        /// What would be allowed.
        allowed: String,
        /// The value of the chart that allows it.
        value: &'static str,
    },
    /// The address can't be one.
    #[error(transparent)]
    Connect(#[from] connect::Error),
}

impl Access {
    /// The Kafka cluster that a Pipeline of `namespace` names.
    ///
    /// # Errors
    /// It isn't allowed.
    pub fn cluster(&self, kafka: &Kafka, namespace: &str) -> Result<Arc<Cluster>, Error> {
        match self {
            Self::AsWritten { secrets } => Ok(Arc::new(Cluster::new(kafka.clone(), secrets.clone()))),
            Self::Allowed(allowed) => allowed.cluster(kafka, namespace),
        }
    }

    /// The Kafka Connect cluster that a Pipeline of `namespace` names.
    ///
    /// # Errors
    /// It isn't allowed, or the address can't be one.
    pub fn connect(&self, url: &str, namespace: &str) -> Result<Arc<Connect>, Error> {
        match self {
            Self::AsWritten { .. } => Ok(Arc::new(Connect::new(Client::new(url, CALL_DEADLINE, None)?))),
            Self::Allowed(allowed) => allowed.connect(url, namespace),
        }
    }
}

impl Allowed {
    /// These servers; `secrets` is the folder with the operator's own secrets, `<folder>/<secret>/<key>`. All
    /// calls to them are counted.
    pub fn new(kafka: Vec<Kafka>, connect: Vec<ConnectServer>, secrets: PathBuf, calls: Calls) -> Self {
        let (clusters, connects) = (Shared::new(), Shared::new());
        Self { kafka, connect, secrets, calls, clusters, connects }
    }

    fn cluster(&self, kafka: &Kafka, namespace: &str) -> Result<Arc<Cluster>, Error> {
        let named = &kafka.bootstrap_servers;
        let entry = self.kafka.iter().find(|entry| &entry.bootstrap_servers == named);
        let entry = entry.ok_or_else(|| Error::NotAllowed {
            field: "spec.kafka.bootstrapServers",
            named: named.clone(),
            allowed: listed(self.kafka.iter().map(|entry| entry.bootstrap_servers.as_str())),
            value: "kafka",
        })?;
        let servers: Vec<String> =
            named.split(',').map(|server| in_namespace(server.trim(), namespace)).collect();
        let bootstrap_servers = servers.join(",");
        let kafka = Kafka { bootstrap_servers: bootstrap_servers.clone(), ..entry.clone() };
        self.clusters.get(&bootstrap_servers, || {
            Ok(Cluster::new(kafka, self.secrets.clone()).counted(self.calls.clone()))
        })
    }

    fn connect(&self, url: &str, namespace: &str) -> Result<Arc<Connect>, Error> {
        let named = url.trim_end_matches('/');
        let entry = self.connect.iter().find(|entry| entry.url.trim_end_matches('/') == named);
        let entry = entry.ok_or_else(|| Error::NotAllowed {
            field: "spec.connect.url",
            named: named.to_owned(),
            allowed: listed(self.connect.iter().map(|entry| entry.url.as_str())),
            value: "connect",
        })?;
        let login = entry.credentials_secret.as_ref().map(|secret| LoginFiles {
            username: self.secrets.join(secret).join("username"),
            password: self.secrets.join(secret).join("password"),
        });
        let (scheme, rest) = named.split_once("://").unwrap_or(("http", named));
        let (authority, path) = rest
            .split_once('/')
            .map_or((rest, String::new()), |(authority, path)| (authority, format!("/{path}")));
        let url = format!("{scheme}://{}{path}", in_namespace(authority, namespace));
        self.connects.get(&url, || {
            Ok(Connect::new(Client::new(&url, CALL_DEADLINE, login)?.counted(self.calls.clone())))
        })
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none at all".to_owned() } else { names.join("; ") }
}

/// A host without a dot is a Service, and the operator means the one that the Pipeline's own pods would find.
fn in_namespace(address: &str, namespace: &str) -> String {
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    };
    if !is_service(host) {
        return address.to_owned();
    }
    let host = format!("{host}.{namespace}.svc");
    port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

fn is_service(host: &str) -> bool {
    !(host.is_empty() || host.contains(['.', ':', '[']) || host == "localhost")
}

/// Whether the servers are other ones in each namespace.
pub fn depends_on_namespace(kafka: &Kafka) -> bool {
    kafka.bootstrap_servers.split(',').any(|server| is_service(host(server)))
}

/// The host of an address or a URL.
fn host(server: &str) -> &str {
    let authority = server.split_once("://").map_or(server, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default().trim();
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// Servers that stand for another one in each namespace, and that credentials are for: whoever may make a Service in any
/// namespace would get them. A sentence for each.
pub fn given_away(kafka: &[Kafka], connect: &[ConnectServer]) -> Vec<String> {
    let sentence = |value: String, named: &str| {
        format!(
            "{value}: `{named}` has credentials, and a host without a dot is another Service in each namespace, whose \
             owner would get them; write its whole name, `<service>.<namespace>.svc`"
        )
    };
    let is_given = |entry: &Kafka| entry.sasl.is_some() && depends_on_namespace(entry);
    let kafka = kafka.iter().enumerate().filter(|(_, entry)| is_given(entry));
    let kafka = kafka
        .map(|(index, entry)| sentence(format!("kafka[{index}].bootstrapServers"), &entry.bootstrap_servers));
    let is_given = |entry: &ConnectServer| entry.credentials_secret.is_some() && is_service(host(&entry.url));
    let connect = connect.iter().enumerate().filter(|(_, entry)| is_given(entry));
    let connect = connect.map(|(index, entry)| sentence(format!("connect[{index}].url"), &entry.url));
    kafka.chain(connect).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Access {
        let kafka = Kafka { bootstrap_servers: "kafka:9092".into(), tls: None, sasl: None };
        let connect = ConnectServer { url: "http://connect:8083".into(), credentials_secret: None };
        Access::Allowed(Allowed::new(vec![kafka], vec![connect], PathBuf::from("secrets"), Calls::new()))
    }

    #[test]
    fn a_host_without_a_dot_is_a_service_beside_the_pipeline() {
        assert_eq!(in_namespace("kafka:9092", "shop"), "kafka.shop.svc:9092");
        assert_eq!(in_namespace("connect", "shop"), "connect.shop.svc");
        for as_it_is in ["kafka.data.svc:9092", "10.0.0.1:9092", "[::1]:9092", "localhost:1"] {
            assert_eq!(in_namespace(as_it_is, "shop"), as_it_is);
        }
    }

    #[test]
    fn a_server_that_nobody_allowed_is_refused_with_its_field_and_the_value_to_set() {
        let other = Kafka { bootstrap_servers: "mine:9092".into(), tls: None, sasl: None };
        let message = allowed().cluster(&other, "shop").err().unwrap().to_string();
        for part in ["spec.kafka.bootstrapServers", "`mine:9092`", "kafka:9092", "`kafka` of the chart"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let message = allowed().connect("http://mine:8083", "shop").err().unwrap().to_string();
        for part in ["spec.connect.url", "http://connect:8083", "`connect` of the chart"] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn pipelines_of_one_cluster_share_its_client_and_those_of_another_namespace_have_another() {
        let access = allowed();
        let kafka = Kafka { bootstrap_servers: "kafka:9092".into(), tls: None, sasl: None };
        let [one, same, other] = ["a", "a", "b"].map(|namespace| access.cluster(&kafka, namespace).unwrap());
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        assert_eq!(other.what(), "Kafka at kafka.b.svc:9092");
        let [one, same] = [(); 2].map(|()| access.connect("http://connect:8083", "a").unwrap());
        assert!(Arc::ptr_eq(&one, &same));
    }

    #[test]
    fn what_nobody_uses_any_more_is_dropped_and_made_anew() {
        let (shared, count) = (Shared::<u32>::new(), std::cell::Cell::new(0));
        let get = |address: &str| {
            let make = || {
                count.set(count.get() + 1);
                Ok::<_, std::convert::Infallible>(count.get())
            };
            shared.get(address, make).unwrap()
        };
        let (first, same) = (get("a"), get("a"));
        assert_eq!((*first, *same, *get("b")), (1, 1, 2));
        drop((first, same));
        assert_eq!(*get("a"), 3);
        assert_eq!(shared.0.lock().unwrap().len(), 1, "the last of `b` was dropped");
    }

    #[test]
    fn a_slash_at_the_end_of_an_address_of_connect_makes_no_difference() {
        assert!(allowed().connect("http://connect:8083/", "shop").is_ok());
    }
}
