//! Who serves a connection? A [`Service`]: one for HTTP (`connection.rs`), one for each protocol with sessions.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;

/// An accepted connection, and what its protocol has to watch.
#[derive(Debug)]
pub(in crate::server) struct Accepted {
    /// The connection.
    pub(in crate::server) stream: TcpStream,
    /// Activity of the connection; its token `evicted` ends the connection at once.
    pub(in crate::server) activity: Arc<Activity>,
    /// Token of the server's end: work that has begun is finished, nothing else is begun.
    pub(in crate::server) stop: CancellationToken,
}

/// A protocol that serves connections.
pub(in crate::server) trait Service: Clone + Send + 'static {
    /// Serves a connection until it ends.
    fn serve(self, accepted: Accepted) -> impl Future<Output = ()> + Send + 'static;
}
