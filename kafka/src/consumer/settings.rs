//! How a consumer joins its group and how much it buffers.

use rdkafka::ClientConfig;

use crate::connection::Connection;

/// Settings of a [`super::BatchConsumer`]. [`ConsumerSettings::new`] has the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerSettings {
    /// What the broker's logs and quotas know the client by.
    pub client_id: String,
    /// The consumer group.
    pub group: String,
    /// Topics by name (no patterns). Those that don't exist yet are found within
    /// [`Self::metadata_refresh_ms`] after they were created.
    pub topics: Vec<String>,
    /// Makes the member static: after a restart within the session it gets its partitions back without a
    /// rebalance, and a second client with the same id fences the first. What was added meanwhile (partitions, topics here)
    /// it gets some seconds later. Default: none.
    pub instance_id: Option<String>,
    /// Leaves out records of transactions that are open or were aborted. Default: true.
    pub read_committed: bool,
    /// After this time without a heartbeat the group gives the partitions to others. Default: 10 000.
    pub session_timeout_ms: u32,
    /// After this time without a poll the member leaves the group. Default: 300 000.
    pub max_poll_interval_ms: u32,
    /// Upper bound of what is fetched ahead, over all partitions, in KiB. It is most of the memory this client
    /// uses. Default: 16 384.
    pub queued_max_kbytes: u32,
    /// How many records per partition are fetched ahead. Default: 10 000.
    pub queued_min_messages: u32,
    /// How often topics and partitions are looked up again. Default: 5 000.
    pub metadata_refresh_ms: u32,
}

impl ConsumerSettings {
    /// The defaults for a group that reads these topics.
    pub fn new(client_id: impl Into<String>, group: impl Into<String>, topics: Vec<String>) -> Self {
        Self {
            client_id: client_id.into(),
            group: group.into(),
            topics,
            instance_id: None,
            read_committed: true,
            session_timeout_ms: 10_000,
            max_poll_interval_ms: 300_000,
            queued_max_kbytes: 16_384,
            queued_min_messages: 10_000,
            metadata_refresh_ms: 5_000,
        }
    }

    pub(super) fn client_config(&self, connection: &Connection) -> ClientConfig {
        let mut config = connection.client_config(&self.client_id);
        config
            .set("group.id", &self.group)
            // Partitions that stay are read on while others move.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", self.session_timeout_ms.to_string())
            .set("heartbeat.interval.ms", (self.session_timeout_ms / 5).clamp(1, 3_000).to_string())
            .set("max.poll.interval.ms", self.max_poll_interval_ms.max(self.session_timeout_ms).to_string())
            .set("isolation.level", if self.read_committed { "read_committed" } else { "read_uncommitted" })
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Offsets live with the caller. Below the log's start is data loss, never a silent jump.
            .set("auto.offset.reset", "error")
            // Errors among the records spoil the library's position, and the end of a partition would be one: see
            // `position.rs`.
            .set("enable.partition.eof", "false")
            .set("allow.auto.create.topics", "false")
            // A commit that is waited for takes no longer than this.
            .set("socket.timeout.ms", "10000")
            .set("topic.metadata.refresh.interval.ms", self.metadata_refresh_ms.to_string())
            .set("queued.max.messages.kbytes", self.queued_max_kbytes.to_string())
            .set("queued.min.messages", self.queued_min_messages.to_string())
            // Offsets of an open transaction are asked for again this often, not once a second.
            .set("retry.backoff.max.ms", "200")
            // At the default of 1000 a reader that is slower than the fetcher stands still for a second at a time.
            .set("fetch.queue.backoff.ms", "10");
        if let Some(instance_id) = &self.instance_id {
            config.set("group.instance.id", instance_id);
        }
        config
    }
}
