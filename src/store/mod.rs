//! Where are objects kept?
//!
//! | place | store |
//! |---|---|
//! | a directory | [`DurableFileSystem`], whose `put` survives power loss |
//! | `s3://bucket/prefix`, `gs://…`, `az://…` | [`RemoteStore`]: the provider's, with large objects in parts and a cache on the local disk |
//!
//! All that is above asks an [`ObjectStore`](object_store::ObjectStore) and does not know which one. What it may
//! rely on is what every one of them offers: an object is there as a whole or not at all, it is seen by everybody
//! once its `put` has returned, and of several `put`s with `PutMode::Create` exactly one wins.

pub mod local;
pub(crate) mod placement;
pub mod remote;
pub(crate) mod cache;

pub use local::DurableFileSystem;
pub use remote::RemoteStore;
