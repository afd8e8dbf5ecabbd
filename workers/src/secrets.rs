//! Secrets as files: `<folder>/<secret name>/<key>`, mounted by Kubernetes or kept by the user of `acequia run`.

use std::path::{Path, PathBuf};

pub use acequia_kafka::secret::Secret;

/// The folder in which each secret is a folder of keys.
#[derive(Clone, Debug)]
pub struct SecretsFolder {
    path: PathBuf,
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "secret `{secret}` has no readable key `{key}` ({source}); create the file {key} in the folder {secret} of the secrets folder"
)]
pub struct SecretMissing {
    secret: String,
    key: String,
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
        Self { path: path.into() }
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
            .map_err(|source| SecretMissing { secret: secret.to_owned(), key: key.to_owned(), source })
    }
}
