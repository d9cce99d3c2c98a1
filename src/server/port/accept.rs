//! Which connections does a port accept?
//!
//! All, up to a limit. At the limit, the connection that has waited longest for its client is closed for the next
//! one, so idle clients cannot block others. While the server works on every connection, new ones wait in the
//! operating system's queue. The same happens when the process may not open more files.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Timer;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Port;
use super::activity::Activity;
use super::clock::Clock;
use super::service::{Accepted, Service};

/// Default limit of connections of a port: more than a machine has producers (a Collector has one or two), and at
/// worst 400 MiB of buffers.
pub(in crate::server) const CONNECTIONS_MAX: usize = 4_096;

/// Time that a connection must have waited for its client before it may be closed for another: enough for the first
/// request of a new connection to arrive.
const QUIET_MIN: Duration = Duration::from_secs(1);

/// Interval between searches for a quiet connection while the port is at its limit.
const CROWDED_PAUSE: Duration = Duration::from_millis(50);

/// Accepts the connections of one port.
#[derive(Debug)]
pub(in crate::server) struct Acceptor<S> {
    port: Port,
    service: S,
    connections_max: usize,
    connections: JoinSet<()>,
    activities: HashMap<Id, Arc<Activity>>,
    stop: CancellationToken,
}

impl<S: Service> Acceptor<S> {
    /// Serves connections to `port` by `service`, on at most `connections_max` connections, until `stop`.
    pub(in crate::server) fn new(
        port: Port,
        service: S,
        connections_max: usize,
        stop: CancellationToken,
    ) -> Self {
        let connections_max = connections_max.max(1);
        let (connections, activities) = (JoinSet::new(), HashMap::new());
        Self { port, service, connections_max, connections, activities, stop }
    }

    /// Accepts connections until `stop`, and returns when all of them have ended. Dropping the future ends all
    /// connections.
    pub(in crate::server) async fn serve(mut self, listener: TcpListener) {
        let stop = self.stop.clone();
        let mut is_short_of_files = false;
        loop {
            let is_crowded = is_short_of_files || self.connections.len() >= self.connections_max;
            if is_crowded {
                self.evict_quietest();
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.next_end(), if !self.connections.is_empty() => is_short_of_files = false,
                () = tokio::time::sleep(CROWDED_PAUSE), if is_crowded => is_short_of_files = false,
                accepted = listener.accept(), if !is_crowded => match accepted {
                    Ok((stream, _)) => self.open(stream),
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(port = self.port.name(), %error, "cannot accept a connection");
                        is_short_of_files = true;
                    }
                },
            }
        }
        drop(listener);
        while !self.connections.is_empty() {
            self.next_end().await;
        }
    }

    fn open(&mut self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
        let activity = Activity::new(Clock::system());
        let accepted = Accepted { stream, activity: Arc::clone(&activity), stop: self.stop.clone() };
        let serving = self.connections.spawn(self.service.clone().serve(accepted));
        self.activities.insert(serving.id(), activity);
    }

    /// Waits for the end of a connection. Cancel-safe.
    async fn next_end(&mut self) {
        let ended = match self.connections.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                tracing::error!(port = self.port.name(), %error, "a connection failed");
                error.id()
            }
            None => return,
        };
        self.activities.remove(&ended);
    }

    /// Closes the connection that has waited longest for its client, if there is one.
    fn evict_quietest(&self) {
        let waiting = self.activities.values().filter(|activity| !activity.evicted.is_cancelled());
        let waiting = waiting.filter(|activity| activity.is_quiet_for(QUIET_MIN));
        let quiet = waiting.filter_map(|activity| Some((activity.quiet_since()?, activity)));
        if let Some((since, quietest)) = quiet.min_by_key(|(since, _)| *since) {
            let quiet_ms = quietest.clock.now().duration_since(since).as_millis() as u64;
            tracing::debug!(port = self.port.name(), quiet_ms, "closed the quietest connection to make room");
            quietest.evicted.cancel();
        }
    }
}

/// True if accepting failed for only one client, so that others can be accepted.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;

    use super::super::connection::HttpService;
    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    async fn start(connections_max: usize) -> (std::net::SocketAddr, CancellationToken, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let router = axum::Router::new().route("/", get(|| async { "yes" }));
        let acceptor = Acceptor::new(
            Port::Http,
            HttpService::new(Port::Http, router, None),
            connections_max,
            stop.clone(),
        );
        (address, stop, tokio::spawn(acceptor.serve(listener)))
    }

    #[tokio::test]
    async fn idle_connections_give_way_to_others() {
        let (address, stop, serving) = start(3).await;
        let mut idle = Vec::new();
        for _ in 0..5 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        for _ in 0..3 {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(GET).await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("yes"), "{answer}");
        }
        // The connections that waited longest are closed.
        assert_eq!(idle[0].read(&mut [0; 8]).await.unwrap_or(0), 0);
        stop.cancel();
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_port_that_has_stopped_is_free() {
        let (address, stop, serving) = start(3).await;
        let _idle = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        serving.await.unwrap();
        TcpListener::bind(address).await.unwrap();
    }
}
