//! Namespaces that are being deleted. Everything in them goes: first the pods (Kubernetes 1.33 and later), then, once the
//! last pod is gone, Secrets, rights and Pipelines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use tokio::sync::watch;

use super::events::own_pod;
use crate::kubernetes::{Error, bounded};

/// How long the operator has from when it is told to stop, when its own namespace goes. The chart gives its pod 34 s.
const SEE_OFF_LASTS: Duration = Duration::from_secs(28);
/// How long the API server is asked why the operator is to stop.
const ASK_LASTS: Duration = Duration::from_secs(8);
/// Pause before it is asked again.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// Namespaces that are being deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Going {
    /// Since when, by name.
    since: BTreeMap<String, Timestamp>,
    /// The operator goes with its own one: when it ends.
    pub ends_at: Option<Instant>,
}

impl Going {
    /// Only the operator's own, with all that is in it.
    fn own(name: String, ends_at: Instant) -> Self {
        Self { since: BTreeMap::from([(name, Timestamp::MAX)]), ends_at: Some(ends_at) }
    }

    /// Whether this one is.
    pub fn contains(&self, name: &str) -> bool {
        self.since.contains_key(name)
    }

    /// Whether an object that was created then goes with its namespace. Nothing can be created in one that goes, so what is
    /// younger is in another one that has its name.
    pub fn takes(&self, name: &str, created: Option<Timestamp>) -> bool {
        self.since.get(name).is_some_and(|since| created.is_none_or(|created| created <= *since))
    }
}

/// Finds out whether the operator is to stop because its own namespace is being deleted: then nobody else can see off the
/// Pipelines there. `only` is the namespace that it keeps, if it is one.
pub async fn when_told_to_stop(client: &Client, only: Option<&str>, going: &watch::Sender<Option<Going>>) {
    let ends_at = Instant::now() + SEE_OFF_LASTS;
    match only {
        Some(own) if goes_at_last(client, own).await => {
            going.send_replace(Some(Going::own(own.to_owned(), ends_at)));
        }
        Some(_) => {}
        None => {
            let own = own_pod().and_then(|pod| pod.namespace).unwrap_or_default();
            going.send_modify(|going| {
                if let Some(going) = going.as_mut().filter(|going| going.contains(&own)) {
                    going.ends_at = Some(ends_at);
                }
            });
        }
    }
}

/// Asks until there is an answer, or no time left.
async fn goes_at_last(client: &Client, name: &str) -> bool {
    let began = Instant::now();
    loop {
        match goes(client, name).await {
            Ok(goes) => return goes,
            Err(error) if began.elapsed() < ASK_LASTS => {
                tracing::info!(%error, "whether the namespace goes isn't known yet");
            }
            Err(error) => {
                tracing::warn!(%error, "whether the namespace goes isn't known, so nothing is taken away");
                return false;
            }
        }
        tokio::time::sleep(ASK_PAUSE).await;
    }
}

async fn goes(client: &Client, name: &str) -> Result<bool, Error> {
    let api: Api<Namespace> = Api::all(client.clone());
    let found = bounded(format!("look at namespace {name}"), api.get_metadata_opt(name)).await?;
    Ok(found.is_none_or(|namespace| since(&namespace).is_some()))
}

/// Tells of all of them, for ever; first once they are listed.
pub async fn watch(client: Client, going: watch::Sender<Option<Going>>) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    let mut listed = BTreeMap::new();
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
fn take(
    going: &mut Option<Going>,
    listed: &mut BTreeMap<String, Timestamp>,
    event: watcher::Event<PartialObjectMeta<Namespace>>,
) -> bool {
    match event {
        watcher::Event::Init => listed.clear(),
        watcher::Event::InitApply(namespace) => {
            listed.extend(since(&namespace).map(|since| (namespace.name_any(), since)));
        }
        watcher::Event::InitDone => {
            let (was_known, known) = (going.is_some(), going.get_or_insert_default());
            let before = std::mem::replace(&mut known.since, std::mem::take(listed));
            return !was_known || before != known.since;
        }
        watcher::Event::Apply(namespace) => {
            // There is no way back but to be made anew.
            if let (Some(going), Some(since)) = (going, since(&namespace)) {
                return going.since.insert(namespace.name_any(), since).is_none();
            }
        }
        watcher::Event::Delete(namespace) => {
            return going.as_mut().is_some_and(|going| going.since.remove(&namespace.name_any()).is_some());
        }
    }
    false
}

fn since(namespace: &PartialObjectMeta<Namespace>) -> Option<Timestamp> {
    namespace.metadata.deletion_timestamp.as_ref().map(|time| time.0)
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
        let (mut going, mut listing) = (None, BTreeMap::new());
        let mut after = |events: Vec<Event<PartialObjectMeta<Namespace>>>| {
            let changed: Vec<bool> =
                events.into_iter().map(|event| take(&mut going, &mut listing, event)).collect();
            let names = going.iter().flat_map(|going: &Going| going.since.keys().cloned());
            (names.collect::<Vec<_>>().join(" "), changed.contains(&true))
        };
        let listed = |some: &[(&str, bool)]| {
            let some = some.iter().map(|(name, goes)| Event::InitApply(namespace(name, *goes)));
            std::iter::once(Event::Init).chain(some).chain([Event::InitDone]).collect::<Vec<_>>()
        };
        assert_eq!(after(vec![Event::Init, Event::InitApply(namespace("b", true))]), (String::new(), false));
        assert_eq!(after(listed(&[("a", false), ("b", true)])), ("b".to_owned(), true));
        assert_eq!(after(vec![Event::Apply(namespace("a", true))]), ("a b".to_owned(), true));
        assert_eq!(after(vec![Event::Apply(namespace("c", false))]), ("a b".to_owned(), false));
        assert_eq!(after(vec![Event::Delete(namespace("b", true))]), ("a".to_owned(), true));
        // `a` was deleted and made anew while nobody watched.
        assert_eq!(after(listed(&[("a", false)])), (String::new(), true));
        assert_eq!(after(listed(&[("a", false)])), (String::new(), false));
    }

    #[test]
    fn an_operator_that_goes_too_still_does_after_another_list() {
        let ends_at = Some(Instant::now());
        let (mut going, mut listing) = (Some(Going { since: BTreeMap::new(), ends_at }), BTreeMap::new());
        for event in [Event::Init, Event::InitApply(namespace("a", true)), Event::InitDone] {
            take(&mut going, &mut listing, event);
        }
        assert!(going.is_some_and(|going| going.contains("a") && going.ends_at == ends_at));
    }

    #[test]
    fn what_was_made_after_a_namespace_went_is_in_another_one() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let going = Going { since: BTreeMap::from([("a".to_owned(), at(10).unwrap())]), ends_at: None };
        assert!(going.takes("a", at(9)) && going.takes("a", at(10)) && going.takes("a", None));
        assert!(!going.takes("a", at(11)) && !going.takes("b", at(9)));
    }
}
