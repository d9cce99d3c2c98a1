//! How do the columns of a query map to the columns of one file or batch?
//!
//! The table has a column `attributes['http.route']`; a file may have a Parquet column `http.route`, or
//! `resource.http.route`, or both, of any type, or only overflow. Per file, every such column in an
//! expression is replaced:
//!
//! | the file has                        | the column becomes                                             |
//! |-------------------------------------|----------------------------------------------------------------|
//! | one column of the right type        | that column, so Parquet's own pruning works                    |
//! | one column of another type          | a cast; values that cannot be cast are null, never an error    |
//! | one column of typed JSON            | `plain_json(column)`: readable JSON, with JSON's null as null  |
//! | columns of several levels, overflow | `first_of(http.route, overflow_get(…), resource.http.route, …)` |
//! | nothing                             | a typed null, which lets the file be skipped                   |
//!
//! Core columns that a file lacks are null too. `attributes` and `typed_attributes` become functions of
//! all attribute columns.
//!
//! When the query is planned against the table's schema, the scan promises to apply a filter. The Parquet reader
//! later drops silently any filter that it cannot evaluate while decoding, such as one on nested columns. So a
//! filter on plain columns must remain a filter on plain columns: that is why the overflow is text.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_schema::extension::Json;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{PhysicalExprAdapter, PhysicalExprAdapterFactory};

use crate::event::{AttributeKey, schema};
use crate::query::functions::is_marked;
use crate::query::functions::{
    AllAttributes, AttributeArgument, DisplayText, FirstOf, Form, OverflowGet, PlainJson, SAFE,
};

/// One demanded attribute: a column of the table, and the physical columns that may hold its values.
#[derive(Debug, Clone)]
pub(crate) struct Demanded {
    /// The attribute's SQL name.
    pub(crate) key: String,
    /// Name of the table's column.
    pub(crate) column: String,
    /// Its type.
    pub(crate) data_type: DataType,
    /// True if it is text that holds numbers.
    pub(crate) mixed: bool,
    /// Physical names, most specific first.
    pub(crate) candidates: Vec<String>,
}

impl Demanded {
    /// Creates the column `field`, which shows the attribute `key`.
    pub(crate) fn new(key: &str, field: &Field) -> Self {
        let candidates = AttributeKey::candidates(key).iter().map(AttributeKey::physical_name).collect();
        Self {
            key: key.to_owned(),
            column: field.name().clone(),
            data_type: field.data_type().clone(),
            mixed: is_marked(field),
            candidates,
        }
    }
}

impl Demanded {
    /// Physical names of the values in indexes; `None` if SQL compares the values in a form that indexes do not
    /// have.
    pub(crate) fn lookup_names(&self) -> Option<&[String]> {
        matches!(self.data_type, DataType::Utf8View | DataType::Int64).then_some(&self.candidates)
    }
}

/// Makes adapters for the files and batches of one scan.
#[derive(Debug)]
pub(crate) struct AttributeAdapterFactory {
    demanded: HashMap<String, Demanded>,
    config: Arc<ConfigOptions>,
}

impl AttributeAdapterFactory {
    /// Creates adapters for a table that shows the attributes `demanded`.
    pub(crate) fn new(demanded: &[Demanded]) -> Self {
        Self {
            demanded: demanded.iter().map(|d| (d.column.clone(), d.clone())).collect(),
            config: Arc::new(ConfigOptions::default()),
        }
    }

    /// The attribute that the table's column `name` shows.
    pub(crate) fn demanded(&self, name: &str) -> Option<&Demanded> {
        self.demanded.get(name)
    }

    /// The attribute keys that the table's columns `names` may read.
    pub(crate) fn candidates<'a>(
        &'a self,
        names: &'a HashSet<&str>,
    ) -> impl Iterator<Item = AttributeKey> + 'a {
        let read = self.demanded.values().filter(|d| names.contains(d.column.as_str()));
        read.flat_map(|d| &d.candidates).filter_map(|name| AttributeKey::from_physical_name(name))
    }

    /// Rewrites `expr` from the schema `table` to the schema `file`.
    pub(crate) fn adapt(
        &self,
        expr: Arc<dyn PhysicalExpr>,
        table: &Schema,
        file: &SchemaRef,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let rewrite = Rewrite { demanded: &self.demanded, config: &self.config, table, file };
        expr.transform(|expr| match expr.downcast_ref::<Column>() {
            Some(column) => Ok(Transformed::yes(rewrite.column(column)?)),
            None => Ok(Transformed::no(expr)),
        })
        .data()
    }
}

/// An adapter for one file.
#[derive(Debug)]
struct AttributeAdapter {
    factory: AttributeAdapterFactory,
    table: SchemaRef,
    file: SchemaRef,
}

