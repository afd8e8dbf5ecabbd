//! What an engine is asked to do, and what an engine is.

/// An order to aggregate one topic.
#[derive(Clone, Debug)]
pub struct Order {
    /// The group that reads the topic. Every name of the order's own begins so.
    pub application: String,
    /// What to read.
    pub from: String,
    /// The topic for the results.
    pub topic: Option<String>,
    /// What the results' keys in Redis begin with.
    pub redis: Option<String>,
    /// To be kept on one core.
    pub pinned: bool,
    /// The topic is read while it is written: results come once, when the watermark has passed their window.
    pub calm: bool,
}

impl Order {
    /// An order with names of its own and no output.
    pub fn new(from: &str) -> Self {
        let application = acequia_tests::stack::unique("bench");
        Self { application, from: from.to_owned(), topic: None, redis: None, pinned: false, calm: false }
    }

    /// With a topic for the results, which is still to be created.
    #[must_use]
    pub fn into_topic(self) -> Self {
        Self { topic: Some(format!("{}.results", self.application)), ..self }
    }

    /// With keys in Redis.
    #[must_use]
    pub fn into_redis(self) -> Self {
        Self { redis: Some(format!("{}:", self.application)), ..self }
    }
}

/// Something that aggregates.
pub trait Engine {
    /// Its name in the report.
    fn name(&self) -> &'static str;

    /// Its process, if there is one.
    fn pid(&self) -> Option<u32>;

    /// Begins an order; returns at once.
    fn start(&mut self, order: &Order) -> anyhow::Result<()>;

    /// Fails once the engine has failed.
    fn check(&mut self) -> anyhow::Result<()>;

    /// Ends the order that was begun.
    fn stop(&mut self) -> anyhow::Result<()>;
}
