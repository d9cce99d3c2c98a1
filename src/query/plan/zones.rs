//! Refuses unknown time zones.
//!
//! A zone is part of a type, and a cast to the type does not check it: `AT TIME ZONE 'Mars/Olympus'` would be
//! accepted, and fail later or never. So wherever a statement names a type, its zone is looked up.

use arrow::array::timezone::Tz;
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, ExprSchemable};

/// Areas that have most zones.
const AREAS: [&str; 10] = [
    "Europe",
    "America",
    "Asia",
    "Africa",
    "Australia",
    "Pacific",
    "Atlantic",
    "Indian",
    "Antarctica",
    "America/Argentina",
];
/// Most names that an error proposes.
const PROPOSED_MAX: usize = 3;
/// More bytes than the name of any zone has.
const NAME_BYTES_MAX: usize = 40;

/// Fails if the top of `expr` yields times of an unknown zone.
pub(super) fn check(expr: &Expr, schema: &DFSchema) -> Result<()> {
    match expr {
        Expr::Cast(cast) => check_type(cast.field.data_type()),
        Expr::TryCast(cast) => check_type(cast.field.data_type()),
        Expr::Literal(value, _) => check_type(&value.data_type()),
        // Some functions take a type as text. Other errors of the type are reported elsewhere.
        Expr::ScalarFunction(_) => expr.get_type(schema).map_or(Ok(()), |data_type| check_type(&data_type)),
        _ => Ok(()),
    }
}

fn check_type(data_type: &DataType) -> Result<()> {
    match data_type {
        DataType::Timestamp(_, Some(zone)) => known(zone),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => check_type(item.data_type()),
        DataType::Struct(fields) => fields.iter().try_for_each(|field| check_type(field.data_type())),
        DataType::Dictionary(_, values) => check_type(values),
        DataType::RunEndEncoded(_, values) => check_type(values.data_type()),
        _ => Ok(()),
    }
}

fn is_known(zone: &str) -> bool {
    zone.parse::<Tz>().is_ok()
}

fn known(zone: &str) -> Result<()> {
    if is_known(zone) {
        return Ok(());
    }
    let shown: String = zone.chars().take(NAME_BYTES_MAX).collect();
    let hint = match proposals(zone).as_slice() {
        [] => "write a name such as 'Europe/Brussels', or an offset such as '+02:00'".to_owned(),
        names => format!("did you mean '{}'?", names.join("' or '")),
    };
    Err(DataFusionError::Plan(format!("unknown time zone '{shown}': {hint}")))
}

/// Zones that `zone` may misspell: by its case, a missing area, or one wrong letter.
fn proposals(zone: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    if zone.len() > NAME_BYTES_MAX {
        return found;
    }
    let mut propose = |name: String| {
        if found.len() < PROPOSED_MAX && !found.contains(&name) && is_known(&name) {
            found.push(name);
        }
    };
    let zone = zone.trim().replace(' ', "_");
    let capital = capitalized(&zone);
    let upper = zone.to_ascii_uppercase();
    let place = capital.rsplit('/').next().unwrap_or_default().to_owned();
    propose(capital.clone());
    if upper == "Z" {
        propose("UTC".to_owned());
    }
    propose(upper);
    for area in AREAS {
        propose(format!("{area}/{place}"));
    }
    for name in [&zone, &capital] {
        one_letter_off(name).for_each(&mut propose);
    }
    for area in AREAS {
        one_letter_off(&place).map(|place| format!("{area}/{place}")).for_each(&mut propose);
    }
    found
}

/// `america/new_york` as `America/New_York`.
fn capitalized(name: &str) -> String {
    let mut begins = true;
    name.chars()
        .map(|c| {
            let shown = if begins { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
            begins = !c.is_ascii_alphabetic();
            shown
        })
        .collect()
}

/// `text` with one letter added, removed or changed, or two swapped.
fn one_letter_off(text: &str) -> impl Iterator<Item = String> {
    let chars: Vec<char> = text.chars().collect();
    let splice = |at: usize, gone: usize, put: &[char]| -> String {
        let end = (at + gone).min(chars.len());
        chars[..at].iter().chain(put).chain(&chars[end..]).collect()
    };
    let mut all = Vec::new();
    for at in 0..=chars.len() {
        for letter in ('a'..='z').chain('A'..='Z').chain(['/', '_']) {
            all.push(splice(at, 0, &[letter]));
            if at < chars.len() {
                all.push(splice(at, 1, &[letter]));
            }
        }
        if at < chars.len() {
            all.push(splice(at, 1, &[]));
        }
        if at + 1 < chars.len() {
            all.push(splice(at, 2, &[chars[at + 1], chars[at]]));
        }
    }
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, TimeUnit};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::{cast, lit, try_cast};

    use super::*;

    fn refused(zone: &str) -> String {
        known(zone).unwrap_err().strip_backtrace()
    }

    #[test]
    fn known_zones_and_offsets_pass() {
        for zone in ["UTC", "Europe/Brussels", "Asia/Tokyo", "+02:00", "-0930", "America/New_York", "GMT"] {
            known(zone).unwrap();
        }
    }

    #[test]
    fn an_unknown_zone_is_named_with_what_may_be_meant() {
        for (typed, meant) in [
            ("europe/brussels", "'Europe/Brussels'"),
            ("Brussels", "'Europe/Brussels'"),
            ("new york", "'America/New_York'"),
            ("Europe/Brusels", "'Europe/Brussels'"),
            ("Asia/Tokio", "'Asia/Tokyo'"),
            ("utc", "'UTC'"),
            ("z", "'UTC'"),
            ("Mars/Olympus", "such as 'Europe/Brussels'"),
            ("+25:99:1", "such as"),
            ("", "such as"),
        ] {
            let error = refused(typed);
            assert!(error.contains(&format!("unknown time zone '{typed}'")), "{error}");
            assert!(error.contains(meant), "{error}");
        }
        assert!(refused(&"x".repeat(1 << 20)).len() < 200);
    }

    #[test]
    fn zones_are_looked_at_wherever_a_type_is() {
        let mars = DataType::Timestamp(TimeUnit::Nanosecond, Some("Mars/Olympus".into()));
        let list = DataType::List(Arc::new(Field::new("item", mars.clone(), true)));
        let none = DFSchema::empty();
        for expr in [
            cast(lit("2025-01-01"), mars.clone()),
            try_cast(lit("2025-01-01"), mars.clone()),
            cast(lit("x"), list),
            lit(ScalarValue::TimestampNanosecond(Some(0), Some("Mars/Olympus".into()))),
        ] {
            assert!(check(&expr, &none).unwrap_err().to_string().contains("Mars/Olympus"), "{expr}");
        }
        check(&lit(1_i64), &none).unwrap();
    }
}