impl PhysicalExprAdapter for AttributeAdapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        self.factory.adapt(expr, &self.table, &self.file)
    }
}

impl PhysicalExprAdapterFactory for AttributeAdapterFactory {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let factory = Self { demanded: self.demanded.clone(), config: Arc::clone(&self.config) };
        Ok(Arc::new(AttributeAdapter { factory, table, file }))
    }
}

/// True if a field holds typed JSON.
pub(crate) fn is_json(field: &Field) -> bool {
    field.try_extension_type::<Json>().is_ok()
}

struct Rewrite<'a> {
    demanded: &'a HashMap<String, Demanded>,
    config: &'a Arc<ConfigOptions>,
    table: &'a Schema,
    file: &'a SchemaRef,
}

impl Rewrite<'_> {
    fn column(&self, column: &Column) -> Result<Arc<dyn PhysicalExpr>> {
        let name = column.name();
        if let Some(demanded) = self.demanded.get(name) {
            return self.attribute(demanded);
        }
        match name {
            schema::ATTRIBUTES => self.all_attributes(Form::Map),
            schema::TYPED_ATTRIBUTES => self.all_attributes(Form::TypedJson),
            _ => {
                let field = self.table.field_with_name(name)?;
                match self.physical(name) {
                    Some(found) => self.cast(found, field.data_type()),
                    None => null(field.data_type()),
                }
            }
        }
    }

    /// The file's column of exactly this name.
    fn physical(&self, name: &str) -> Option<Arc<dyn PhysicalExpr>> {
        let index = self.file.index_of(name).ok()?;
        Some(Arc::new(Column::new(name, index)))
    }

    fn attribute(&self, demanded: &Demanded) -> Result<Arc<dyn PhysicalExpr>> {
        let overflow = self.physical(schema::OVERFLOW);
        let mut values: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        for name in &demanded.candidates {
            if let Some(column) = self.physical(name) {
                values.push(self.cast(column, &demanded.data_type)?);
            }
            if let Some(overflow) = &overflow {
                let get = OverflowGet::new(name, demanded.data_type.clone());
                values.push(self.call(get.into(), vec![Arc::clone(overflow)])?);
            }
        }
        match values.len() {
            0 => null(&demanded.data_type),
            1 => Ok(values.swap_remove(0)),
            _ => self.call(FirstOf::new().into(), values),
        }
    }

    fn all_attributes(&self, form: Form) -> Result<Arc<dyn PhysicalExpr>> {
        let mut arguments = Vec::new();
        let mut columns: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        for (i, field) in self.file.fields().iter().enumerate() {
            if let Some(key) = AttributeKey::from_physical_name(field.name()) {
                arguments.push(AttributeArgument { key, json: is_json(field) });
                columns.push(Arc::new(Column::new(field.name(), i)));
            }
        }
        columns.extend(self.physical(schema::OVERFLOW));
        self.call(AllAttributes::new(form, arguments).into(), columns)
    }

    /// Casts `column` to `target`, with null for values that cannot be cast.
    fn cast(&self, column: Arc<dyn PhysicalExpr>, target: &DataType) -> Result<Arc<dyn PhysicalExpr>> {
        let found = column.data_type(self.file)?;
        if found == *target && *target == DataType::Utf8View && self.holds_json(&column) {
            return self.call(PlainJson::new().into(), vec![column]);
        }
        if found == *target {
            return Ok(column);
        }
        if *target == DataType::Utf8View && !DisplayText::is_a_cast(&found) {
            return self.call(DisplayText::new().into(), vec![column]);
        }
        if !arrow::compute::can_cast_types(&found, target) {
            return null(target);
        }
        Ok(Arc::new(CastExpr::new(column, target.clone(), Some(SAFE))))
    }

    /// True if a column of the file is an attribute that holds typed JSON.
    fn holds_json(&self, column: &Arc<dyn PhysicalExpr>) -> bool {
        let index = column.downcast_ref::<Column>().map(Column::index);
        let field = index.and_then(|i| self.file.fields().get(i));
        field.is_some_and(|f| is_json(f) && AttributeKey::from_physical_name(f.name()).is_some())
    }

    fn call(&self, udf: ScalarUDF, args: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let call = ScalarFunctionExpr::try_new(Arc::new(udf), args, self.file, Arc::clone(self.config))?;
        Ok(Arc::new(call))
    }
}

fn null(data_type: &DataType) -> Result<Arc<dyn PhysicalExpr>> {
    let null = ScalarValue::try_from(data_type)
        .map_err(|e| DataFusionError::Internal(format!("cannot make a null of type {data_type}: {e}")))?;
    Ok(Arc::new(Literal::new(null)))
}
