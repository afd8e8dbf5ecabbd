//! Topics, their configuration, offsets and groups: blocking calls, each with a deadline.
//!
//! Calls that name several topics or groups send one request and answer for each name, so that one refusal doesn't
//! hide what happened to the rest. Whatever doesn't exist is absent from what is described.

mod configs;
mod groups;
mod offsets;
mod request;
mod topics;

pub use configs::{ConfigChange, ConfigEntry};
pub use groups::{Group, GroupMember};
pub use offsets::OffsetOf;
pub use topics::{NewTopic, Partition, Topic};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::connection::Connection;
use crate::error::{Call, Result, code};
use crate::native::{Client, Kind};

/// A client for administration. Cheap to share between threads; each call blocks its thread.
pub struct Admin {
    client: Arc<Client>,
    // What the last broken connection said, until a call succeeds.
    outage: Mutex<Option<String>>,
}

/// What a broker says about one of the names in a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason} (code {code})")]
pub struct Refused {
    /// The topic or group.
    pub name: String,
    /// Kafka's error code.
    pub code: i32,
    /// The broker's words.
    pub reason: String,
}

/// A topic that couldn't be created, changed or deleted.
pub type TopicError = Refused;

/// A group that couldn't be deleted.
pub type GroupError = Refused;

/// What became of each name in a call.
pub type PerName = BTreeMap<String, std::result::Result<(), Refused>>;

impl Refused {
    /// The topic exists already.
    pub fn already_exists(&self) -> bool {
        self.code == 36
    }

    /// The topic or group doesn't exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self.code, code::UNKNOWN_TOPIC_OR_PART | code::UNKNOWN_TOPIC | code::GROUP_ID_NOT_FOUND)
    }

    /// The user may not do this.
    pub fn is_denied(&self) -> bool {
        (code::TOPIC_AUTHORIZATION_FAILED..=code::CLUSTER_AUTHORIZATION_FAILED).contains(&self.code)
    }

    /// Whether the same call can succeed later without anyone changing anything.
    pub fn is_transient(&self) -> bool {
        code::is_transient(self.code)
    }
}

impl Admin {
    /// Starts a client. Returns at once; whether a broker answers shows in the first call.
    pub fn connect(connection: &Connection, client_id: &str) -> Result<Self> {
        let client = Client::new(Kind::Admin, connection, &connection.client_config(client_id))?;
        Ok(Self { client, outage: Mutex::default() })
    }

    fn call(&self, name: &'static str) -> Call<'_> {
        self.client.call(name)
    }

    fn outage(&self) -> Option<String> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_outage(&self, outage: Option<String>) {
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = outage;
    }
}
