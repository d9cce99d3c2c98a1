//! One occurrence of the table of events in a statement: its columns and its data.
//!
//! Its columns are the core columns, `attributes`, `typed_attributes`, and one called `attributes['k']`
//! for each attribute `k` that the statement reads. The planner sees no other attributes, however many there are.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_schema::extension::Json;

use super::adapter::Demanded;
use super::masks::MaskCache;
use super::metadata::MetadataCache;
use crate::event::schema::{self, column};
use crate::event::{AttributeType, severity};
use crate::index::IndexCache;
use crate::query::functions::{map_type, mark};
use crate::query::indexed::column_cache::ColumnCache;
use crate::query::resolve::attribute_column;
use crate::query::snapshot::ReadSnapshot;

/// State that all scans share.
#[derive(Debug)]
pub(crate) struct ScanShared {
    /// Footers of segments.
    pub(crate) footers: Arc<MetadataCache>,
    /// Side-cars of segments.
    pub(crate) indexes: Arc<IndexCache>,
    /// Columns in memory.
    pub(crate) columns: Arc<ColumnCache>,
    /// Live rows of segments.
    pub(crate) masks: Arc<MaskCache>,
    /// Number of partitions of a scan.
    pub(crate) parallelism: usize,
    /// Approximate bytes of a segment that a partition fetches at once.
    pub(crate) part_bytes_max: u64,
}

/// One occurrence of the table.
#[derive(Debug)]
pub(crate) struct Occurrence {
    /// The events.
    pub(super) snapshot: ReadSnapshot,
    /// State that all scans share.
    pub(super) shared: Arc<ScanShared>,
    /// The attributes that it shows.
    pub(super) demanded: Vec<Demanded>,
    /// All columns.
    pub(super) schema: SchemaRef,
}

impl Occurrence {
    /// An occurrence that shows the attributes `keys`.
    pub(crate) fn new(snapshot: ReadSnapshot, shared: Arc<ScanShared>, keys: &[String]) -> Self {
        let mut fields: Vec<Arc<Field>> = schema::core_schema().fields().iter().cloned().collect();
        for field in fields.iter_mut().filter(|field| field.name() == column::SEVERITY) {
            *field = Arc::new(severity::mark(field.as_ref().clone()));
        }
        fields.push(Arc::new(Field::new(schema::ATTRIBUTES, map_type(), true)));
        let typed = Field::new(schema::TYPED_ATTRIBUTES, DataType::Utf8View, true);
        fields.push(Arc::new(typed.with_extension_type(Json::default())));
        let mut demanded = Vec::with_capacity(keys.len());
        for key in keys {
            let types = snapshot.keys.lookup(key).map(|attribute| attribute.types).unwrap_or_default();
            let mut field = Field::new(attribute_column(key), types.sql_type(), true);
            if types.iter().eq([AttributeType::Json]) {
                field = field.with_extension_type(Json::default());
            } else if types.is_mixed() {
                field = mark(field);
            }
            demanded.push(Demanded::new(key, &field));
            fields.push(Arc::new(field));
        }
        Self { snapshot, shared, demanded, schema: Arc::new(Schema::new(fields)) }
    }
}
