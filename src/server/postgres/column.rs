//! Which type of PostgreSQL does a column have? One answer for rows, descriptions and COPY.
//!
//! | Arrow | PostgreSQL |
//! |---|---|
//! | Boolean | boolean |
//! | Int8, Int16, UInt8; Int32, UInt16; Int64, UInt32 | smallint; integer; bigint |
//! | UInt64, decimals | numeric |
//! | Float16, Float32; Float64 | real; double precision |
//! | text; with `arrow.json` | text; json |
//! | FixedSizeBinary: ids | text: lower-case hexadecimal |
//! | other binary | bytea |
//! | Timestamp with a zone; without | timestamp with time zone; without: microseconds, the rest is cut off |
//! | Date32, Date64; Time; Interval, Duration | date; time; interval |
//! | List of these | array |
//! | List of lists or structs, Struct, Map | json |
//! | Null | text |

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, TimeUnit};
use pgwire::messages::data::FieldDescription;

use crate::query::output::cell;

/// Format of a value in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The form that people write.
    Text,
    /// The form that PostgreSQL keeps.
    Binary,
}

impl Format {
    /// The format of a code, if there is one.
    pub(super) fn of(code: i16) -> Option<Self> {
        match code {
            0 => Some(Self::Text),
            1 => Some(Self::Binary),
            _ => None,
        }
    }

    /// The code of the format.
    pub(super) fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }
}

macro_rules! scalars {
    ($($variant:ident: $oid:literal, $array:literal, $size:literal, $name:literal, $standard:literal;)*) => {
        /// A type of PostgreSQL whose values are single.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Scalar {
            $(#[doc = $standard] $variant,)*
        }

        impl Scalar {
            /// Every type.
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its number.
            pub(super) fn oid(self) -> u32 {
                match self { $(Self::$variant => $oid,)* }
            }

            /// Number of the type of its arrays.
            pub(super) fn array_oid(self) -> u32 {
                match self { $(Self::$variant => $array,)* }
            }

            /// Size of its values in bytes; −1 if they differ.
            pub(super) fn size(self) -> i16 {
                match self { $(Self::$variant => $size,)* }
            }

            /// Name in `pg_type`.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Name in the SQL standard, as `format_type` prints it.
            pub(super) fn standard_name(self) -> &'static str {
                match self { $(Self::$variant => $standard,)* }
            }
        }
    };
}

// Variant: number, number of its arrays, size, name, standard name.
scalars! {
    Bool: 16, 1000, 1, "bool", "boolean";
    Bytea: 17, 1001, -1, "bytea", "bytea";
    Int8: 20, 1016, 8, "int8", "bigint";
    Int2: 21, 1005, 2, "int2", "smallint";
    Int4: 23, 1007, 4, "int4", "integer";
    Text: 25, 1009, -1, "text", "text";
    Json: 114, 199, -1, "json", "json";
    Float4: 700, 1021, 4, "float4", "real";
    Float8: 701, 1022, 8, "float8", "double precision";
    Date: 1082, 1182, 4, "date", "date";
    Time: 1083, 1183, 8, "time", "time without time zone";
    Timestamp: 1114, 1115, 8, "timestamp", "timestamp without time zone";
    Timestamptz: 1184, 1185, 8, "timestamptz", "timestamp with time zone";
    Interval: 1186, 1187, 16, "interval", "interval";
    Numeric: 1700, 1231, -1, "numeric", "numeric";
}

/// A type of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// Type of the value, or of the items of the array.
    pub(super) scalar: Scalar,
    /// True for arrays.
    pub(super) is_array: bool,
}

impl Kind {
    /// A type that is no array.
    pub(super) const fn single(scalar: Scalar) -> Self {
        Self { scalar, is_array: false }
    }

    /// Type of values of `field`.
    pub(super) fn of(field: &Field) -> Self {
        match field.data_type() {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                let item = Self::of(item);
                let is_nested = item.is_array || item.scalar == Scalar::Json;
                if is_nested { Self::single(Scalar::Json) } else { Self { is_array: true, ..item } }
            }
            DataType::Dictionary(_, value) => Self::of(&field.clone().with_data_type(value.as_ref().clone())),
            ty => Self::single(scalar(ty, field)),
        }
    }

    /// Number of the type.
    pub(super) fn oid(self) -> u32 {
        if self.is_array { self.scalar.array_oid() } else { self.scalar.oid() }
    }

    /// Size of its values in bytes; −1 if they differ.
    pub(super) fn size(self) -> i16 {
        if self.is_array { -1 } else { self.scalar.size() }
    }
}

