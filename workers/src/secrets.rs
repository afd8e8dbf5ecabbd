//! Secrets as files: `<folder>/<secret name>/<key>`, mounted by Kubernetes or kept by the user of `acequia run`.

use std::path::{Path, PathBuf};

pub use acequia_kafka::secret::Secret;

/// The folder in which each secret is a folder of keys.
#[derive(Clone, Debug)]
pub struct SecretsFolder {
    path: PathBuf,
    /// Secrets are those of Kubernetes, and not files that somebody wrote.
    in_cluster: bool,
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
#[error("secret `{secret}` has no readable key `{key}` ({source}); {fix}")]
pub struct SecretMissing {
    secret: String,
    key: String,
    fix: String,
    #[source]
    source: std::io::Error,
}

/// A name and a password.
pub struct Credentials {
    /// Who logs in.
    pub username: String,
    /// What proves it.
    pub password: Secret,
}

/// A password, and a name where one is needed.
pub struct Login {
    /// Who logs in; none: whoever has the password.
    pub username: Option<String>,
    /// What proves it.
    pub password: Secret,
}

impl SecretsFolder {
    /// The folder at this path; it is read only when a secret is asked for.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        // Every container of a cluster has it.
        let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        Self { path: path.into(), in_cluster }
    }

    /// Where the file of a key is, whether or not it exists.
    pub fn file(&self, secret: &str, key: &str) -> PathBuf {
        self.path.join(Path::new(secret)).join(key)
    }

    /// The keys `username` and `password` of a secret.
    pub fn credentials(&self, secret: &str) -> Result<Credentials, SecretMissing> {
        Ok(Credentials {
            username: self.read(secret, "username")?,
            password: Secret::new(self.read(secret, "password")?),
        })
    }

    /// The keys `username`, which may be absent, and `password` of a secret.
    pub fn login(&self, secret: &str) -> Result<Login, SecretMissing> {
        let username = match self.read(secret, "username") {
            Ok(username) => Some(username),
            Err(missing) if missing.source.kind() == std::io::ErrorKind::NotFound => None,
            Err(missing) => return Err(missing),
        };
        Ok(Login { username, password: Secret::new(self.read(secret, "password")?) })
    }

    fn read(&self, secret: &str, key: &str) -> Result<String, SecretMissing> {
        std::fs::read_to_string(self.file(secret, key))
            // Editors and `echo` end a file with a line break that is no part of the secret.
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|source| self.missing(secret, key, source))
    }

    fn missing(&self, secret: &str, key: &str, source: std::io::Error) -> SecretMissing {
        let fix = if self.in_cluster {
            format!(
                "create it with all its keys: kubectl create secret generic {secret} --from-literal={key}=…"
            )
        } else {
            format!("create the file {key} in the folder {secret} of the secrets folder")
        };
        SecretMissing { secret: secret.to_owned(), key: key.to_owned(), fix, source }
    }
}
