//! What does a query return?

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::EmptyRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use super::progress::Progress;
use crate::error::Result;

/// Rows of a query, as they are found. Dropping it cancels the query.
pub struct QueryResult {
    /// Names and types of the columns.
    pub schema: SchemaRef,
    /// The rows.
    pub stream: SendableRecordBatchStream,
    /// Warnings for the author of a statement that works.
    pub warnings: Vec<String>,
    /// Progress of the statement.
    pub progress: Progress,
}

impl std::fmt::Debug for QueryResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryResult")
            .field("schema", &self.schema)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl QueryResult {
    /// Waits for the first rows, so that early failures are returned here. The rows stay in the stream.
    pub async fn begin(&mut self) -> Result<()> {
        match self.stream.next().await {
            None => Ok(()),
            Some(Err(e)) => Err(e.into()),
            Some(Ok(first)) => {
                let empty = Box::pin(EmptyRecordBatchStream::new(Arc::clone(&self.schema)));
                let rest = std::mem::replace(&mut self.stream, empty);
                let all = futures::stream::iter([Ok(first)]).chain(rest);
                self.stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), all));
                Ok(())
            }
        }
    }

    /// Keeps the first `rows_max` rows. Further rows are dropped without an error, unlike with the
    /// [row limit](super::Question::row_limit) of a question.
    #[must_use]
    pub fn first_rows(self, rows_max: usize) -> Self {
        let Self { schema, stream, warnings, progress } = self;
        let rows = futures::stream::unfold((stream, rows_max), |(mut stream, left)| async move {
            if left == 0 {
                return None;
            }
            let next = stream.next().await?.map(|batch| batch.slice(0, batch.num_rows().min(left)));
            let left = left - next.as_ref().map_or(0, RecordBatch::num_rows);
            Some((next, (stream, left)))
        });
        let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), rows));
        Self { schema, stream, warnings, progress }
    }

    /// Collects all rows.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        let mut stream = self.stream;
        while let Some(batch) = stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}
