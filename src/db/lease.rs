//! Is another process writing to this store right now?
//!
//! The lease is a courtesy: claims ([`catalog::claim`](crate::catalog::claim)) keep two writers from harming each
//! other, and the second one wins. To prevent a takeover by mistake, a writer renews the object `LOCK` every
//! [`RENEWAL`]. A new writer watches it first: if it changes, its owner is alive. Clocks are compared only to skip
//! the watch when the lease is more than a minute old.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::config::Location;
use crate::error::{Error, ErrorKind, Result};

const NAME: &str = "LOCK";
/// Interval between renewals.
const RENEWAL: Duration = Duration::from_secs(4);
/// Time for which a new writer watches a lease: three renewals.
const WATCH: Duration = Duration::from_secs(12);
/// Age from which a lease counts as dead without a watch.
const STALE: Duration = Duration::from_mins(1);

/// A writer's lease, renewed until dropped.
#[derive(Debug)]
pub(super) struct StoreLease {
    store: Arc<dyn ObjectStore>,
    id: Uuid,
    renewing: JoinHandle<()>,
    successor: Arc<OnceLock<String>>,
}

impl StoreLease {
    /// Takes the lease of `store`, the store of `data`. Waits [`WATCH`] when a recent lease is there.
    ///
    /// Fails with [`ErrorKind::Conflict`], naming the owner, when another process renews it meanwhile.
    pub(super) async fn acquire(
        store: Arc<dyn ObjectStore>,
        owner: String,
        data: &Location,
        now_ns: i64,
    ) -> Result<Self> {
        let cannot = |e: object_store::Error| Error::from(e).context(format!("cannot use {data}"));
        if let Some((before, at_ns)) = look(&store).await.map_err(cannot)? {
            let age_ns = now_ns.saturating_sub(at_ns);
            if u128::try_from(age_ns).unwrap_or(0) < STALE.as_nanos() {
                let other = owner_in(&before).to_owned();
                tracing::warn!(owner = %other, seconds = WATCH.as_secs(), "waiting to see whether another writer is alive");
                tokio::time::sleep(WATCH).await;
                if look(&store).await.map_err(cannot)?.is_some_and(|(now, _)| now != before) {
                    let message =
                        format!("{data} is being written by {other}: stop it, or open the data read-only");
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
            }
        }
        let id = Uuid::new_v4();
        renew(&store, id, &owner, 0).await.map_err(cannot)?;
        let successor = Arc::<OnceLock<String>>::default();
        let renewing = tokio::spawn(keep(Arc::clone(&store), id, owner, Arc::clone(&successor)));
        Ok(Self { store, id, renewing, successor })
    }

    /// Owner of the lease if another process has taken it over.
    pub(super) fn successor(&self) -> Option<&str> {
        self.successor.get().map(String::as_str)
    }

    /// Deletes the lease, so that the next writer need not wait.
    pub(super) async fn release(&self) {
        self.renewing.abort();
        if let Ok(Some((text, _))) = look(&self.store).await
            && text.starts_with(&self.id.to_string())
            && let Err(error) = self.store.delete(&Path::from(NAME)).await
        {
            tracing::warn!(%error, "could not delete LOCK; the next writer will wait a little");
        }
    }
}

impl Drop for StoreLease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Reads the lease's text, and the time at which it was put; none when there is no lease.
async fn look(store: &Arc<dyn ObjectStore>) -> object_store::Result<Option<(String, i64)>> {
    match store.get(&Path::from(NAME)).await {
        Ok(found) => {
            let at_ns = found.meta.last_modified.timestamp_nanos_opt().unwrap_or(0);
            Ok(Some((String::from_utf8_lossy(&found.bytes().await?).into_owned(), at_ns)))
        }
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn renew(store: &Arc<dyn ObjectStore>, id: Uuid, owner: &str, beat: u64) -> object_store::Result<()> {
    let text = format!("{id} {beat}\n{owner}\n");
    store.put(&Path::from(NAME), text.into()).await.map(drop)
}

fn owner_in(text: &str) -> &str {
    text.lines().nth(1).unwrap_or("another process")
}

/// Renews the lease until another process has it.
async fn keep(store: Arc<dyn ObjectStore>, id: Uuid, owner: String, successor: Arc<OnceLock<String>>) {
    for beat in 1.. {
        tokio::time::sleep(RENEWAL).await;
        if let Some(other) = renew_or_find_successor(&store, id, &owner, beat).await {
            tracing::error!(owner = %other, "another process has taken over writing");
            let _ = successor.set(other);
            return;
        }
    }
}

/// Renews the lease, unless another process has it: then returns that owner.
async fn renew_or_find_successor(
    store: &Arc<dyn ObjectStore>,
    id: Uuid,
    owner: &str,
    beat: u64,
) -> Option<String> {
    match look(store).await {
        Ok(Some((text, _))) if !text.starts_with(&id.to_string()) => return Some(owner_in(&text).to_owned()),
        Ok(_) => {
            if let Err(error) = renew(store, id, owner, beat).await {
                tracing::warn!(%error, "could not renew LOCK");
            }
        }
        Err(error) => tracing::warn!(%error, "could not read LOCK"),
    }
    None
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_successor_is_seen_with_the_next_renewal_and_not_overwritten() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let [stale, owner] = [Uuid::from_u128(1), Uuid::from_u128(2)];
        renew(&store, stale, "stale", 0).await.unwrap();
        assert_eq!(renew_or_find_successor(&store, stale, "stale", 1).await, None);
        renew(&store, owner, "owner", 0).await.unwrap();
        assert_eq!(renew_or_find_successor(&store, stale, "stale", 2).await.as_deref(), Some("owner"));
        assert!(look(&store).await.unwrap().unwrap().0.starts_with(&owner.to_string()));
    }
}
