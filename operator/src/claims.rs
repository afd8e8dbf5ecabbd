//! The record of ownership as it is in Kafka: read whole once, and from then on only what is new.

use std::sync::Arc;
use std::time::Duration;

use acequia_crds::names::OWNERSHIP_TOPIC;
use acequia_kafka::admin::Admin;
use acequia_kafka::compacted::{Follower, Latest};
use acequia_kafka::{Connection, KafkaError};

use crate::model::ownership::{Claim, ClaimKey, Ownership};

/// All claims, as they were read last.
pub struct ClaimLog {
    follower: Follower,
    claims: Arc<Ownership>,
}

impl Default for ClaimLog {
    /// Nothing is read yet.
    fn default() -> Self {
        Self { follower: Follower::new(OWNERSHIP_TOPIC), claims: Arc::default() }
    }
}

impl ClaimLog {
    /// Every claim there is now; None while there is no topic for them.
    ///
    /// # Errors
    /// Its end wasn't reached within `deadline`.
    pub fn read(
        &mut self,
        connection: &Connection,
        admin: &Admin,
        deadline: Duration,
    ) -> Result<Option<Arc<Ownership>>, KafkaError> {
        let claims = &mut self.claims;
        let is_there = self.follower.catch_up(connection, admin, deadline, |told| take(claims, told))?;
        Ok(is_there.then(|| Arc::clone(&self.claims)))
    }
}

fn take(claims: &mut Arc<Ownership>, told: Latest<'_>) {
    let (key, claim) = match told {
        Latest::Anew => {
            *claims = Arc::default();
            return;
        }
        Latest::Tombstone(key) => (key, None),
        Latest::Value(key, value) => (key, Some(serde_json::from_slice::<Claim>(value))),
    };
    let Some(key) = ClaimKey::from_text(&String::from_utf8_lossy(key)) else { return };
    let claim = claim.and_then(|claim| {
        let unread = |error| {
            tracing::warn!(key = key.to_text(), %error, "a claim that this version can't read is left alone");
        };
        claim.map_err(unread).ok()
    });
    Arc::make_mut(claims).record(key, claim);
}
