//! What can go wrong between this process and Kafka.

use std::time::Duration;

/// The result of a call to Kafka.
pub type Result<T> = std::result::Result<T, KafkaError>;

/// A call to Kafka that failed. Every message names the call and the address; none contains a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KafkaError {
    /// A client setting is refused by the client library, before anything was sent.
    #[error("{call} at {address}: the client refuses a setting: {reason}")]
    Config {
        /// The call.
        call: &'static str,
        /// The bootstrap servers.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No broker could be reached.
    #[error(
        "{call}: no broker of {address} can be reached; start one, or correct bootstrapServers: {reason}"
    )]
    Unreachable {
        /// The call.
        call: &'static str,
        /// The bootstrap servers.
        address: String,
        /// What the last attempt said.
        reason: String,
    },
    /// Brokers were reached, but there was no answer in time.
    #[error("{call} at {address} got no answer within {deadline:?}{}", suffix(.reason))]
    Timeout {
        /// The call.
        call: &'static str,
        /// The bootstrap servers.
        address: String,
        /// How long the call was allowed to take.
        deadline: Duration,
        /// What is known about why, or empty.
        reason: String,
    },
    /// The login was refused, or the user isn't allowed to do this.
    #[error("{call} at {address} was denied: {reason}")]
    Denied {
        /// The call.
        call: &'static str,
        /// The bootstrap servers.
        address: String,
        /// The broker's words.
        reason: String,
    },
    /// Another client took over this one's identity (`group.instance.id` or `transactional.id`). The process must
    /// end: what it does from here on no longer counts.
    #[error("{call} at {address}: another client with the same identity took over: {reason}")]
    Fenced {
        /// The call.
        call: &'static str,
        /// The bootstrap servers.
        address: String,
        /// The broker's words.
        reason: String,
    },
    /// The client can't go on; it must be dropped and made anew.
    #[error("{call} at {address}: the client can't go on and must be made anew: {reason}")]
    Fatal {
        /// The call.
        call: &'static str,
        /// The bootstrap servers.
        address: String,
        /// The library's words.
        reason: String,
    },
    /// A transaction failed in a way that needs [`crate::producer::Producer::abort_transaction`].
    #[error("{call} at {address}: the transaction must be aborted: {reason}")]
    MustAbort {
        /// The call.
        call: &'static str,
        /// The bootstrap servers.
        address: String,
        /// The library's words.
        reason: String,
    },
    /// This member's time in its consumer group is over: the group went on without it, or it isn't in the group at
    /// present. What was read as that member may be another's by now, so abort the transaction, drop what is in hand
    /// and poll: the partitions come back, or not, by [`crate::consumer::Rebalance`].
    #[error(
        "{call} at {address}: this member's time in its group is over; abort the transaction and drop what is in \
         hand: {reason}"
    )]
    MemberGone {
        /// The call.
        call: &'static str,
        /// The bootstrap servers.
        address: String,
        /// The broker's words.
        reason: String,
    },
    /// A broker or the client library answered with an error.
    #[error("{call} at {address} failed: {reason} (code {code})")]
    Broker {
        /// The call.
        call: &'static str,
        /// The bootstrap servers.
        address: String,
        /// Kafka's error code; negative codes are the client library's own.
        code: i32,
        /// The broker's words.
        reason: String,
    },
    /// The caller asked for something that can't be said to Kafka, such as a name with a zero byte.
    #[error("{call} at {address}: {reason}")]
    InvalidArgument {
        /// The call.
        call: &'static str,
        /// The bootstrap servers.
        address: String,
        /// What is wrong.
        reason: String,
    },
}

