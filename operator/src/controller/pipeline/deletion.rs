//! The end of a Pipeline: what is taken away, when it is let go, and what is told of the rest.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use kube::api::DynamicObject;

use super::{Keeper, Next, Office, TICK};
use crate::controller::events::Reason;
use crate::controller::last_valid::LastValid;
use crate::controller::object::{self, Finalizer, set_finalizer};
use crate::desired::{deletion_of, desired};
use crate::kubernetes::Error;
use crate::reconcile::Reconciler;

/// An operator that comes when the deadline has all but passed tries at least so long.
const LATE_TRY: Duration = Duration::from_secs(15);
/// How long it is tried to take away what a Pipeline left that was let go.
const CLEAR_UP_LASTS: Duration = Duration::from_hours(1);

impl Keeper {
    /// Takes everything away that is to go, and lets the object go once it is, or after the deadline.
    pub(super) async fn let_go(&mut self, object: &DynamicObject) -> Result<Next, Error> {
        if !object::has_finalizer(object) {
            // Put on just now: the object that has it comes by the watch.
            let is_held = self.kept.is_some()
                && object.metadata.deletion_timestamp.is_none()
                && !object::was_released(object);
            return Ok(if is_held { Next::GoOn } else { Next::Gone });
        }
        let mut let_go_at = match self.let_go_at {
            Some(at) => at,
            None => self.begin_deletion(object).await?,
        };
        if self.namespace_goes() && self.reconciler.as_mut().is_some_and(Reconciler::namespace_goes) {
            let_go_at = self.office.ends_at().map_or(let_go_at, |ends_at| let_go_at.min(ends_at));
            self.let_go_at = Some(let_go_at);
        }
        let Some(reconciler) = &mut self.reconciler else {
            // What was carried out was kept before. Now nobody knows the servers that it was carried out on.
            if LastValid::is_there(&self.office.client, &self.id(), &object.uid().unwrap_or_default()).await?
            {
                let note = "let go at once; left behind: all that it has in Kafka, Connect and databases, since this \
                            operator may not reach its servers any more, or can't read its last valid generation";
                self.office.metrics.left_behind();
                self.tell(Reason::LeftBehind, note).await;
            }
            set_finalizer(&self.office.client, object, Finalizer::Off).await?;
            return Ok(Next::Gone);
        };
        if !reconciler.is_settled() {
            if Instant::now() < let_go_at {
                self.turn().await;
                return Ok(Next::GoOn);
            }
            self.leave_behind(object).await;
        }
        set_finalizer(&self.office.client, object, Finalizer::Off).await?;
        Ok(Next::Gone)
    }

    async fn begin_deletion(&mut self, object: &DynamicObject) -> Result<Instant, Error> {
        if self.reconciler.is_none() {
            self.revive(object).await?;
        }
        if let (None, Ok(pipeline)) = (&self.reconciler, object::read(object)) {
            // Its ConfigMaps may be gone before it; nothing that is taken away depends on what is in them.
            let names = object::config_map_names(&pipeline.spec);
            let maps = names.into_iter().map(|name| (name.to_owned(), BTreeMap::default())).collect();
            if let Ok(wanted) = desired(&pipeline, &maps, &self.settings()) {
                // What is refused has nothing outside, or is told as left behind.
                let _ = self.take_up(object, wanted, object.metadata.generation.unwrap_or_default());
            }
        }
        if let Some(reconciler) = &mut self.reconciler {
            let policy = object::read(object).map(|pipeline| pipeline.spec);
            let spec = policy.ok().or_else(|| self.kept.as_ref().map(|kept| kept.spec.clone()));
            reconciler.delete();
            if let Some(spec) = spec {
                let gone = deletion_of(reconciler.desired(), &spec);
                // The same servers as before, so nothing about them is refused.
                let _ = reconciler.take_up(gone, object.metadata.generation.unwrap_or_default());
            }
        }
        let deadline = Duration::from_secs(self.office.settings.deletion_deadline_seconds);
        let at = Instant::now() + time_left(deadline, deleted_for(object));
        self.let_go_at = Some(at);
        Ok(at)
    }

    async fn leave_behind(&self, object: &DynamicObject) {
        let Some(report) = self.reconciler.as_ref().and_then(Reconciler::report) else { return };
        let left = crate::status::left_behind(report);
        let when = if self.namespace_goes() {
            "with its namespace".to_owned()
        } else {
            format!("after {} s", deleted_for(object).as_secs())
        };
        let note = format!("let go {when}; left behind: {left}");
        self.office.metrics.left_behind();
        self.tell(Reason::LeftBehind, &note).await;
    }
}

/// How long ago it was deleted, by the API server's clock and this one.
fn deleted_for(object: &DynamicObject) -> Duration {
    let deleted = object.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let elapsed = deleted.map(|at| jiff::Timestamp::now().duration_since(at));
    // Not at all, where the clocks differ.
    elapsed.and_then(|elapsed| Duration::try_from(elapsed).ok()).unwrap_or_default()
}

/// How much longer a Pipeline is held that was deleted so long ago.
fn time_left(deadline: Duration, deleted_for: Duration) -> Duration {
    deadline.saturating_sub(deleted_for).max(deadline.min(LATE_TRY))
}

/// Goes on taking away what a Pipeline left that was let go: a server that was away may come back.
pub async fn clear_up(mut reconciler: Reconciler, office: &Office) {
    let (began, mut stopping) = (Instant::now(), office.stopping.clone());
    let is_over = || {
        began.elapsed() >= CLEAR_UP_LASTS || office.ends_at().is_some_and(|ends_at| Instant::now() >= ends_at)
    };
    while !reconciler.is_settled() && !is_over() {
        if office.namespace_goes(&reconciler.desired().identity.namespace) {
            reconciler.namespace_goes();
        }
        if reconciler.turn().news.is_some()
            && let Some(report) = reconciler.report()
        {
            let pipeline = reconciler.desired().identity.to_string();
            tracing::info!(
                pipeline,
                left = crate::status::left_behind(report),
                "it is gone, and not all of it is"
            );
        }
        tokio::select! {
            () = reconciler.next() => {}
            () = tokio::time::sleep(TICK) => {}
            // An operator that ends, and one that is gone. One that goes with the namespace has no next one.
            _ = stopping.changed(), if office.ends_at().is_none() => break,
        }
    }
    reconciler.stop().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_runs_from_the_deletion_and_the_next_operator_has_a_try_of_its_own() {
        let left = |deadline, deleted_for| {
            let [deadline, deleted_for] = [deadline, deleted_for].map(Duration::from_secs);
            time_left(deadline, deleted_for).as_secs()
        };
        assert_eq!([left(45, 0), left(45, 20), left(45, 40), left(45, 4000)], [45, 25, 15, 15]);
        assert_eq!([left(5, 0), left(5, 60)], [5, 5]);
    }
}