fn scalar(ty: &DataType, field: &Field) -> Scalar {
    match ty {
        DataType::Boolean => Scalar::Bool,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => Scalar::Int2,
        DataType::Int32 | DataType::UInt16 => Scalar::Int4,
        DataType::Int64 | DataType::UInt32 => Scalar::Int8,
        DataType::UInt64 => Scalar::Numeric,
        ty if ty.is_decimal() => Scalar::Numeric,
        DataType::Float16 | DataType::Float32 => Scalar::Float4,
        DataType::Float64 => Scalar::Float8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Scalar::Bytea,
        DataType::Timestamp(_, Some(_)) => Scalar::Timestamptz,
        DataType::Timestamp(_, None) => Scalar::Timestamp,
        DataType::Date32 | DataType::Date64 => Scalar::Date,
        DataType::Time32(_) | DataType::Time64(_) => Scalar::Time,
        DataType::Interval(_) | DataType::Duration(_) => Scalar::Interval,
        DataType::Struct(_) | DataType::Map(_, _) => Scalar::Json,
        _ if cell::is_json(field) => Scalar::Json,
        _ => Scalar::Text,
    }
}

/// Names of items and numbers of arrays that no column has, but parameters may have.
pub(super) const OTHER_ARRAYS: [(&str, u32); 3] = [("name", 1003), ("varchar", 1015), ("oid", 1028)];

/// True for the type of arrays.
pub(super) fn is_array(oid: u32) -> bool {
    let other = || OTHER_ARRAYS.iter().any(|(_, array)| *array == oid);
    Scalar::ALL.iter().any(|scalar| scalar.array_oid() == oid) || other()
}

/// The Arrow type of a parameter that a client declares as `oid`; `None` if the type is to be found out.
pub(super) fn declared(oid: u32) -> Option<DataType> {
    let scalar = Scalar::ALL.iter().find(|scalar| scalar.oid() == oid)?;
    Some(match scalar {
        Scalar::Bool => DataType::Boolean,
        Scalar::Int2 | Scalar::Int4 | Scalar::Int8 => DataType::Int64,
        Scalar::Float4 | Scalar::Float8 | Scalar::Numeric => DataType::Float64,
        Scalar::Date | Scalar::Timestamp | Scalar::Timestamptz => {
            DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
        }
        Scalar::Text | Scalar::Json | Scalar::Bytea | Scalar::Time | Scalar::Interval => DataType::Utf8,
    })
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// Name.
    pub(super) name: String,
    /// Type that the client is told.
    pub(super) kind: Kind,
    /// Name and type of the values here.
    pub(super) field: Field,
}

impl Column {
    /// The column of `field`.
    pub(super) fn of(field: &Field) -> Self {
        Self { name: field.name().clone(), kind: Kind::of(field), field: field.clone() }
    }

    /// The column as the client is told of it.
    pub(super) fn description(&self, format: Format) -> FieldDescription {
        let Self { name, kind, .. } = self;
        // A name ends with a zero byte.
        let name = name.replace('\0', "\u{fffd}");
        FieldDescription::new(name, 0, 0, kind.oid(), kind.size(), -1, format.code())
    }
}

/// The items of the list in `row` of `array`.
pub(super) fn items(array: &ArrayRef, row: usize) -> ArrayRef {
    match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        _ => array.as_fixed_size_list().value(row),
    }
}

/// The field of the items of a list.
pub(super) fn item_field(field: &Field) -> Option<&Field> {
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// The values of a dictionary, one for each row; other arrays as they are.
pub(super) fn plain(array: &ArrayRef) -> Result<ArrayRef, arrow::error::ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, value) => arrow::compute::cast(array, value),
        _ => Ok(std::sync::Arc::clone(array)),
    }
}

/// True if `array` has no value in `row`.
pub(super) fn is_null(array: &ArrayRef, row: usize) -> bool {
    *array.data_type() == DataType::Null || array.is_null(row)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn oid(ty: DataType) -> u32 {
        Kind::of(&Field::new("x", ty, true)).oid()
    }

    #[test]
    fn columns_have_the_types_that_clients_know() {
        let list = |ty| DataType::List(Arc::new(Field::new_list_field(ty, true)));
        assert_eq!(oid(DataType::Utf8View), 25);
        assert_eq!(oid(DataType::FixedSizeBinary(16)), 25);
        assert_eq!(oid(DataType::UInt64), 1700);
        assert_eq!(oid(DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))), 1184);
        assert_eq!(oid(list(DataType::Float64)), 1022);
        assert_eq!(oid(list(list(DataType::Float64))), 114);
        assert_eq!(oid(DataType::Dictionary(Box::new(DataType::UInt16), Box::new(DataType::Utf8))), 25);
        assert_eq!(oid(DataType::Null), 25);
    }
}
