//! What an administrator tells the operator: one YAML file, which the chart writes.

use std::path::{Path, PathBuf};

use acequia_crds::pipeline::kafka::Kafka;
use serde::Deserialize;

use crate::access::{Access, Allowed, ConnectServer, given_away};
use crate::calls::Calls;
use crate::kubernetes::objects::PodSettings;

/// The file's content.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorSettings {
    /// Name of this Kubernetes cluster, the first part of every identity. Two clusters that share a Kafka cluster or a
    /// database need different ones.
    pub cluster: String,
    /// The namespace whose Pipelines are kept. Default: all.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Kafka clusters that Pipelines may use, each as a Pipeline writes `spec.kafka`; its secrets are the operator's.
    #[serde(default)]
    pub kafka: Vec<Kafka>,
    /// Kafka Connect clusters that Pipelines may use.
    #[serde(default)]
    pub connect: Vec<ConnectServer>,
    /// Folder with the operator's own secrets: `<folder>/<secret>/<key>`.
    #[serde(default = "OperatorSettings::secrets_folder")]
    pub secrets: PathBuf,
    /// The pods of workers.
    pub workers: PodSettings,
    /// Seconds after which a Pipeline that is being deleted is let go, whatever is left outside.
    #[serde(default = "OperatorSettings::deletion_deadline_seconds")]
    pub deletion_deadline_seconds: u64,
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file isn't there or not readable.
    #[error("the operator's settings {path} can't be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It says what can't be.
    #[error("the operator's settings {path} are not valid: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl OperatorSettings {
    /// Reads the file.
    ///
    /// # Errors
    /// It isn't there, or says what can't be.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|reason| Error::Invalid { path: path.to_owned(), reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        let given_away = match settings.namespace {
            Some(_) => Vec::new(),
            None => given_away(&settings.kafka, &settings.connect),
        };
        if given_away.is_empty() { Ok(settings) } else { Err(given_away.join("; ")) }
    }

    /// Which servers may be reached; calls to them are counted.
    pub fn access(&self, calls: Calls) -> Access {
        Access::Allowed(Allowed::new(self.kafka.clone(), self.connect.clone(), self.secrets.clone(), calls))
    }

    fn secrets_folder() -> PathBuf {
        PathBuf::from("/etc/acequia/secrets")
    }

    const fn deletion_deadline_seconds() -> u64 {
        45
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_settings_are_a_cluster_and_an_image() {
        let text = "cluster: shop\nworkers: {image: acequia}\n";
        let settings: OperatorSettings = serde_yaml::from_str(text).unwrap();
        assert_eq!(settings.deletion_deadline_seconds, 45);
        assert_eq!(settings.workers.image_pull_policy, "IfNotPresent");
        assert!(settings.namespace.is_none() && settings.kafka.is_empty());
    }

    #[test]
    fn credentials_for_a_service_of_whatever_namespace_are_refused() {
        let servers = "kafka: [{bootstrapServers: 'a.data.svc:9092,kafka:9092', sasl: {mechanism: PLAIN, credentialsSecret: k}}]\n\
             connect: [{url: 'http://connect:8083/', credentialsSecret: c}, {url: 'http://connect.data.svc:8083', credentialsSecret: c}]\n";
        let text = format!("cluster: shop\nworkers: {{image: acequia}}\n{servers}");
        let error = OperatorSettings::parse(&text).unwrap_err();
        for part in ["kafka[0].bootstrapServers", "kafka:9092", "connect[0].url", "<service>.<namespace>.svc"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("connect[1]"), "{error}");
        // There it is always the same Service.
        assert!(OperatorSettings::parse(&format!("namespace: shop\n{text}")).is_ok());
    }

    #[test]
    fn a_setting_that_nobody_knows_is_refused_by_its_name() {
        let text = "cluster: shop\nworkers: {image: acequia}\nconect: []\n";
        let error = serde_yaml::from_str::<OperatorSettings>(text).unwrap_err().to_string();
        assert!(error.contains("conect"), "{error}");
    }
}
