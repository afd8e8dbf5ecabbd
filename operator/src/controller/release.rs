//! `acequia release`: what can still be done without an operator.

use acequia_crds::pipeline::Pipeline;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PartialObjectMeta};
use kube::{Client, ResourceExt as _};

use super::Error;
use super::object::{self, Finalizer};
use crate::kubernetes::{bounded, is_conflict};

/// How many Pipelines are released from one list.
const RELEASE_PAGE: u32 = 100;
/// How often the finalizer is tried to be taken off an object that somebody else writes at the same time.
const RELEASE_TRIES: usize = 10;

/// Takes the finalizer off all Pipelines and says off how many. An operator that still runs leaves them so, the next
/// one puts it on again.
///
/// # Errors
/// The API server can't be reached, or refused.
pub async fn release(namespace: Option<&str>) -> Result<usize, Error> {
    let client = Client::try_default().await.map_err(|error| Error::Client(Box::new(error)))?;
    let resource = ApiResource::erase::<Pipeline>(&());
    let pipelines: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let (mut released, mut refused) = (0, None);
    let mut page = ListParams::default().limit(RELEASE_PAGE);
    loop {
        // Without what is in them: there may be many.
        let list = bounded("list Pipelines".to_owned(), pipelines.list_metadata(&page)).await?;
        for object in list.items.into_iter().map(without_content).filter(object::has_finalizer) {
            match release_one(&client, object).await {
                Ok(()) => released += 1,
                Err(error) => refused = Some(error),
            }
        }
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    refused.map_or(Ok(released), |error| Err(error.into()))
}

fn without_content(object: PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject { types: object.types, metadata: object.metadata, data: serde_json::Value::Null }
}

/// Takes the finalizer off one, however often its operator writes to it meanwhile.
async fn release_one(client: &Client, mut object: DynamicObject) -> Result<(), crate::kubernetes::Error> {
    let api = object::api(client, &object.namespace().unwrap_or_default());
    for _ in 0..RELEASE_TRIES {
        match object::set_finalizer(client, &object, Finalizer::Released).await {
            Err(crate::kubernetes::Error::Api { source, .. }) if is_conflict(&source) => {}
            done => return done,
        }
        let name = object.name_any();
        match bounded(format!("read Pipeline {name}"), api.get_opt(&name)).await? {
            Some(newer) => object = newer,
            None => return Ok(()),
        }
    }
    object::set_finalizer(client, &object, Finalizer::Released).await
}
