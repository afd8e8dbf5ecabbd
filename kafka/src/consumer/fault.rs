//! What a poll may report beside records.

use std::sync::Arc;

use crate::error::{Call, KafkaError, code};
use crate::native::Report;

/// Something a poll found out that isn't a record. The consumer goes on by itself unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The position isn't in the log: it was deleted by retention, or the topic was made anew. The partition stands
    /// still until [`super::BatchConsumer::seek`] or a new assignment.
    OutOfRange {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
    },
    /// Another client with the same `group.instance.id` took over. The process must end.
    Fenced(KafkaError),
    /// Polls came too late and the member left the group. The next poll joins again; the partitions come back as
    /// [`super::Rebalance::Lost`] first.
    MaxPollExceeded,
    /// No broker can be reached. The client goes on trying.
    Unreachable(KafkaError),
    /// A topic of the subscription doesn't exist. It is found when it is created.
    UnknownTopic {
        /// The topic.
        topic: Arc<str>,
    },
    /// The login was refused, or the user may not read the topic or the group. The client goes on trying.
    Denied(KafkaError),
    /// An offset commit was refused. Nothing is lost: commits are for lag tools.
    Commit(KafkaError),
    /// An offset commit wasn't taken this time, for example while the coordinator moved. It isn't repeated by itself.
    CommitLost,
    /// Anything else; see [`KafkaError::is_transient`].
    Other(KafkaError),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutOfRange { topic, partition } => {
                write!(f, "{topic}[{partition}]: the next offset isn't in the log any more")
            }
            Self::CommitLost => f.write_str("an offset commit wasn't taken; commit again"),
            Self::MaxPollExceeded => f.write_str("the group gave this member up: it polled too late"),
            Self::UnknownTopic { topic } => {
                write!(f, "topic {topic} doesn't exist; it is read once it is created")
            }
            Self::Fenced(error)
            | Self::Unreachable(error)
            | Self::Denied(error)
            | Self::Commit(error)
            | Self::Other(error) => error.fmt(f),
        }
    }
}

const CALL: &str = "poll the consumer";

/// The fault behind an error message that librdkafka put among the records.
pub(super) fn of_message(
    address: &str,
    number: i32,
    topic: Option<Arc<str>>,
    partition: i32,
    reason: &str,
    fatal: Option<&(i32, String)>,
) -> Option<Fault> {
    match (number, topic) {
        (code::FATAL, _) => Some(of_fatal(Call { name: CALL, address }, reason, fatal)),
        (code::PARTITION_EOF, _) => None,
        (code::AUTO_OFFSET_RESET | code::OFFSET_OUT_OF_RANGE, Some(topic)) => {
            Some(Fault::OutOfRange { topic, partition })
        }
        (code::UNKNOWN_TOPIC_OR_PART | code::UNKNOWN_TOPIC | code::UNKNOWN_PARTITION, Some(topic)) => {
            Some(Fault::UnknownTopic { topic })
        }
        (code::MAX_POLL_EXCEEDED, _) => Some(Fault::MaxPollExceeded),
        (number, topic) => {
            let about = topic.map_or_else(String::new, |topic| format!("{topic} [{partition}]: "));
            let error = Call { name: CALL, address }.failed(number, format!("{about}{reason}"));
            Some(of_error(error))
        }
    }
}

/// The library calls every end of the client "fatal"; the client's first fatal error says which it was.
fn of_fatal(call: Call<'_>, reason: &str, fatal: Option<&(i32, String)>) -> Fault {
    match fatal {
        Some((code::FENCED_INSTANCE_ID, reason)) => {
            Fault::Fenced(call.failed(code::FENCED_INSTANCE_ID, reason.as_str()))
        }
        Some((_, reason)) => Fault::Other(call.failed(code::FATAL, reason.as_str())),
        None => Fault::Other(call.failed(code::FATAL, reason)),
    }
}

