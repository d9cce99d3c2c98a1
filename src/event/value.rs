//! The types that an attribute can hold.

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

    /// The Arrow type of a column that holds such values.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Double => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Text | Self::Json => DataType::Utf8View,
            Self::Bytes => DataType::BinaryView,
        }
    }

    /// Reads the code that `self as u8` wrote.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Name for messages: what a person calls it.
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

/// A set of attribute types: what values of one key have been seen.
///
/// It also tells whether one of the integers may not be a double: [`is_wide`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TypeSet(u8);

/// The bit of wide integers, after those of the types.
const WIDE: u8 = 1 << 6;

/// Whether an integer is 2^53 or more away from zero, where neighbours are the same double.
pub fn is_wide(value: i64) -> bool {
    value.unsigned_abs() >= 1 << f64::MANTISSA_DIGITS
}

impl TypeSet {
    /// The set that [`bits`](Self::bits) wrote; what is not known is left out.
    pub fn from_bits(bits: u8) -> Self {
        let known = AttributeType::ALL.into_iter().fold(WIDE, |known, ty| known | 1 << ty as u8);
        Self(bits & known)
    }

    /// The set as stored: a bit for each type, by its code, and one for wide integers.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set with wide integers added.
    #[must_use]
    pub fn with_wide_integers(self) -> Self {
        Self(self.with(AttributeType::Int).0 | WIDE)
    }

    /// Whether all of `other` is in the set.
    pub fn contains_all(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// The set with `ty` added.
    #[must_use]
    pub fn with(self, ty: AttributeType) -> Self {
        Self(self.0 | 1 << ty as u8)
    }

    /// The union of both sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `ty` is in the set.
    pub fn contains(self, ty: AttributeType) -> bool {
        self.0 & 1 << ty as u8 != 0
    }

    /// Whether nothing was seen.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The types in the set, in the order of their codes.
    pub fn iter(self) -> impl Iterator<Item = AttributeType> {
        AttributeType::ALL.into_iter().filter(move |ty| self.contains(*ty))
    }

    /// The Arrow type in which SQL sees the key: the narrowest that holds every value.
    ///
    /// Integers and doubles read as doubles where no integer loses a digit by that; anything mixed otherwise,
    /// and anything with text in it, reads as text.
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

    /// Whether SQL sees numbers as text, because of what else the key holds.
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
    /// Whether it is JSON's `null`: no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Json(typed_json::NULL))
    }

    /// The type of the value.
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
