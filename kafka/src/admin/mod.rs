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
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::connection::Connection;
use crate::error::{Call, Result, code};
use crate::native::{Client, Kind};

/// A client for administration. Cheap to share between threads; each call blocks its thread.
pub struct Admin {
    connection: Connection,
    client_id: String,
    client: Arc<Client>,
    // Made when it is first needed.
    groups: OnceLock<Box<Admin>>,
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
        Self::of_kind(Kind::Admin, connection, client_id)
    }

    fn of_kind(kind: Kind, connection: &Connection, client_id: &str) -> Result<Self> {
        let mut config = connection.client_config(client_id);
        if kind == Kind::GroupAdmin {
            // Never joined.
            config.set("group.id", "acequia-admin").set("allow.auto.create.topics", "false");
        }
        Ok(Self {
            connection: connection.clone(),
            client_id: client_id.to_owned(),
            client: Client::new(kind, connection, &config)?,
            groups: OnceLock::new(),
            outage: Mutex::default(),
        })
    }

    /// The client that asks for groups' offsets. When a coordinator isn't ready, as after a start of its broker, librdkafka
    /// 2.12.1 tells the client's own group to look for another, without looking whether the client has one: a client
    /// that isn't a consumer takes the process with it (`rd_kafka_handle_OffsetFetch`).
    fn of_groups(&self) -> Result<&Self> {
        if let Some(groups) = self.groups.get() {
            return Ok(groups);
        }
        let groups = Self::of_kind(Kind::GroupAdmin, &self.connection, &self.client_id)?;
        Ok(self.groups.get_or_init(|| Box::new(groups)))
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
