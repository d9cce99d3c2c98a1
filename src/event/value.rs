//! Types and values of attributes.

use arrow::datatypes::DataType;

use super::typed_json;

/// Type of an attribute's value, as its producer sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum AttributeType {
    /// 64-bit signed integer.
    Int = 0,
    /// 64-bit float.
    Double = 1,
    /// Boolean.
    Bool = 2,
    /// UTF-8 text.
    Text = 3,
    /// Bytes.
    Bytes = 4,
    /// An array or a key-value list, as [typed JSON](crate::event::typed_json).
    Json = 5,
}

impl AttributeType {
    /// All types, in the order of their codes.
    pub const ALL: [Self; 6] = [Self::Int, Self::Double, Self::Bool, Self::Text, Self::Bytes, Self::Json];

    /// Arrow type of a column with such values.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Text | Self::Json => DataType::Utf8View,
            Self::Bytes => DataType::BinaryView,
        }
    }

    /// Reverses `self as u8`; `None` for other codes.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "integer",
            Self::Double => "double",
            Self::Bool => "boolean",
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Json => "json",
        }
    }
}

/// A set of attribute types: those that occurred among the values of one key.
///
/// Also records whether one of the integers is [wide](is_wide), so that a double cannot represent it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TypeSet(u8);

/// Bit for wide integers, after the bits of the types.
const WIDE: u8 = 1 << 6;

/// True if an integer is at least 2^53 away from zero, where neighbouring integers are the same double.
pub fn is_wide(value: i64) -> bool {
    value.unsigned_abs() >= 1 << f64::MANTISSA_DIGITS
}

impl TypeSet {
    /// Reverses [`bits`](Self::bits); unknown bits are ignored.
    pub fn from_bits(bits: u8) -> Self {
        let known = AttributeType::ALL.into_iter().fold(WIDE, |known, ty| known | 1 << ty as u8);
        Self(bits & known)
    }

    /// Stored form of the set: a bit for each type, by its code, and one for wide integers.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Adds wide integers to the set.
    #[must_use]
    pub fn with_wide_integers(self) -> Self {
        Self(self.with(AttributeType::Int).0 | WIDE)
    }

    /// True if all of `other` is in the set.
    pub fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Adds `ty` to the set.
    #[must_use]
    pub fn with(self, ty: AttributeType) -> Self {
        Self(self.0 | 1 << ty as u8)
    }

    /// Union of both sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if `ty` is in the set.
    pub fn contains(self, ty: AttributeType) -> bool {
        self.0 & 1 << ty as u8 != 0
    }

    /// True if the set has no type.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Types in the set, in the order of their codes.
    pub fn iter(self) -> impl Iterator<Item = AttributeType> {
        AttributeType::ALL.into_iter().filter(move |ty| self.contains(*ty))
    }

    /// Arrow type of the key in SQL: the narrowest that holds every value.
    ///
    /// Integers and doubles read as doubles if no integer loses a digit by that. Other mixtures, and everything with
    /// text, read as text.
    pub fn sql_type(self) -> DataType {
        let only = |types: &[AttributeType]| !self.is_empty() && self.iter().all(|ty| types.contains(&ty));
        if only(&[AttributeType::Int]) {
            DataType::Int64
        } else if only(&[AttributeType::Int, AttributeType::Double]) && self.0 & WIDE == 0 {
            DataType::Float64
        } else if only(&[AttributeType::Bool]) {
            DataType::Boolean
        } else if only(&[AttributeType::Bytes]) {
            DataType::BinaryView
        } else {
            DataType::Utf8View
        }
    }

    /// True if SQL reads the key's numbers as text, because it also has other types, or doubles and wide integers.
    pub fn is_mixed(self) -> bool {
        let numbers = self.contains(AttributeType::Int) || self.contains(AttributeType::Double);
        numbers && self.sql_type() == DataType::Utf8View
    }
}

impl FromIterator<AttributeType> for TypeSet {
    fn from_iter<I: IntoIterator<Item = AttributeType>>(types: I) -> Self {
        types.into_iter().fold(Self::default(), Self::with)
    }
}

/// A borrowed value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// See [`AttributeType::Int`].
    Int(i64),
    /// See [`AttributeType::Double`].
    Double(f64),
    /// See [`AttributeType::Bool`].
    Bool(bool),
    /// See [`AttributeType::Text`].
    Text(&'a str),
    /// See [`AttributeType::Bytes`].
    Bytes(&'a [u8]),
    /// See [`AttributeType::Json`]; must be typed JSON.
    Json(&'a str),
}

impl Value<'_> {
    /// True if it is JSON's `null`: a missing value.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Json(typed_json::NULL))
    }

    /// Type of the value.
    pub fn attribute_type(&self) -> AttributeType {
        match self {
            Self::Int(_) => AttributeType::Int,
            Self::Double(_) => AttributeType::Double,
            Self::Bool(_) => AttributeType::Bool,
            Self::Text(_) => AttributeType::Text,
            Self::Bytes(_) => AttributeType::Bytes,
            Self::Json(_) => AttributeType::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sql_type_is_the_narrowest_that_holds_every_value() {
        use AttributeType::*;
        let sql = |types: &[AttributeType]| types.iter().copied().collect::<TypeSet>().sql_type();
        assert_eq!(sql(&[Int]), DataType::Int64);
        assert_eq!(sql(&[Int, Double]), DataType::Float64);
        assert_eq!(sql(&[Bool]), DataType::Boolean);
        assert_eq!(sql(&[Bytes]), DataType::BinaryView);
        assert_eq!(sql(&[Int, Bool]), DataType::Utf8View);
        assert_eq!(sql(&[Int, Text]), DataType::Utf8View);
        assert_eq!(sql(&[]), DataType::Utf8View);
    }

    #[test]
    fn integers_that_are_no_doubles_are_not_read_as_doubles() {
        use AttributeType::*;
        assert!(!is_wide((1 << 53) - 1) && !is_wide(1 - (1 << 53)));
        assert!(is_wide(1 << 53) && is_wide(i64::MIN) && is_wide(i64::MAX));
        let wide = TypeSet::default().with_wide_integers();
        assert_eq!(wide.sql_type(), DataType::Int64);
        assert_eq!(wide.with(Double).sql_type(), DataType::Utf8View);
        assert!(wide.with(Double).is_mixed() && !wide.is_mixed());
        assert!(wide.with(Text).is_mixed() && !TypeSet::default().with(Text).with(Bool).is_mixed());
        assert_eq!(TypeSet::from_bits(wide.with(Json).bits() | 0x80), wide.with(Json));
        assert!(wide.contains_all(TypeSet::default().with(Int)) && !wide.contains_all(wide.with(Json)));
    }
}
