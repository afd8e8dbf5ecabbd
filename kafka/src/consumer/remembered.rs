//! What a static member gets when it comes back, and what it should have got.
//!
//! A coordinator gives a static member that comes back within its session what it had, without a rebalance, also when it
//! subscribes to other topics now, or topics have grown since (KAFKA-13435). KIP-814 lets a leader find out; librdkafka 2.12.1
//! doesn't have it, and looks only for changes since its own start. So the group is looked at after each start.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::ConsumerSettings;
use crate::admin::Admin;
use crate::connection::Connection;
use crate::error::Result;

/// How long the brokers may take to say what the group has.
const DEADLINE: Duration = Duration::from_secs(5);
/// Pause before they are asked again: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// Beside other members partitions may be on their way from one to another; no longer than this.
const STEADY: Duration = Duration::from_secs(20);
/// How often the group is joined anew.
const TRIES: u32 = 3;

/// See the [module](self).
pub(super) struct Remembered {
    member: Arc<Member>,
    due: Option<Instant>,
    /// A look that is under way.
    look: Option<Receiver<Option<Seen>>>,
    pause: Duration,
    /// What is amiss, and since when.
    amiss: Option<(BTreeSet<(String, i32)>, Instant)>,
    tries_left: u32,
}

/// Who looks.
struct Member {
    connection: Connection,
    client_id: String,
    instance_id: String,
    group: String,
    topics: Vec<String>,
}

/// What a look at a group found.
struct Seen {
    /// Partitions of the member's topics that nobody has, and others that the member has.
    amiss: BTreeSet<(String, i32)>,
    /// There is no other member.
    is_alone: bool,
}

impl Remembered {
    /// None for a member that isn't static.
    pub fn of(connection: &Connection, settings: &ConsumerSettings) -> Option<Self> {
        let member = Member {
            connection: connection.clone(),
            client_id: settings.client_id.clone(),
            instance_id: settings.instance_id.clone()?,
            group: settings.group.clone(),
            topics: settings.topics.clone(),
        };
        Some(Self {
            member: Arc::new(member),
            due: None,
            look: None,
            pause: PAUSE.0,
            amiss: None,
            tries_left: TRIES,
        })
    }

    /// The member was given its partitions.
    pub fn has_joined(&mut self, now: Instant) {
        if self.tries_left > 0 && self.look.is_none() {
            self.due.get_or_insert(now);
        }
    }

    /// Whether the group is to be joined anew. Never waits: a thread looks.
    pub fn is_to_join_anew(&mut self, now: Instant) -> bool {
        if let Some(look) = &self.look {
            let seen = match look.try_recv() {
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => None,
                Ok(seen) => seen,
            };
            self.look = None;
            return self.judge(seen, now);
        }
        if self.due.is_some_and(|due| now >= due) {
            self.due = None;
            let (found, look) = channel();
            let member = Arc::clone(&self.member);
            std::thread::spawn(move || {
                let seen = member.look().unwrap_or_else(|error| {
                    tracing::debug!(group = member.group, %error, "what the group lacks isn't known yet");
                    None
                });
                // Nobody listens any more once the consumer is closed.
                let _ = found.send(seen);
            });
            self.look = Some(look);
        }
        false
    }

    fn judge(&mut self, seen: Option<Seen>, now: Instant) -> bool {
        let Some(Seen { amiss, is_alone }) = seen else {
            self.due = Some(now + self.pause);
            self.pause = (self.pause * 2).min(PAUSE.1);
            return false;
        };
        if amiss.is_empty() {
            self.tries_left = 0;
            return false;
        }
        let since = self.amiss.take().filter(|(before, _)| *before == amiss).map_or(now, |(_, since)| since);
        if is_alone || now.duration_since(since) >= STEADY {
            tracing::info!(group = self.member.group, ?amiss, "the group's partitions are shared out anew");
            self.tries_left = self.tries_left.saturating_sub(1);
            return true;
        }
        self.amiss = Some((amiss, since));
        self.due = Some(now + PAUSE.0);
        false
    }
}

impl Member {
    /// None while members are joining.
    fn look(&self) -> Result<Option<Seen>> {
        let admin = Admin::connect(&self.connection, &self.client_id)?;
        let mut groups = admin.describe_groups(std::slice::from_ref(&self.group), DEADLINE)?;
        let Some(group) = groups.remove(&self.group).filter(|group| group.state == "Stable") else {
            return Ok(None);
        };
        let is_foreign = |partition: &&(String, i32)| !self.topics.contains(&partition.0);
        let own =
            group.members.iter().filter(|member| member.instance_id.as_ref() == Some(&self.instance_id));
        let mut amiss: BTreeSet<(String, i32)> =
            own.flat_map(|member| &member.partitions).filter(is_foreign).cloned().collect();
        let assigned: BTreeSet<&(String, i32)> =
            group.members.iter().flat_map(|member| &member.partitions).collect();
        let topics = admin.describe_topics(&self.topics, DEADLINE)?;
        let all = topics.iter().flat_map(|(name, topic)| {
            topic.partitions.iter().map(move |partition| (name.clone(), partition.id))
        });
        amiss.extend(all.filter(|partition| !assigned.contains(partition)));
        Ok(Some(Seen { amiss, is_alone: group.members.len() == 1 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered() -> Remembered {
        let mut settings = ConsumerSettings::new("test", "group", vec!["orders".to_owned()]);
        settings.instance_id = Some("pod-0".to_owned());
        Remembered::of(&Connection::plaintext("127.0.0.1:1"), &settings).unwrap()
    }

    fn seen(amiss: &[i32], is_alone: bool) -> Seen {
        let amiss = amiss.iter().map(|partition| ("orders".to_owned(), *partition)).collect();
        Seen { amiss, is_alone }
    }

    #[test]
    fn a_lone_member_joins_anew_at_once_and_a_few_times_at_most() {
        let (mut one, now) = (remembered(), Instant::now());
        assert!((0..TRIES).all(|_| one.judge(Some(seen(&[2], true)), now)));
        one.has_joined(now);
        assert!(one.due.is_none(), "that is enough");
        let mut complete = remembered();
        assert!(!complete.judge(Some(seen(&[], true)), now));
        complete.has_joined(now);
        assert!(complete.due.is_none(), "nothing more to look for");
    }

    #[test]
    fn beside_others_a_hand_over_has_its_time_and_what_is_not_known_is_asked_again() {
        let (mut one, t0) = (remembered(), Instant::now());
        let at = |seconds| t0 + Duration::from_secs(seconds);
        assert!(!one.judge(Some(seen(&[1, 2], false)), at(0)));
        assert!(!one.judge(Some(seen(&[2], false)), at(10)), "it goes on");
        assert!(!one.judge(Some(seen(&[2], false)), at(29)) && one.judge(Some(seen(&[2], false)), at(30)));
        let pauses: Vec<u64> = (0..6)
            .map(|_| {
                assert!(!one.judge(None, t0));
                one.due.unwrap().duration_since(t0).as_secs()
            })
            .collect();
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30]);
    }
}
