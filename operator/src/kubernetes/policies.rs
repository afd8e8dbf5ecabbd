//! NetworkPolicies of stages: there where the administrator wants them, and gone where not.

use std::sync::Arc;

use acequia_crds::names::StageId;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt as _;
use kube::api::DeleteParams;

use super::covers::covers;
use super::{Deployments, Error, stage_of};

impl Deployments {
    /// Whether the stage's NetworkPolicy is as expected, or not there where none is.
    pub(super) fn has_policy(&self, id: &StageId, expected: Option<&NetworkPolicy>) -> bool {
        let there = self.policies(id);
        expected.map_or(there.is_empty(), |expected| there.iter().any(|one| covers(expected, one.as_ref())))
    }

    pub(super) async fn remove_policy(&self, id: &StageId) -> Result<(), Error> {
        for policy in self.policies(id) {
            self.delete::<NetworkPolicy>(&policy.name_any(), &DeleteParams::default()).await?;
        }
        Ok(())
    }

    fn policies(&self, id: &StageId) -> Vec<Arc<NetworkPolicy>> {
        let mut policies = self.children.network_policies(&self.key());
        policies.retain(|policy| stage_of(policy.as_ref()).as_ref() == Some(id));
        policies
    }
}
