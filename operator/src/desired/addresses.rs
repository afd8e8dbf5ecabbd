//! Where the manifest's addresses are on this machine.

use std::collections::BTreeMap;

use acequia_crds::pipeline::kafka::Kafka;
use acequia_crds::pipeline::store::{Postgres, Redis, Store};

/// `host:port` as the manifest says it → `host:port` as this machine reaches it. What isn't named stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    local: BTreeMap<String, (String, u16)>,
}

/// Why a text can't be the content of an addresses file.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAddresses {
    /// Not a map of texts.
    #[error("it must be a map of `host:port: host:port`: {0}")]
    NotAMap(String),
    /// An address without a port, or with one that isn't a number.
    #[error("`{0}` is no address; write host:port, for example `\"kafka:9092\": \"127.0.0.1:29092\"`")]
    NotAnAddress(String),
}

impl Addresses {
    /// Reads the YAML text of an addresses file.
    pub fn from_yaml(text: &str) -> Result<Self, InvalidAddresses> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let written: BTreeMap<String, String> =
            serde_yaml::from_str(text).map_err(|error| InvalidAddresses::NotAMap(error.to_string()))?;
        let mut local = BTreeMap::new();
        for (there, here) in written {
            split(&there).ok_or_else(|| InvalidAddresses::NotAnAddress(there.clone()))?;
            let here = split(&here).ok_or_else(|| InvalidAddresses::NotAnAddress(here.clone()))?;
            local.insert(there, here);
        }
        Ok(Self { local })
    }

    /// The cluster, with each bootstrap server where it is.
    pub fn kafka(&self, kafka: &Kafka) -> Kafka {
        let servers: Vec<String> =
            kafka.bootstrap_servers.split(',').map(|server| self.address(server.trim())).collect();
        Kafka { bootstrap_servers: servers.join(","), ..kafka.clone() }
    }

    /// The database where it is.
    pub fn postgres(&self, store: &Postgres) -> Postgres {
        match self.local.get(&format!("{}:{}", store.host, store.port)) {
            Some((host, port)) => Postgres { host: host.clone(), port: *port, ..store.clone() },
            None => store.clone(),
        }
    }

    /// The Redis server where it is.
    pub fn redis(&self, store: &Redis) -> Redis {
        Redis { address: self.address(&store.address), ..store.clone() }
    }

    /// The store where it is. Cassandra's addresses stay, because this version doesn't connect to it.
    pub fn store(&self, store: &Store) -> Store {
        Store {
            name: store.name.clone(),
            postgres: store.postgres.as_ref().map(|postgres| self.postgres(postgres)),
            redis: store.redis.as_ref().map(|redis| self.redis(redis)),
            cassandra: store.cassandra.clone(),
        }
    }

    /// An `http://` or `https://` address of a server, where it is, without a slash at its end.
    pub fn url(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (authority, path) =
            rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        let default_port = if scheme == "https" { 443 } else { 80 };
        let with_port = match split(authority) {
            Some(_) => authority.to_owned(),
            None => format!("{authority}:{default_port}"),
        };
        let authority = self.local.get(&with_port).map_or_else(|| authority.to_owned(), joined);
        format!("{scheme}://{authority}/{path}").trim_end_matches('/').to_owned()
    }

    fn address(&self, address: &str) -> String {
        self.local.get(address).map_or_else(|| address.to_owned(), joined)
    }
}

fn joined((host, port): &(String, u16)) -> String {
    format!("{host}:{port}")
}

fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    (!host.is_empty() && !host.contains(['/', ' '])).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses::from_yaml("kafka:9092: 127.0.0.1:1\nconnect:8083: 127.0.0.1:2\ndb:5432: 127.0.0.1:3\n")
            .unwrap()
    }

    #[test]
    fn every_bootstrap_server_is_mapped_on_its_own() {
        let kafka = Kafka { bootstrap_servers: "kafka:9092, other:9092".into(), tls: None, sasl: None };
        assert_eq!(addresses().kafka(&kafka).bootstrap_servers, "127.0.0.1:1,other:9092");
    }

    #[test]
    fn a_redis_server_is_where_it_is_here() {
        let store = |address: &str| {
            let text = format!("{{name: metrics, redis: {{address: \"{address}\", credentialsSecret: s}}}}");
            serde_yaml::from_str::<Store>(&text).unwrap()
        };
        assert_eq!(addresses().store(&store("db:5432")), store("127.0.0.1:3"));
        assert_eq!(addresses().store(&store("elsewhere:6379")), store("elsewhere:6379"));
    }

    #[test]
    fn an_url_keeps_its_scheme_and_loses_only_its_last_slash() {
        assert_eq!(addresses().url("http://connect:8083/"), "http://127.0.0.1:2");
        assert_eq!(addresses().url("https://elsewhere"), "https://elsewhere");
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for text in ["a: b:1", "a:1: b", "- a:1"] {
            let message = Addresses::from_yaml(text).unwrap_err().to_string();
            assert!(message.contains("host:port"), "{text}: {message}");
        }
        assert_eq!(Addresses::from_yaml("# nothing\n").unwrap(), Addresses::default());
    }
}
