//! Workers that run once, as Jobs.

use std::time::{Duration, Instant};

use k8s_openapi::Resource as _;
use k8s_openapi::api::batch::v1::Job as BatchJob;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, ListParams};

use super::objects::STAGE_LABEL;
use super::{Deployments, Error, POLL, bounded, is_owned_by, pods};
use crate::model::desired::Job;

impl Deployments {
    /// Runs a worker once, to its end, as a Job.
    ///
    /// # Errors
    /// The API server refused, the job ended without success, or it took longer than `deadline`.
    pub async fn run_job(&self, job: &Job, deadline: Duration) -> Result<(), Error> {
        let name = job_name(&job.name);
        let seconds = i64::try_from(deadline.as_secs()).unwrap_or(i64::MAX);
        let (mut config, batch) = self.shape.job(&name, job, seconds);
        // One that was left over by an operator that ended may have failed for a reason that is gone, or is still at work
        // on what has been made anew since: it goes only after its pod.
        self.delete::<BatchJob>(&name, &DeleteParams::foreground()).await?;
        self.delete::<ConfigMap>(&name, &DeleteParams::default()).await?;
        let uid = self.create(&batch).await?.metadata.uid.unwrap_or_default();
        // It goes with its job, also when this operator sees neither to an end. The pod waits for it.
        config.metadata.owner_references = Some(vec![OwnerReference {
            api_version: BatchJob::API_VERSION.to_owned(),
            kind: BatchJob::KIND.to_owned(),
            name: name.clone(),
            uid: uid.clone(),
            ..OwnerReference::default()
        }]);
        self.create(&config).await?;
        let ended = self.await_job(&name, &uid, deadline).await;
        self.delete::<BatchJob>(&name, &DeleteParams::background()).await?;
        self.delete::<ConfigMap>(&name, &DeleteParams::default()).await?;
        ended
    }

    async fn await_job(&self, name: &str, uid: &str, deadline: Duration) -> Result<(), Error> {
        let jobs: Api<BatchJob> = self.api();
        let started = Instant::now();
        loop {
            let what = format!("look at Job {name}");
            let Some(job) = bounded(what, jobs.get_opt(name)).await? else {
                // With its namespace, for example.
                let why = "somebody has deleted it".to_owned();
                return Err(Error::JobFailed { name: name.to_owned(), why });
            };
            let status = job.status.unwrap_or_default();
            // A container that was injected may hold its pod, and so the Job, after the worker has ended.
            let exit = self.exit_code(uid);
            if status.succeeded.unwrap_or(0) > 0 || exit == Some(0) {
                return Ok(());
            }
            let over = started.elapsed() >= deadline;
            if over || status.failed.unwrap_or(0) > 0 || exit.is_some() {
                let why = self.last_words(name).await.unwrap_or_else(|| "no reason is known".to_owned());
                let name = name.to_owned();
                return Err(if over {
                    Error::JobTimeout { name, seconds: deadline.as_secs(), why }
                } else {
                    Error::JobFailed { name, why }
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// How the worker of the Job with this UID ended, once it has.
    fn exit_code(&self, uid: &str) -> Option<i32> {
        let pods = self.children.pods(&self.key());
        let mut its = pods.iter().filter(|pod| is_owned_by(&pod.metadata, uid));
        its.find_map(|pod| Some(pods::exit(pod)?.exit_code))
    }

    async fn last_words(&self, job: &str) -> Option<String> {
        let pods: Api<Pod> = self.api();
        let params = ListParams::default().labels(&format!("{STAGE_LABEL}={job}"));
        let pods = bounded(format!("list pods of Job {job}"), pods.list(&params)).await.ok()?;
        let words = |pod: &Pod| pods::exit(pod).map(pods::ended).or_else(|| pods::replica(pod)?.last_exit);
        pods.items.iter().find_map(words)
    }
}

/// A DNS label from the name of a job.
fn job_name(name: &str) -> String {
    let readable: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let hash = acequia_crds::stage_report::config_hash(name);
    let readable: String = readable.to_ascii_lowercase().chars().take(40).collect();
    format!("{}-{}", readable.trim_end_matches('-'), &hash[..8])
}
