//! What is wrong with a connector, also when Connect says that it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use acequia_crds::debezium_keys::CONNECTOR_CLASS;

use super::Client;
use super::error::Error;
use super::explain::{Explanation, explain, starting};
use super::model::{Connector, State};

/// Each login to a database, and each page that Connect logs of it, is at least this far from the one before.
const LOGIN_EVERY: Duration = Duration::from_secs(15);
/// What a login told that nobody has asked about for so long is forgotten.
const LOGIN_FORGOTTEN: Duration = Duration::from_mins(10);
/// How long a login may take before the database counts as unreachable. Within it a server that only hangs is
/// told from one that is slow.
const LOGIN_DEADLINE: Duration = Duration::from_secs(8);

/// What the last logins told, by connector.
#[derive(Clone, Debug, Default)]
pub(super) struct Logins(Arc<Mutex<BTreeMap<String, Login>>>);

#[derive(Clone, Debug)]
struct Login {
    at: Instant,
    config: BTreeMap<String, String>,
    told: Told,
}

/// What a login told.
#[derive(Clone, Debug)]
enum Told {
    Well,
    Wrong(Explanation),
    /// It took too long, for the first time.
    Slow,
}

impl Client {
    /// What is wrong with each connector of `connectors`; those that are well are left out.
    ///
    /// A Debezium connector whose database is gone retries for ever and is called RUNNING, so Connect is asked to
    /// validate its configuration, which logs in; at most every 15 s for each connector, all at the same time.
    pub async fn diagnose(&self, connectors: &BTreeMap<String, Connector>) -> BTreeMap<String, Explanation> {
        let all = connectors.iter().map(|(name, connector)| async move {
            let told = match connector.failure() {
                Some(trace) => Some(explain(trace, &connector.config)),
                None if connector.state == State::Running => self.look_behind(name, connector).await,
                None => None,
            };
            told.map(|told| (name.clone(), told))
        });
        futures::future::join_all(all).await.into_iter().flatten().collect()
    }

    async fn look_behind(&self, name: &str, connector: &Connector) -> Option<Explanation> {
        let config = &connector.config;
        if config.get("connector.class").is_none_or(|class| class != CONNECTOR_CLASS) {
            return None;
        }
        let told = if let Some(told) = self.logins.recent(name, config) {
            told
        } else {
            let told = match log_in(self, config).await? {
                // One login that takes long says little: Connect or the database may only be busy.
                Told::Slow if self.logins.seems_away(name, config) => {
                    Told::Wrong(explain("connection validation timed out", config))
                }
                told => told,
            };
            self.logins.keep(name, config, told.clone());
            told
        };
        match told {
            Told::Wrong(explanation) => Some(explanation),
            Told::Well | Told::Slow => connector.tasks.is_empty().then(|| starting(config)),
        }
    }
}

impl Logins {
    fn recent(&self, name: &str, config: &BTreeMap<String, String>) -> Option<Told> {
        let logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let login = logins.get(name)?;
        let lasts = !matches!(login.told, Told::Slow) && login.at.elapsed() < LOGIN_EVERY;
        (lasts && login.config == *config).then(|| login.told.clone())
    }

    /// The login before was slow already, or told that something is wrong.
    fn seems_away(&self, name: &str, config: &BTreeMap<String, String>) -> bool {
        let logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logins.get(name).is_some_and(|login| login.config == *config && !matches!(login.told, Told::Well))
    }

    fn keep(&self, name: &str, config: &BTreeMap<String, String>, told: Told) {
        let login = Login { at: Instant::now(), config: config.clone(), told };
        let mut logins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of connectors that are gone.
        logins.retain(|_, login| login.at.elapsed() < LOGIN_FORGOTTEN);
        logins.insert(name.to_owned(), login);
    }
}

/// Nothing when Connect itself gave no answer.
async fn log_in(client: &Client, config: &BTreeMap<String, String>) -> Option<Told> {
    let validated = tokio::time::timeout(LOGIN_DEADLINE, client.validate(CONNECTOR_CLASS, config)).await;
    let complaint = match validated {
        Ok(Ok(errors)) => match errors.into_iter().next() {
            Some(error) => error.message,
            None => return Some(Told::Well),
        },
        Ok(Err(Error::MissingPlugin { .. })) => {
            "Failed to find any class that implements Connector".to_owned()
        }
        Ok(Err(_)) => return None,
        Err(_) => return Some(Told::Slow),
    };
    Some(Told::Wrong(explain(&complaint, config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_login_is_a_verdict_only_after_one_that_was_not_well() {
        let (logins, config) = (Logins::default(), BTreeMap::new());
        assert!(!logins.seems_away("a", &config), "the first");
        logins.keep("a", &config, Told::Slow);
        assert!(logins.recent("a", &config).is_none(), "it is tried again at the next look");
        assert!(logins.seems_away("a", &config) && !logins.seems_away("b", &config));
        logins.keep("a", &config, Told::Well);
        assert!(!logins.seems_away("a", &config));
    }
}