fn of_error(error: KafkaError) -> Fault {
    match error {
        KafkaError::Unreachable { .. } => Fault::Unreachable(error),
        KafkaError::Denied { .. } => Fault::Denied(error),
        KafkaError::Fenced { .. } => Fault::Fenced(error),
        _ => Fault::Other(error),
    }
}

/// The faults behind what librdkafka reported outside any call.
///
/// One broker of several that is away isn't a fault, since the others answer; it is remembered in `last_outage` as
/// the reason for the time when all are away. `fatal` is the client's fatal error, if it has one.
pub(super) fn of_reports(
    address: &str,
    reports: Vec<Report>,
    fatal: Option<&(i32, String)>,
    last_outage: &mut Option<String>,
) -> Vec<Fault> {
    let call = Call { name: CALL, address };
    let mut faults = Vec::new();
    for Report { code: number, reason, commit } in reports {
        if commit {
            let call = Call { name: "commit offsets", address };
            let transient = code::is_transient(number);
            faults.push(if transient {
                Fault::CommitLost
            } else {
                Fault::Commit(call.failed(number, reason))
            });
            continue;
        }
        match number {
            code::TRANSPORT | code::RESOLVE | code::SSL => *last_outage = Some(reason),
            code::ALL_BROKERS_DOWN => {
                let reason = last_outage.clone().unwrap_or(reason);
                faults.push(Fault::Unreachable(call.failed(number, reason)));
            }
            code::FATAL => faults.push(of_fatal(call, &reason, fatal)),
            _ => faults.push(of_error(call.failed(number, reason))),
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(code: i32, reason: &str) -> Report {
        Report { code, reason: reason.into(), commit: false }
    }

    #[test]
    fn one_broker_away_is_no_fault_but_the_reason_when_all_are() {
        let mut last_outage = None;
        let one = of_reports("kafka:9092", vec![report(code::TRANSPORT, "refused")], None, &mut last_outage);
        assert_eq!(one, []);
        let all = of_reports(
            "kafka:9092",
            vec![report(code::ALL_BROKERS_DOWN, "1/1 down")],
            None,
            &mut last_outage,
        );
        let [Fault::Unreachable(error)] = all.as_slice() else { panic!("{all:?}") };
        assert!(error.to_string().contains("refused"), "{error}");
    }

    #[test]
    fn a_fenced_static_member_is_told_from_other_fatal_errors() {
        let faults = |fatal: Option<(i32, String)>| {
            of_reports("kafka:9092", vec![report(code::FATAL, "")], fatal.as_ref(), &mut None)
        };
        let fenced = faults(Some((code::FENCED_INSTANCE_ID, "another instance".to_owned())));
        assert!(matches!(fenced.as_slice(), [Fault::Fenced(_)]), "{fenced:?}");
        let other = faults(Some((48, "invalid state".to_owned())));
        assert!(matches!(other.as_slice(), [Fault::Other(KafkaError::Fatal { .. })]), "{other:?}");
    }

    #[test]
    fn a_commit_that_crossed_a_rebalance_is_to_be_repeated_and_a_forbidden_one_is_a_fault() {
        let commit = |code| Report { commit: true, ..report(code, "") };
        let reports = vec![commit(code::REBALANCE_IN_PROGRESS), commit(code::GROUP_AUTHORIZATION_FAILED)];
        let faults = of_reports("kafka:9092", reports, None, &mut None);
        assert!(
            matches!(faults.as_slice(), [Fault::CommitLost, Fault::Commit(KafkaError::Denied { .. })]),
            "{faults:?}"
        );
    }

    #[test]
    fn an_offset_that_is_gone_names_its_partition() {
        let fault = of_message("kafka:9092", code::AUTO_OFFSET_RESET, Some("orders".into()), 2, "", None);
        assert_eq!(fault, Some(Fault::OutOfRange { topic: "orders".into(), partition: 2 }));
    }
}
