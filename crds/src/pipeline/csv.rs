//! `spec.sources[].csv`: a file of comma-separated values.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kafka::SecretKey;
use super::text;
use super::union::only;

/// Reads a file with a header line, once; exactly one of `configMap`, `volumeClaim` and `url` says where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::CSV))]
pub struct Csv {
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<SecretKey>,
    /// A file in a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_claim: Option<VolumeFile>,
    /// An HTTP address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Long>")]
    pub url: Option<String>,
    /// The character between fields. Default: `,`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1))]
    pub delimiter: Option<String>,
    /// The columns. Lines that do not fit go to the dead letters.
    #[schemars(length(min = 1, max = 200))]
    pub columns: Vec<CsvColumn>,
}

/// Where the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsvOrigin<'a> {
    /// A key of a ConfigMap.
    ConfigMap(&'a SecretKey),
    /// A file in a volume.
    VolumeClaim(&'a VolumeFile),
    /// An HTTP address.
    Url(&'a str),
}

impl Csv {
    /// Where the file is; nothing when the spec names none or several places.
    pub fn origin(&self) -> Option<CsvOrigin<'_>> {
        only([
            self.config_map.as_ref().map(CsvOrigin::ConfigMap),
            self.volume_claim.as_ref().map(CsvOrigin::VolumeClaim),
            self.url.as_deref().map(CsvOrigin::Url),
        ])
    }
}

/// A file in a `PersistentVolumeClaim`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeFile {
    /// Name of the claim.
    #[schemars(with = "text::ObjectName")]
    pub name: String,
    /// Path in it. Example: `sales/2015.csv`.
    #[schemars(with = "text::Short")]
    pub path: String,
}

/// A column of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = crate::rules::OPTIONAL_RANGE))]
pub struct CsvColumn {
    /// Its name in the header, and of the field.
    #[schemars(with = "text::Short")]
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: CsvType,
    /// Of dates and times, as for strftime. Default: ISO 8601. Example: `%d-%m-%Y`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<text::Short>")]
    pub format: Option<String>,
    /// The least number allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest number allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// May be empty, and is null then. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What a column of a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CsvType {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// An exact decimal number.
    Decimal,
    /// A binary floating-point number.
    Double,
    /// `true` or `false`.
    Boolean,
    /// A date.
    Date,
    /// A time of day.
    Time,
    /// A date and time.
    Timestamp,
}
