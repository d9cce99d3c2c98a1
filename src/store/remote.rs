//! How is an object store asked that is at the other end of a network?
//!
//! By the `object_store` crate: it signs requests, and repeats those that fail with growing pauses, at most
//! [`RETRY_TIME_MAX`]. Credentials, region and endpoint come from the environment, by the names that the
//! providers' own tools use (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT`,
//! `AZURE_STORAGE_ACCOUNT_NAME`, …); instances with a role need none.
//!
//! [`RemoteStore`] adds two things. Large objects with names of their own are sent in parts, at the same time.
//! And what queries read by `get_ranges` is kept by a [`BlockCache`]; `get` and `get_range` always ask the
//! store, so that checking does not check a copy, and merging does not displace what queries need.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    ObjectStoreScheme, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, RetryConfig,
    WriteMultipart,
};
use url::Url;

use super::cache::BlockCache;
use crate::error::{self, Error};

/// How long a request is repeated before it has failed.
const RETRY_TIME_MAX: Duration = Duration::from_mins(1);
/// Objects above this size are sent in parts.
const WHOLE_BYTES_MAX: usize = 16 << 20;
/// Size of a part, and how many are sent at once.
const PART_BYTES: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;
/// Folders whose objects have names that are never used again.
const UNIQUE: [&str; 2] = ["segments/", "runs/"];

/// A store at the other end of a network.
#[derive(Debug)]
pub struct RemoteStore {
    inner: Arc<dyn ObjectStore>,
    cache: Option<Arc<BlockCache>>,
}

impl RemoteStore {
    /// The objects below `url`; `cache` keeps what is read by ranges.
    ///
    /// Asks nobody yet. Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) when the URL is of no kind
    /// that is known, or the environment holds options that cannot be understood.
    pub(crate) fn open(url: &Url, cache: Option<Arc<BlockCache>>) -> error::Result<Self> {
        let retry = RetryConfig { retry_timeout: RETRY_TIME_MAX, ..RetryConfig::default() };
        Ok(Self { inner: client(url, retry)?, cache })
    }

    /// `inner`, as if it were far away.
    #[cfg(test)]
    pub(crate) fn with(inner: Arc<dyn ObjectStore>, cache: Option<Arc<BlockCache>>) -> Self {
        Self { inner, cache }
    }

    /// A second one for the same objects, with connections of its own and without cache: for a thread that has
    /// its own runtime, and repeats requests itself.
    pub(crate) fn client(url: &Url) -> error::Result<Arc<dyn ObjectStore>> {
        client(url, RetryConfig { max_retries: 1, ..RetryConfig::default() })
    }

    /// Sends an object in parts. It is there as a whole in the end, or not at all.
    async fn put_in_parts(&self, location: &Path, payload: PutPayload) -> Result<PutResult> {
        let upload = self.inner.put_multipart(location).await?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        for mut bytes in payload {
            // A piece of the payload may be all of it.
            while !bytes.is_empty() {
                if let Err(error) = parts.wait_for_capacity(PARTS_AT_ONCE).await {
                    // What was sent is thrown away by the store's own rules if this fails too.
                    let _ = parts.abort().await;
                    return Err(error);
                }
                parts.put(bytes.split_to(bytes.len().min(PART_BYTES)));
            }
        }
        parts.finish().await
    }
}

/// A client of the store in `url`, below its path.
fn client(url: &Url, retry: RetryConfig) -> error::Result<Arc<dyn ObjectStore>> {
    let wrong = |e: object_store::Error| Error::invalid(format!("cannot use {url}: {e}")).with_source(e);
    let unknown =
        || Error::invalid(format!("cannot use {url}: data is kept in a directory, s3://, gs:// or az://"));
    let (scheme, prefix) = ObjectStoreScheme::parse(url).map_err(|e| unknown().with_source(e))?;
    let at = url.as_str();
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => {
            Arc::new(AmazonS3Builder::from_env().with_url(at).with_retry(retry).build().map_err(wrong)?)
        }
        ObjectStoreScheme::GoogleCloudStorage => Arc::new(
            GoogleCloudStorageBuilder::from_env().with_url(at).with_retry(retry).build().map_err(wrong)?,
        ),
        ObjectStoreScheme::MicrosoftAzure => {
            Arc::new(MicrosoftAzureBuilder::from_env().with_url(at).with_retry(retry).build().map_err(wrong)?)
        }
        _ => return Err(unknown()),
    };
    Ok(if prefix.as_ref().is_empty() { store } else { Arc::new(PrefixStore::new(store, prefix)) })
}

impl fmt::Display for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for RemoteStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let in_parts = match opts.mode {
            // Parts cannot be put together under the condition that there is no such object yet.
            PutMode::Create => UNIQUE.iter().any(|folder| location.as_ref().starts_with(folder)),
            PutMode::Overwrite => true,
            PutMode::Update(_) => false,
        };
        if in_parts && payload.content_length() > WHOLE_BYTES_MAX {
            return self.put_in_parts(location, payload).await;
        }
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        match &self.cache {
            Some(cache) => cache.get_ranges(&self.inner, location, ranges).await,
            None => self.inner.get_ranges(location, ranges).await,
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn large_objects_go_in_parts_and_come_back_whole() {
        let inner = Arc::new(InMemory::new());
        let store = RemoteStore::with(inner, None);
        let bytes: Vec<u8> = (0..WHOLE_BYTES_MAX + 12_345).map(|i| (i % 251) as u8).collect();
        let payload: PutPayload = bytes.chunks(1_000_003).map(Bytes::copy_from_slice).collect();
        let path = Path::from("segments/2026/11/21/x.parquet");
        store.put_opts(&path, payload, PutMode::Create.into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), bytes);
        // Over another one, and as one piece.
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        store.put(&path, reversed.clone().into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), reversed);
        // What is not of one name for good is put in one piece, once.
        let path = Path::from("wal/1.wal");
        store.put_opts(&path, bytes.clone().into(), PutMode::Create.into()).await.unwrap();
        let again = store.put_opts(&path, bytes.into(), PutMode::Create.into()).await;
        assert!(matches!(again, Err(object_store::Error::AlreadyExists { .. })), "{again:?}");
    }

    #[test]
    fn an_url_of_no_known_kind_says_which_there_are() {
        let error = RemoteStore::open(&Url::parse("ftp://host/data").unwrap(), None).unwrap_err();
        assert!(error.message().contains("s3://"), "{error}");
    }
}
