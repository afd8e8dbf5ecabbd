//! What is mounted into a pod: its configuration, and secrets as files.

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, SecretVolumeSource, Volume, VolumeMount};

/// Where the configuration is.
pub const CONFIG_FOLDER: &str = "/etc/acequia/stage";
/// Where secrets are, each a folder.
pub const SECRETS_FOLDER: &str = "/etc/acequia/secrets";

/// A ConfigMap, and Secrets by name.
pub fn volumes(config_map: &str, secrets: &[&str]) -> Vec<Volume> {
    let config = Volume {
        name: "stage".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map.to_owned(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let secrets = secrets.iter().enumerate().map(|(index, name)| Volume {
        name: format!("secret-{index}"),
        secret: Some(SecretVolumeSource {
            secret_name: Some((*name).to_owned()),
            default_mode: Some(0o440),
            // The worker says which one is missing, and goes on by itself once it is there.
            optional: Some(true),
            items: None,
        }),
        ..Volume::default()
    });
    std::iter::once(config).chain(secrets).collect()
}

/// Where [`volumes`] are seen.
pub fn mounts(secrets: &[&str]) -> Vec<VolumeMount> {
    let mount = |name: String, path: String| VolumeMount {
        name,
        mount_path: path,
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let secrets = secrets.iter().enumerate();
    let secrets =
        secrets.map(|(index, name)| mount(format!("secret-{index}"), format!("{SECRETS_FOLDER}/{name}")));
    std::iter::once(mount("stage".to_owned(), CONFIG_FOLDER.to_owned())).chain(secrets).collect()
}
