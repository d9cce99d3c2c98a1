//! How are objects read from and written to a remote store?
//!
//! With the `object_store` crate: it signs requests, and retries failed ones with growing pauses, for at most
//! [`RETRY_TIME_MAX`]. Credentials, region and endpoint come from the environment variables that the providers'
//! own tools use (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT`,
//! `AZURE_STORAGE_ACCOUNT_NAME`, …); instances with a role need none.
//!
//! [`RemoteStore`] adds two features. It sends large objects with unique names in parallel parts. And it caches
//! the reads of queries, which use `get_ranges`, in a [`BlockCache`]. `get` and `get_range` bypass the cache, so
//! that checks read the real object, and merges do not evict blocks that queries need.

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

/// Time for which a failing request is retried.
const RETRY_TIME_MAX: Duration = Duration::from_mins(1);
/// Largest object, in bytes, that is sent in one request.
const WHOLE_BYTES_MAX: usize = 16 << 20;
/// Size of a part in bytes, and number of parts sent concurrently.
const PART_BYTES: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;
/// Folders whose objects have unique names, which are never reused.
const UNIQUE: [&str; 2] = ["segments/", "runs/"];

/// Remote object store.
#[derive(Debug)]
pub struct RemoteStore {
    inner: Arc<dyn ObjectStore>,
    cache: Option<Arc<BlockCache>>,
}

impl RemoteStore {
    /// Opens the store of the objects below `url`; `cache` caches reads of ranges.
    ///
    /// Sends no request. Fails with [`InvalidInput`](crate::ErrorKind::InvalidInput) if the URL is of an unknown
    /// kind, or environment variables hold invalid options.
    pub(crate) fn open(url: &Url, cache: Option<Arc<BlockCache>>) -> error::Result<Self> {
        let retry = RetryConfig { retry_timeout: RETRY_TIME_MAX, ..RetryConfig::default() };
        Ok(Self { inner: client(url, retry)?, cache })
    }

    /// Treats `inner` as a remote store.
    #[cfg(test)]
    pub(crate) fn with(inner: Arc<dyn ObjectStore>, cache: Option<Arc<BlockCache>>) -> Self {
        Self { inner, cache }
    }

    /// Opens another client for the same objects, with its own connections and without cache: for a thread that has
    /// its own runtime and retries requests itself.
    pub(crate) fn client(url: &Url) -> error::Result<Arc<dyn ObjectStore>> {
        client(url, RetryConfig { max_retries: 1, ..RetryConfig::default() })
    }

    /// Sends an object in parts. Afterwards it exists whole or not at all.
    async fn put_in_parts(&self, location: &Path, payload: PutPayload) -> Result<PutResult> {
        let upload = self.inner.put_multipart(location).await?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        for mut bytes in payload {
            // One piece of the payload may be the whole object.
            while !bytes.is_empty() {
                if let Err(error) = parts.wait_for_capacity(PARTS_AT_ONCE).await {
                    // If this fails too, the store discards the sent parts by its own rules.
                    let _ = parts.abort().await;
                    return Err(error);
                }
                parts.put(bytes.split_to(bytes.len().min(PART_BYTES)));
            }
        }
        parts.finish().await
    }
}

/// Makes a client for the objects below the path of `url`.
fn client(url: &Url, retry: RetryConfig) -> error::Result<Arc<dyn ObjectStore>> {
    let wrong = |e: object_store::Error| Error::invalid(format!("cannot use {url}: {e}")).with_source(e);
    let unknown = || Error::invalid(format!("cannot use {url}: expected a directory, s3://, gs:// or az://"));
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
            // An upload in parts cannot be conditional on a free name.
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
        // Overwrites an object, with a payload of one piece.
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        store.put(&path, reversed.clone().into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), reversed);
        // Objects without a unique name are sent in one request, and created once.
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
