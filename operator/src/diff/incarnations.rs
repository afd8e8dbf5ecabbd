//! Incarnations of aggregations: what an edit of the meaning costs, and when the state of the meaning before goes.

use crate::model::desired::{DeletionPolicy, Desired};
use crate::model::observed::Observed;
use crate::model::ownership::{Claim, ClaimKind, ClaimState, Claimed, TopicClaim};
use crate::model::plan::{Change, Note, Plan};

/// What is said of an aggregation whose meaning has changed.
const REBUILD: &str = "rebuild from the log's start, since what it means has changed; what is kept of its state before goes \
     (topics and consumer groups)";

/// Says so of each aggregation that begins anew: an incarnation of it is on record that is not the manifest's.
pub(super) fn notes(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let Ok(ownership) = &observed.ownership else { return };
    for (name, claim) in ownership.of_owner(ClaimKind::Topic, &desired.identity.to_string()) {
        let Claimed::Topic(TopicClaim { stage: Some(stage), groups, .. }) = &claim.of else { continue };
        // Of the topics of an incarnation, one remembers its groups.
        if groups.is_empty() || desired.topics.contains_key(name) || !desired.stages.contains_key(stage) {
            continue;
        }
        let note = Note { stage: stage.clone(), text: REBUILD.to_owned() };
        if !plan.notes.contains(&note) {
            plan.notes.push(note);
        }
    }
}

/// Whether a topic that isn't in the manifest is still to be dealt with. One that was let go with its Pipeline is, if it
/// is a stage's own: the Pipeline is back, and the stage isn't, or means something else.
pub(super) fn is_to_go(claim: &Claim, desired: &Desired) -> bool {
    let is_a_stages_own = matches!(
        &claim.of,
        Claimed::Topic(TopicClaim { stage: Some(_), deletion_policy: DeletionPolicy::Delete, .. })
    );
    claim.state != ClaimState::Released || is_a_stages_own && !desired.retains_state
}

/// What becomes of a topic that isn't in the manifest.
pub(super) fn policy(recorded: &TopicClaim, desired: &Desired) -> DeletionPolicy {
    if desired.retains_state && recorded.stage.is_some() {
        DeletionPolicy::Retain
    } else {
        recorded.deletion_policy
    }
}

/// Takes away the consumer groups that a topic remembers. True: some are there, so the topic has to stay for now, or
/// nobody would know of them any more.
pub(super) fn groups_remain(name: &str, recorded: &TopicClaim, observed: &Observed, plan: &mut Plan) -> bool {
    let mut remain = false;
    for group in &recorded.groups {
        let Some(seen) = observed.lag.get(group) else { continue };
        remain = true;
        let what = format!("deletion of consumer group {group}");
        match seen {
            Ok(lag) if lag.members == 0 => plan.changes.push(Change::DeleteGroup { name: group.clone() }),
            Ok(_) => plan.wait(what, "its members to go".to_owned()),
            Err(unreachable) => plan.wait(what, unreachable.to_string()),
        }
    }
    if remain {
        plan.wait(format!("deletion of topic {name}"), "its consumer groups to go".to_owned());
    }
    remain
}
