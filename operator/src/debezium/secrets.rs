//! How a connector's configuration refers to a secret: text that Connect resolves, never the secret itself.

use std::path::Path;

/// Stands for the name of the secret in a template.
const SECRET: &str = "<secret>";
/// Stands for the key in the secret.
const KEY: &str = "<key>";

/// The two ways a connector refers to secrets: as a value, and as the path of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretReferences {
    value: String,
    file: Option<String>,
}

impl SecretReferences {
    /// Secrets are files `<folder>/<secret>/<key>` on the Connect workers, read through Connect's `dir` provider
    /// (`org.apache.kafka.common.config.provider.DirectoryConfigProvider`), whose `allowed.paths` holds `folder`.
    pub fn in_folder(folder: &Path) -> Self {
        let folder = folder.display();
        Self {
            value: format!("${{dir:{folder}/{SECRET}:{KEY}}}"),
            file: Some(format!("{folder}/{SECRET}/{KEY}")),
        }
    }

    /// Secrets are Kubernetes Secrets of `namespace`, read through a provider that is called `secrets` on the
    /// Connect workers. There is no file, so a store with `caSecret` is refused.
    pub fn in_namespace(namespace: &str) -> Self {
        Self { value: format!("${{secrets:{namespace}/{SECRET}:{KEY}}}"), file: None }
    }

    pub(super) fn value(&self, secret: &str, key: &str) -> String {
        self.value.replace(SECRET, secret).replace(KEY, key)
    }

    pub(super) fn file(&self, secret: &str, key: &str) -> Option<String> {
        Some(self.file.as_ref()?.replace(SECRET, secret).replace(KEY, key))
    }
}

/// Names as Kubernetes allows them for Secrets; anything else could leave its folder or end the reference.
pub(super) fn is_secret_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    name.len() <= 253
        && edge(name.chars().next())
        && edge(name.chars().last())
        && !name.contains("..")
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
}

/// Keys as Kubernetes allows them in Secrets.
pub(super) fn is_secret_key(key: &str) -> bool {
    !key.is_empty()
        && key.len() <= 253
        && !key.starts_with("..")
        && key != "."
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
