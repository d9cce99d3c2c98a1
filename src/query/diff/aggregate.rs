//! `explain_difference(settings, selection, baseline, member, service, values…)`: the differences of two sides, as a
//! list of structs.
//!
//! The resolver writes calls of this aggregate function for `explain_diff`; it is not meant for people.
//!
//! | argument    |                                                                                  |
//! |-------------|----------------------------------------------------------------------------------|
//! | `settings`  | [`Settings`] as JSON, a constant                                                 |
//! | `selection` | true if the row, or its trace, is selected                                       |
//! | `baseline`  | true if it belongs to the baseline, unless it is selected                        |
//! | `member`    | across rows a number by which rows are sampled; across traces the trace's number |
//! | `service`   | across traces the service of the event, else null                                |
//! | `values`    | the value of each key of the settings                                            |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;

use super::counts::Counts;
use super::output;
use super::ranking::rank;
use super::settings::{Across, Settings};
use super::tally::{Row, Rows, Tally, Traces};

/// Name of the function.
pub(crate) const NAME: &str = "explain_difference";
/// Arguments before the values.
const FIRST_VALUE: usize = 5;
/// Batches between two measurements of the memory.
const MEASURE_EVERY: usize = 8;

/// The function.
pub(crate) fn function() -> AggregateUDF {
    Difference { signature: Signature::user_defined(Volatility::Immutable) }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Difference {
    signature: Signature,
}

impl AggregateUDFImpl for Difference {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if types.len() < FIRST_VALUE {
            return plan_err!("{NAME} is called by explain_diff: write that");
        }
        let mut types = types.to_vec();
        for (ty, name) in types[1..3].iter_mut().zip(["selection", "baseline"]) {
            if !matches!(ty, DataType::Boolean | DataType::Null) {
                return plan_err!("explain_diff takes a condition as {name}, not a value of type {ty}");
            }
            *ty = DataType::Boolean;
        }
        types[3] = DataType::Int64;
        types[4] = DataType::Utf8View;
        Ok(types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(output::data_type())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[counts]", args.name), DataType::LargeBinary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let settings = args.exprs.first().and_then(|expr| expr.downcast_ref::<Literal>());
        let settings = settings.and_then(|literal| literal.value().try_as_str().flatten());
        let settings: Option<Settings> = settings.and_then(|json| serde_json::from_str(json).ok());
        let columns = args.exprs.len().saturating_sub(FIRST_VALUE);
        let Some(settings) = settings.filter(|settings| settings.keys.len() == columns) else {
            return exec_err!("{NAME} is called by explain_diff: write that");
        };
        Ok(match settings.across {
            Across::Rows => Box::new(Counting::<Rows>::new(settings)),
            Across::Traces => Box::new(Counting::<Traces>::new(settings)),
        })
    }
}

/// Accumulator.
#[derive(Debug)]
struct Counting<T> {
    settings: Settings,
    counts: Counts<T>,
    /// Rows so far, for those without a number.
    rows: u64,
    /// Batches since the memory was measured.
    batches: usize,
    bytes: usize,
}

impl<T: Tally> Counting<T> {
    fn new(settings: Settings) -> Self {
        let counts = Counts::new(settings.keys.len());
        Self { settings, counts, rows: 0, batches: 0, bytes: 0 }
    }

    fn measure(&mut self) {
        if self.batches.is_multiple_of(MEASURE_EVERY) {
            self.bytes = self.counts.bytes();
        }
        self.batches += 1;
    }

    /// Rows of a batch that are on a side.
    fn rows(&mut self, sides: [&BooleanArray; 2], members: &Int64Array, services: &ArrayRef) -> Vec<Row> {
        let [selected, compared] = sides;
        let services = services.as_string_view();
        let is_traces = self.settings.across == Across::Traces;
        let nameless = self.counts.service(None);
        let mut last = (None, nameless);
        let mut rows = Vec::with_capacity(members.len());
        let is_true = |condition: &BooleanArray, at| condition.is_valid(at) && condition.value(at);
        for at in 0..members.len() {
            let side = usize::from(is_true(selected, at));
            if side == 0 && !is_true(compared, at) {
                continue;
            }
            let mut service = nameless;
            if is_traces && services.is_valid(at) {
                let name = services.value(at);
                if last.0 != Some(name) {
                    last = (Some(name), self.counts.service(Some(name)));
                }
                service = last.1;
            }
            let member = if is_traces { members.value(at) as u32 } else { 0 };
            rows.push(Row { at, side, member, service });
        }
        rows
    }
}

impl<T: Tally> Accumulator for Counting<T> {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [_, selected, compared, members, services, values @ ..] = columns else {
            return exec_err!("{NAME} has too few arguments");
        };
        let members = members.as_primitive::<Int64Type>();
        let sides = [selected.as_boolean(), compared.as_boolean()];
        let rows = self.rows(sides, members, services);
        if self.settings.across == Across::Rows {
            let first = self.rows;
            let number = |row: &Row| {
                if members.is_valid(row.at) { members.value(row.at) as u64 } else { first + row.at as u64 }
            };
            self.counts.sample.offer(&rows, number, values);
        }
        self.rows += members.len() as u64;
        self.counts.add(&rows, values)?;
        self.measure();
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let lines = rank(&self.counts, &self.settings);
        let list = output::list(&lines, &self.settings, self.counts.totals.counts())?;
        Ok(ScalarValue::List(Arc::new(list)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::LargeBinary(Some(self.counts.encode()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first() else { return exec_err!("{NAME} has no state") };
        for state in states.as_binary::<i64>().iter().flatten() {
            let counts = Counts::decode(state);
            let counts = counts.ok_or_else(|| DataFusionError::Internal(format!("state of {NAME}")))?;
            self.counts.merge(counts);
        }
        self.bytes = self.counts.bytes();
        Ok(())
    }
}
