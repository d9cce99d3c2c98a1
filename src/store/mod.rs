//! Where are objects kept?
//!
//! | place | store |
//! |---|---|
//! | a directory | [`DurableFileSystem`], whose `put` survives power loss |
//! | `s3://bucket/prefix`, `gs://…`, `az://…` | [`RemoteStore`]: large objects are sent in parts, reads are cached on the local disk |
//!
//! All other modules use an [`ObjectStore`](object_store::ObjectStore) and do not know which one. They may rely on
//! three guarantees: an object exists whole or not at all; it is visible to every process once its `put` has
//! returned; and of several `put`s with `PutMode::Create`, exactly one succeeds.

pub mod local;
pub(crate) mod placement;
pub mod remote;
pub(crate) mod cache;

pub use local::DurableFileSystem;
pub use remote::RemoteStore;