fn suffix(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

impl KafkaError {
    /// Whether the same call can succeed later without anyone changing anything.
    ///
    /// A denied call isn't transient: someone has to change a password or a permission (the caller may still try
    /// again from time to time, so that it heals by itself when that happened).
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::MustAbort { .. }
            | Self::MemberGone { .. } => true,
            Self::Broker { code, .. } => code::is_transient(*code),
            Self::Config { .. }
            | Self::Denied { .. }
            | Self::Fenced { .. }
            | Self::Fatal { .. }
            | Self::InvalidArgument { .. } => false,
        }
    }

    /// Kafka's error code, where a broker or the library gave one that has no variant of its own.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the group no longer counts on this member, so that what is in hand must be dropped: a
    /// [`Self::MemberGone`], or a commit that the coordinator refused for that reason.
    pub fn is_member_gone(&self) -> bool {
        matches!(self, Self::MemberGone { .. })
            || matches!(self.code(), Some(code::ILLEGAL_GENERATION | code::UNKNOWN_MEMBER_ID))
    }

    /// Whether the client takes a broker for the coordinator of a group that no longer is. An admin client of librdkafka
    /// 2.12.1 remembers coordinators for a quarter of an hour (`rkcc_expire_thres`), whatever they answer: only a new
    /// client asks who it is.
    pub fn is_stale_coordinator(&self) -> bool {
        self.code() == Some(code::NOT_COORDINATOR)
    }

    /// Whether the topic, partition or group doesn't exist.
    pub fn is_not_found(&self) -> bool {
        matches!(
            self.code(),
            Some(code::UNKNOWN_TOPIC_OR_PART | code::UNKNOWN_TOPIC | code::GROUP_ID_NOT_FOUND)
        )
    }
}

/// A call in progress: what its errors are about.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub name: &'static str,
    pub address: &'a str,
}

impl Call<'_> {
    /// The error for a code and a text that is already redacted.
    pub fn failed(self, code: i32, reason: impl Into<String>) -> KafkaError {
        let (call, address, reason) = (self.name, self.address.to_owned(), reason.into());
        match code {
            code::TRANSPORT | code::RESOLVE | code::ALL_BROKERS_DOWN | code::SSL => {
                KafkaError::Unreachable { call, address, reason }
            }
            code::AUTHENTICATION
            | code::SASL_AUTHENTICATION_FAILED
            | code::UNSUPPORTED_SASL_MECHANISM
            | code::TOPIC_AUTHORIZATION_FAILED
            | code::GROUP_AUTHORIZATION_FAILED
            | code::CLUSTER_AUTHORIZATION_FAILED
            | code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => KafkaError::Denied { call, address, reason },
            code::FENCED_INSTANCE_ID | code::PRODUCER_FENCED | code::FENCED => {
                KafkaError::Fenced { call, address, reason }
            }
            code::FATAL => KafkaError::Fatal { call, address, reason },
            _ => KafkaError::Broker { call, address, code, reason },
        }
    }

    pub fn member_gone(self, reason: impl Into<String>) -> KafkaError {
        let (call, address) = (self.name, self.address.to_owned());
        KafkaError::MemberGone { call, address, reason: reason.into() }
    }

    pub fn must_abort(self, reason: impl Into<String>) -> KafkaError {
        let (call, address) = (self.name, self.address.to_owned());
        KafkaError::MustAbort { call, address, reason: reason.into() }
    }

    pub fn timed_out(self, deadline: Duration, reason: impl Into<String>) -> KafkaError {
        let (call, address) = (self.name, self.address.to_owned());
        KafkaError::Timeout { call, address, deadline, reason: reason.into() }
    }

    pub fn invalid(self, reason: impl Into<String>) -> KafkaError {
        let (call, address) = (self.name, self.address.to_owned());
        KafkaError::InvalidArgument { call, address, reason: reason.into() }
    }

    pub fn config(self, reason: impl Into<String>) -> KafkaError {
        let (call, address) = (self.name, self.address.to_owned());
        KafkaError::Config { call, address, reason: reason.into() }
    }
}

