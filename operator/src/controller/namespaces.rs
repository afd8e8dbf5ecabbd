//! Namespaces that are being deleted. Everything in them goes: first the pods (Kubernetes 1.33 and later), then, once the
//! last pod is gone, Secrets, rights and Pipelines.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use tokio::sync::watch;

use crate::kubernetes::{Error, bounded};

/// Names of namespaces that are being deleted.
pub type Going = BTreeSet<String>;

/// Whether a namespace is being deleted.
///
/// # Errors
/// The API server can't be reached, or refused.
pub async fn goes(client: &Client, name: &str) -> Result<bool, Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = bounded(format!("look at namespace {name}"), api.get_metadata_opt(name)).await?;
    Ok(found.is_none_or(|namespace| is_going(&namespace)))
}

/// Tells of all of them, for ever.
pub async fn watch(client: Client, going: watch::Sender<Going>) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut listed = Going::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                going.send_if_modified(|going| take(going, &mut listed, event));
            }
            Err(error) => tracing::warn!(%error, "the watch over namespaces was interrupted and goes on"),
        }
    }
}

/// Whether that changed anything.
fn take(going: &mut Going, listed: &mut Going, event: watcher::Event<PartialObjectMeta<Namespace>>) -> bool {
    match event {
        watcher::Event::Init => listed.clear(),
        watcher::Event::InitApply(namespace) if is_going(&namespace) => {
            listed.insert(namespace.name_any());
        }
        watcher::Event::InitDone => {
            let before = std::mem::replace(going, std::mem::take(listed));
            return before != *going;
        }
        // There is no way back but to be made anew.
        watcher::Event::Apply(namespace) if is_going(&namespace) => {
            return going.insert(namespace.name_any());
        }
        watcher::Event::Delete(namespace) => return going.remove(&namespace.name_any()),
        watcher::Event::InitApply(_) | watcher::Event::Apply(_) => {}
    }
    false
}

fn is_going(namespace: &PartialObjectMeta<Namespace>) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::runtime::watcher::Event;

    use super::*;

    fn namespace(name: &str, goes: bool) -> PartialObjectMeta<Namespace> {
        let mut namespace = PartialObjectMeta::default();
        namespace.metadata.name = Some(name.to_owned());
        namespace.metadata.deletion_timestamp = goes.then_some(Time(jiff::Timestamp::UNIX_EPOCH));
        namespace
    }

    #[test]
    fn those_that_go_are_known_until_they_are_gone_also_when_that_was_missed() {
        let (mut going, mut listed) = (Going::new(), Going::new());
        let mut after = |events: Vec<Event<PartialObjectMeta<Namespace>>>| {
            let changed: Vec<bool> =
                events.into_iter().map(|event| take(&mut going, &mut listed, event)).collect();
            (going.iter().cloned().collect::<Vec<_>>().join(" "), changed.contains(&true))
        };
        let listed = |some: &[(&str, bool)]| {
            let some = some.iter().map(|(name, goes)| Event::InitApply(namespace(name, *goes)));
            std::iter::once(Event::Init).chain(some).chain([Event::InitDone]).collect::<Vec<_>>()
        };
        assert_eq!(after(listed(&[("a", false), ("b", true)])), ("b".to_owned(), true));
        assert_eq!(after(vec![Event::Apply(namespace("a", true))]), ("a b".to_owned(), true));
        assert_eq!(after(vec![Event::Apply(namespace("c", false))]), ("a b".to_owned(), false));
        assert_eq!(after(vec![Event::Delete(namespace("b", true))]), ("a".to_owned(), true));
        // `a` was deleted and made anew while nobody watched.
        assert_eq!(after(listed(&[("a", false)])), (String::new(), true));
        assert_eq!(after(listed(&[("a", false)])), (String::new(), false));
    }
}
