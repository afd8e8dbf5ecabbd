//! What workers say of themselves at `GET /status`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use acequia_crds::stage_report::StageReport;

use crate::http::{Http, NoAnswer, Verb};
use crate::model::observed::{ObservedReplica, ReplicaState};

/// How long a worker may take to say how it is.
const REPORT_DEADLINE: Duration = Duration::from_secs(2);

/// Asks workers, and remembers what each said last.
pub struct Reports {
    http: Http,
    /// How long an answer stands for a worker that is slow.
    lasts: Duration,
    last: Mutex<Last>,
}

/// The last answer of each process or pod, and when it came.
type Last = BTreeMap<String, (Instant, StageReport)>;

impl Reports {
    /// Nobody is asked yet. An answer stands for a worker that is slow as long as `lasts`.
    ///
    /// # Errors
    /// TLS can't be set up on this machine.
    pub fn new(lasts: Duration) -> Result<Self, NoAnswer> {
        Ok(Self { http: Http::new(REPORT_DEADLINE)?, lasts, last: Mutex::default() })
    }

    /// Fills in what each of them says, all asked at once.
    pub async fn ask(&self, replicas: impl Iterator<Item = &mut ObservedReplica>) {
        let mut replicas: Vec<&mut ObservedReplica> = replicas.collect();
        let asked = replicas.iter_mut().map(|replica| async {
            if let Some(address) = &replica.address {
                replica.report = self.report(address).await;
            }
        });
        futures::future::join_all(asked).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        bridge(&mut last, replicas, Instant::now(), self.lasts);
    }

    async fn report(&self, address: &str) -> Option<StageReport> {
        let answer = self.http.call(Verb::Get, &format!("http://{address}/status"), None, None).await.ok()?;
        serde_json::from_str(&answer.body).ok()
    }
}

/// Gives one that didn't answer this time what it said last, for a while, and keeps what the others said.
fn bridge(last: &mut Last, replicas: Vec<&mut ObservedReplica>, now: Instant, lasts: Duration) {
    last.retain(|_, (at, _)| now.duration_since(*at) < lasts);
    for replica in replicas.into_iter().filter(|replica| replica.state == ReplicaState::Running) {
        let Some(who) = replica.pod.clone().or_else(|| replica.pid.map(|pid| pid.to_string())) else {
            continue;
        };
        match &replica.report {
            Some(report) => {
                last.insert(who, (now, report.clone()));
            }
            None => replica.report = last.get(&who).map(|(_, report)| report.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_world::replica;

    #[test]
    fn an_answer_stands_for_a_while_and_for_its_own_process_only() {
        let (mut last, t0) = (Last::new(), Instant::now());
        let mut answered = |seconds: u64, pid: u32, says: bool| {
            let mut one = ObservedReplica { pid: Some(pid), ..replica() };
            one.report = one.report.filter(|_| says);
            bridge(&mut last, vec![&mut one], t0 + Duration::from_secs(seconds), Duration::from_secs(10));
            one.report.is_some()
        };
        assert!(!answered(0, 1, false) && answered(0, 1, true));
        assert!(answered(9, 1, false) && !answered(9, 2, false));
        assert!(!answered(10, 1, false), "what was repeated is not new");
    }
}