/// The codes that are told apart. They are plain numbers, since a newer broker may answer with a code that the
/// bindings' enum doesn't know.
pub(crate) mod code {
    pub const TRANSPORT: i32 = -195;
    pub const RESOLVE: i32 = -193;
    pub const MSG_TIMED_OUT: i32 = -192;
    pub const PARTITION_EOF: i32 = -191;
    pub const UNKNOWN_PARTITION: i32 = -190;
    pub const UNKNOWN_TOPIC: i32 = -188;
    pub const ALL_BROKERS_DOWN: i32 = -187;
    pub const TIMED_OUT: i32 = -185;
    pub const SSL: i32 = -181;
    pub const ASSIGN_PARTITIONS: i32 = -175;
    pub const AUTHENTICATION: i32 = -169;
    pub const NO_ENTRY: i32 = -156;
    pub const NO_OFFSET: i32 = -168;
    pub const TIMED_OUT_QUEUE: i32 = -166;
    pub const FATAL: i32 = -150;
    pub const MAX_POLL_EXCEEDED: i32 = -147;
    pub const FENCED: i32 = -144;
    pub const AUTO_OFFSET_RESET: i32 = -140;
    pub const NONE: i32 = 0;
    pub const OFFSET_OUT_OF_RANGE: i32 = 1;
    pub const UNKNOWN_TOPIC_OR_PART: i32 = 3;
    pub const LEADER_NOT_AVAILABLE: i32 = 5;
    pub const NOT_COORDINATOR: i32 = 16;
    pub const ILLEGAL_GENERATION: i32 = 22;
    pub const UNKNOWN_MEMBER_ID: i32 = 25;
    pub const REBALANCE_IN_PROGRESS: i32 = 27;
    pub const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
    pub const GROUP_AUTHORIZATION_FAILED: i32 = 30;
    pub const CLUSTER_AUTHORIZATION_FAILED: i32 = 31;
    pub const UNSUPPORTED_SASL_MECHANISM: i32 = 33;
    pub const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i32 = 53;
    pub const SASL_AUTHENTICATION_FAILED: i32 = 58;
    pub const GROUP_ID_NOT_FOUND: i32 = 69;
    pub const FENCED_INSTANCE_ID: i32 = 82;
    pub const UNSTABLE_OFFSET_COMMIT: i32 = 88;
    pub const PRODUCER_FENCED: i32 = 90;

    /// Codes that tell a member of a group that its generation is over.
    pub const fn is_member_gone(code: i32) -> bool {
        matches!(code, ILLEGAL_GENERATION | UNKNOWN_MEMBER_ID | REBALANCE_IN_PROGRESS | FENCED_INSTANCE_ID)
    }

    /// Codes after which Kafka's own clients try again: leadership and coordinators on the move, replicas that
    /// lag, quotas, and the library's waits.
    pub const fn is_transient(code: i32) -> bool {
        matches!(
            code,
            MSG_TIMED_OUT
                | TIMED_OUT
                | TIMED_OUT_QUEUE
                | -180 // waits for the coordinator
                | -184 // local queue full
                | -164 // waits for metadata
                | 5..=9
                | 13..=16
                | 19
                | 20
                | ILLEGAL_GENERATION
                | UNKNOWN_MEMBER_ID
                | REBALANCE_IN_PROGRESS
                | 41
                | 51
                | 56
                | 60
                | 74..=75
                | 78
                | 88..=89
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Call<'static> = Call { name: "create topics", address: "kafka:9092" };

    #[test]
    fn every_message_names_the_call_and_the_address() {
        let deadline = Duration::from_secs(5);
        let codes = [code::TRANSPORT, code::AUTHENTICATION, code::PRODUCER_FENCED, code::FATAL, 36];
        let mut errors: Vec<_> = codes.map(|code| CALL.failed(code, "why")).into();
        errors.extend([CALL.timed_out(deadline, "why"), CALL.invalid("why"), CALL.config("why")]);
        errors.extend([CALL.member_gone("why"), CALL.must_abort("why")]);
        for error in errors {
            let text = error.to_string();
            for part in ["create topics", "kafka:9092", "why"] {
                assert!(text.contains(part), "{text} lacks {part}");
            }
        }
    }

    #[test]
    fn what_heals_by_itself_is_transient_and_what_needs_someone_is_not() {
        for transient in [code::TRANSPORT, code::ALL_BROKERS_DOWN, code::TIMED_OUT, 6, 15, 27] {
            assert!(CALL.failed(transient, "").is_transient(), "{transient}");
        }
        for lasting in [code::AUTHENTICATION, 29, code::FENCED_INSTANCE_ID, code::FATAL, 36, 40, 999] {
            assert!(!CALL.failed(lasting, "").is_transient(), "{lasting}");
        }
    }

    #[test]
    fn a_member_that_is_gone_is_told_from_a_commit_that_may_be_repeated() {
        assert!(CALL.member_gone("").is_member_gone());
        assert!(CALL.failed(code::ILLEGAL_GENERATION, "").is_member_gone());
        for other in [code::REBALANCE_IN_PROGRESS, code::TIMED_OUT, code::PRODUCER_FENCED] {
            assert!(!CALL.failed(other, "").is_member_gone(), "{other}");
        }
        assert!(!CALL.must_abort("").is_member_gone());
    }

    #[test]
    fn a_timeout_without_a_known_cause_ends_after_the_deadline() {
        let text = CALL.timed_out(Duration::from_secs(5), "").to_string();
        assert_eq!(text, "create topics at kafka:9092 got no answer within 5s");
    }
}
