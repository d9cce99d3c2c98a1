//! Which parameters and columns does a statement have before its parameters have values?
//!
//! A parameter has the type that its client declares, else that of what it stands beside, else text. The columns are
//! those of the statement with a NULL of these types in place of each parameter.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;

use super::engine::{Engine, explain_types};
use super::language::Ask;
use super::plan::rewrite::rewrite_plan;
use super::snapshot::ReadSnapshot;
use crate::error::{Error, Result};

/// Most parameters of a statement, as in PostgreSQL, whose protocol counts them in 16 bits.
const PARAMETERS_MAX: usize = 65_535;

/// Result of planning a statement without values for its parameters.
#[derive(Debug)]
pub struct Prepared {
    /// Types of `$1`, `$2`, ….
    pub parameters: Vec<DataType>,
    /// Names and types of its columns, or why they are known only with the values: some places need a constant.
    pub columns: Result<SchemaRef>,
    /// Warnings for the author of a statement that works.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Plans a statement whose parameters have no values yet. `declared` has the types of the first parameters, where
    /// the client knows them.
    ///
    /// Fails as [`query`](Self::query) does where the statement is wrong whatever the values are.
    pub async fn prepare(
        &self,
        snapshot: &ReadSnapshot,
        ask: Ask,
        declared: &[Option<DataType>],
    ) -> Result<Prepared> {
        let state = self.state(snapshot);
        let (plan, warnings, hints) = Box::pin(self.unbound_plan(&state, snapshot, ask)).await?;
        let rewritten = |plan| state.optimize(&rewrite_plan(plan)?);
        let prepared = prepared(plan, declared, rewritten).map_err(|e| explain_types(e, &hints))?;
        let columns = prepared.columns.map_err(|e| explain_types(e, &hints));
        Ok(Prepared { columns, warnings, ..prepared })
    }
}

/// Parameters and columns of `plan`; `optimize` is what is done to a plan with values.
pub(crate) fn prepared(
    plan: LogicalPlan,
    declared: &[Option<DataType>],
    optimize: impl FnOnce(LogicalPlan) -> Result<LogicalPlan, DataFusionError>,
) -> Result<Prepared> {
    let inferred = plan.get_parameter_types()?;
    let numbers = inferred.keys().map(|name| name.trim_start_matches('$').parse::<usize>());
    let count = numbers.map(|number| number.unwrap_or(0)).max().unwrap_or(0).max(declared.len());
    if count > PARAMETERS_MAX {
        let message = format!("the statement has {count} parameters; at most {PARAMETERS_MAX} are allowed");
        return Err(Error::invalid(message));
    }
    let of = |index: usize| {
        let declared = declared.get(index).cloned().flatten();
        let inferred = || inferred.get(&format!("${}", index + 1)).cloned().flatten();
        let known = declared.or_else(inferred).filter(|ty| *ty != DataType::Null);
        known.unwrap_or(DataType::Utf8)
    };
    let parameters: Vec<DataType> = (0..count).map(of).collect();
    let columns = || -> Result<SchemaRef, DataFusionError> {
        let nulls = parameters.iter().map(ScalarValue::try_new_null).collect::<Result<Vec<_>, _>>()?;
        let plan = if nulls.is_empty() { plan } else { plan.with_param_values(ParamValues::from(nulls))? };
        Ok(Arc::new(optimize(plan)?.schema().as_arrow().clone()))
    };
    match columns().map_err(Error::from) {
        Err(error) if parameters.is_empty() => Err(error),
        columns => Ok(Prepared { parameters, columns, warnings: Vec::new() }),
    }
}
