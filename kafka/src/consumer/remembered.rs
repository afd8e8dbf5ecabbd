//! What a static member doesn't get when it comes back.
//!
//! A coordinator gives a static member that comes back within its session what it had, without a rebalance, also when it
//! subscribes to other topics now, or topics have grown since (KAFKA-13435). KIP-814 lets a leader find out; librdkafka 2.12.1
//! doesn't have it, and looks only for changes since its own start. So the group is looked at once after each start.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::ConsumerSettings;
use crate::admin::Admin;
use crate::connection::Connection;
use crate::error::Result;

/// How long the brokers may take to say what the group has.
const DEADLINE: Duration = Duration::from_secs(3);
/// Pause before they are asked again: they didn't answer, members were still joining, or partitions on their way from one
/// member to another.
const PAUSE: Duration = Duration::from_secs(2);

/// See the [module](self).
pub(super) struct Remembered {
    connection: Connection,
    client_id: String,
    group: String,
    /// What the member reads.
    pub topics: Vec<String>,
    due: Option<Instant>,
    /// What was missing when it was looked before.
    missed: BTreeSet<(String, i32)>,
}

impl Remembered {
    /// None for a member that isn't static.
    pub fn of(connection: &Connection, settings: &ConsumerSettings) -> Option<Self> {
        settings.instance_id.as_ref()?;
        Some(Self {
            connection: connection.clone(),
            client_id: settings.client_id.clone(),
            group: settings.group.clone(),
            topics: settings.topics.clone(),
            due: None,
            missed: BTreeSet::new(),
        })
    }

    /// The member has its partitions.
    pub fn has_joined(&mut self, now: Instant) {
        self.due.get_or_insert(now);
    }

    /// Whether it is time to look.
    pub fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// Partitions of the member's topics that nobody in the group has, twice in a row; None while that isn't known.
    pub fn missing(&mut self) -> Option<BTreeSet<(String, i32)>> {
        let seen = self.look().unwrap_or_else(|error| {
            tracing::debug!(group = self.group, %error, "what the group lacks isn't known yet");
            None
        });
        let missed = std::mem::replace(&mut self.missed, seen.clone().unwrap_or_default());
        let known = seen.filter(|missing| missing.is_empty() || *missing == missed);
        if known.is_none() {
            self.due = Some(Instant::now() + PAUSE);
        }
        known
    }

    fn look(&self) -> Result<Option<BTreeSet<(String, i32)>>> {
        let admin = Admin::connect(&self.connection, &self.client_id)?;
        let mut groups = admin.describe_groups(std::slice::from_ref(&self.group), DEADLINE)?;
        let Some(group) = groups.remove(&self.group).filter(|group| group.state == "Stable") else {
            return Ok(None);
        };
        let assigned: BTreeSet<(String, i32)> =
            group.members.into_iter().flat_map(|member| member.partitions).collect();
        let topics = admin.describe_topics(&self.topics, DEADLINE)?;
        let all = topics.iter().flat_map(|(name, topic)| {
            topic.partitions.iter().map(move |partition| (name.clone(), partition.id))
        });
        Ok(Some(all.filter(|partition| !assigned.contains(partition)).collect()))
    }
}
