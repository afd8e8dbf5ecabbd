//! What the shop has in Redis.

use redis::Commands as _;
use serde_json::Value;

use super::figures::Values;
use super::manifest::pipeline_name;
use super::{NAMESPACE, Shop, field};

impl Shop {
    /// The measures of a document; none where it isn't.
    pub(super) fn document(&self, key: &str) -> Values {
        let text: Option<String> =
            self.redis_connection().and_then(|mut redis| redis.get(self.key(key)).ok()).flatten();
        let document: Value =
            text.map(|text| serde_json::from_str(&text).expect("a document")).unwrap_or_default();
        let measures = document["measures"].as_object().into_iter().flatten();
        measures.filter_map(|(name, value)| Some((name.clone(), field(value)?))).collect()
    }

    /// The fields of a hash of the shop's own.
    pub(super) fn hash(&self, key: &str) -> Values {
        self.hash_of(&self.key(key))
    }

    /// The fields of a key.
    pub(super) fn hash_of(&self, key: &str) -> Values {
        self.redis_connection().and_then(|mut redis| redis.hgetall(key).ok()).unwrap_or_default()
    }

    /// Keys by a pattern of Redis'.
    pub(super) fn keys(&self, pattern: &str) -> Vec<String> {
        self.redis_connection().and_then(|mut redis| redis.keys(pattern).ok()).unwrap_or_default()
    }

    fn key(&self, key: &str) -> String {
        format!("{}:{key}", self.name)
    }

    /// None while the server is down.
    fn redis_connection(&self) -> Option<redis::Connection> {
        let address = self.stack.address("redis:6379");
        redis::Client::open(format!("redis://{address}")).expect("an address").get_connection().ok()
    }

    /// Spoils a figure in Redis, for [`Self::figure_faults`] to see: a field of the first key like this, or a document.
    ///
    /// # Panics
    /// When Redis can't be written.
    pub fn spoil(&self, pattern: &str, field: &str) {
        let mut redis = self.redis_connection().expect("Redis answers");
        let key = self.keys(&self.key(pattern)).into_iter().next().expect("a key");
        let done = if field.is_empty() {
            redis.set::<_, _, ()>(key, "{}")
        } else {
            redis.hincr::<_, _, _, ()>(key, field, 1)
        };
        done.expect("Redis takes it");
    }

    /// Empties Redis of everything of the shop. `acequia delete` leaves it: values in stores are the user's.
    ///
    /// # Panics
    /// When Redis can't be written.
    pub fn drop_figures(&self) {
        let mut redis = self.redis_connection().expect("Redis answers");
        let of_pipeline = format!("acequia:local/{NAMESPACE}/{}:*", pipeline_name(&self.name));
        for pattern in [format!("{}:*", self.name), format!("{{{}:*", self.name), of_pipeline] {
            for key in self.keys(&pattern) {
                redis.del::<_, ()>(key).expect("Redis deletes it");
            }
        }
    }
}
