//! How far is an answer? A portal is a statement with values, and the rows of it that were not sent yet.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::io::AsyncWrite;

use super::column::Column;
use super::failure::Failure;
use super::rows::{Chunk, Encoded, Layout};
use super::wire::Outgoing;
use crate::error::Result;

/// Parts of an answer of the gate.
type Parts = Pin<Box<dyn Stream<Item = Result<Encoded>> + Send>>;

/// An answer that is being sent.
pub(super) struct Running {
    /// Columns; `None` for a statement without rows.
    pub(super) columns: Option<Arc<[Column]>>,
    /// Form of its rows.
    pub(super) layout: Layout,
    /// Warnings for the author of the statement.
    pub(super) warnings: Vec<String>,
    tag: &'static str,
    parts: Option<Parts>,
    ready: VecDeque<Chunk>,
    /// Rows of the first chunk that were sent.
    sent_of_chunk: usize,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("columns", &self.columns)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

/// State of an answer after some of its rows were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many rows were sent, and there may be more.
    Suspended,
    /// So many rows were sent, and these were the last.
    Whole(u64),
}

impl Running {
    /// The answer of a statement without rows.
    pub(super) fn done(tag: &'static str) -> Self {
        Self::with(None, Layout::text(), tag)
    }

    /// An answer whose rows are there.
    pub(super) fn ready(columns: Arc<[Column]>, chunk: Chunk, layout: Layout, tag: &'static str) -> Self {
        Self { ready: [chunk].into(), ..Self::with(Some(columns), layout, tag) }
    }

    /// An answer that comes in `parts`, of which the first has the columns.
    pub(super) async fn of(
        parts: impl Stream<Item = Result<Encoded>> + Send + 'static,
        layout: Layout,
        tag: &'static str,
    ) -> Result<Self> {
        let mut parts: Parts = Box::pin(parts);
        let mut running = Self::with(None, layout, tag);
        match parts.next().await.transpose()? {
            Some(Encoded::Columns(columns)) => running.columns = Some(columns),
            Some(Encoded::Rows(chunk)) => running.ready.push_back(chunk),
            None => {}
        }
        running.parts = Some(parts);
        Ok(running)
    }

    fn with(columns: Option<Arc<[Column]>>, layout: Layout, tag: &'static str) -> Self {
        Self {
            columns,
            layout,
            warnings: Vec::new(),
            tag,
            parts: None,
            ready: VecDeque::new(),
            sent_of_chunk: 0,
        }
    }

    /// The words that end the answer after `rows` rows.
    pub(super) fn tag(&self, rows: u64) -> String {
        match self.tag {
            "SELECT" | "FETCH" | "COPY" => format!("{} {rows}", self.tag),
            tag => tag.to_owned(),
        }
    }

    /// Sends at most `rows_max` rows; `None` is all.
    pub(super) async fn send<W: AsyncWrite + Unpin>(
        &mut self,
        outgoing: &mut Outgoing<W>,
        rows_max: Option<u64>,
    ) -> Result<Progress, Failure> {
        let mut sent = 0;
        loop {
            let left = rows_max.map_or(u64::MAX, |rows_max| rows_max - sent);
            if left == 0 {
                return Ok(Progress::Suspended);
            }
            let Some(chunk) = self.ready.front() else {
                match self.next_chunk().await? {
                    Some(chunk) => self.ready.push_back(chunk),
                    None => return Ok(Progress::Whole(sent)),
                }
                continue;
            };
            let rows = chunk.ends.len() - self.sent_of_chunk;
            let from = self.sent_of_chunk.checked_sub(1).map_or(0, |last| chunk.ends[last]);
            if rows as u64 <= left {
                let bytes = chunk.bytes.slice(from..);
                self.ready.pop_front();
                self.sent_of_chunk = 0;
                sent += rows as u64;
                outgoing.put_encoded(&bytes).await?;
            } else {
                self.sent_of_chunk += left as usize;
                let bytes = chunk.bytes.slice(from..chunk.ends[self.sent_of_chunk - 1]);
                outgoing.put_encoded(&bytes).await?;
                return Ok(Progress::Suspended);
            }
        }
    }

    async fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        let Some(parts) = &mut self.parts else { return Ok(None) };
        loop {
            match parts.next().await.transpose()? {
                Some(Encoded::Rows(chunk)) => return Ok(Some(chunk)),
                Some(Encoded::Columns(_)) => {}
                None => {
                    self.parts = None;
                    return Ok(None);
                }
            }
        }
    }
}
