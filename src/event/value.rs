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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TypeSet(u8);

impl TypeSet {
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
    /// Integers and doubles read as doubles; anything mixed otherwise, and anything with text in it, reads
    /// as text.
    pub fn sql_type(self) -> DataType {
        let only = |types: &[AttributeType]| !self.is_empty() && self.iter().all(|ty| types.contains(&ty));
        if only(&[AttributeType::Int]) {
            DataType::Int64
        } else if only(&[AttributeType::Int, AttributeType::Double]) {
            DataType::Float64
        } else if only(&[AttributeType::Bool]) {
            DataType::Boolean
        } else if only(&[AttributeType::Bytes]) {
            DataType::BinaryView
        } else {
            DataType::Utf8View
        }
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
}
