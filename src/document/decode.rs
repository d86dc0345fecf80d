//! Typed reading of a tree, for kinds of which only a few fields are used: a serde deserializer
//! over [`YamlNode`].
//!
//! Wrong types produce the same messages as [`MappingFields`](crate::document::MappingFields),
//! located at the innermost value.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};

use crate::diagnostic::{Code, Diagnostic, nearest};
use crate::document::fields::{listed, wrong_type};
use crate::document::{NodeScalar, NodeValue, YamlEntry, YamlNode};
use crate::source::Span;

/// Reads a value of any type from a tree.
pub(super) fn decode<T: DeserializeOwned>(node: &YamlNode) -> Result<T, Diagnostic> {
    T::deserialize(NodeDeserializer(node)).map_err(|error| error.diagnostic(node.span))
}

/// A read error. The innermost value with a span sets the location.
#[derive(Debug)]
pub(super) struct Error {
    code: Code,
    message: String,
    help: Option<String>,
    span: Option<Span>,
}

impl Error {
    fn new(code: Code, message: String) -> Self {
        Self {
            code,
            message,
            help: None,
            span: None,
        }
    }

    fn wrong_type(node: &YamlNode, expected: &str) -> Self {
        let Diagnostic {
            code,
            message,
            help,
            ..
        } = wrong_type(node, expected);

        Self {
            code,
            message,
            help,
            span: Some(node.span),
        }
    }

    fn within(mut self, span: Span) -> Self {
        self.span = self.span.or(Some(span));
        self
    }

    fn diagnostic(self, span: Span) -> Diagnostic {
        Diagnostic::at(self.code, self.span.unwrap_or(span), self.message).maybe_help(self.help)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<Message: fmt::Display>(message: Message) -> Self {
        Self::new(Code::InvalidValue, message.to_string())
    }

    fn missing_field(name: &'static str) -> Self {
        Self::new(Code::MissingField, format!("`{name}` is missing"))
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        let meant =
            nearest(name, known.iter().copied()).map(|name| format!("did you mean `{name}`?"));
        let message = format!("`{name}` is none of {}", listed(known));
        Self {
            help: meant,
            ..Self::new(Code::InvalidValue, message)
        }
    }

    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        Self::new(Code::UnknownField, format!("unknown field `{name}`"))
    }
}

/// A node as a serde deserializer.
#[derive(Clone, Copy)]
struct NodeDeserializer<'node>(&'node YamlNode);

impl<'node> NodeDeserializer<'node> {
    fn text(self) -> Result<&'node str, Error> {
        match &self.0.value {
            NodeValue::Scalar(NodeScalar::Text(text)) => Ok(&text.value),
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                Err(Error::wrong_type(self.0, "a string"))
            }
        }
    }

    fn number<T: std::str::FromStr>(self, expected: &str, range: &str) -> Result<T, Error> {
        let NodeValue::Scalar(NodeScalar::Number(number)) = &self.0.value else {
            return Err(Error::wrong_type(self.0, expected));
        };

        let invalid = || {
            Error::new(
                Code::InvalidValue,
                format!("`{number}` is not {expected}{range}"),
            )
            .within(self.0.span)
        };
        number.parse().map_err(|_| invalid())
    }

    fn visit_number<'de, V: Visitor<'de>>(number: &str, visitor: V) -> Result<V::Value, Error> {
        if let Ok(value) = number.parse() {
            visitor.visit_u64(value)
        } else if let Ok(value) = number.parse() {
            visitor.visit_i64(value)
        } else {
            visitor.visit_f64(finite(number)?)
        }
    }

    fn visit_any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.value {
            NodeValue::Scalar(NodeScalar::Null) => visitor.visit_unit(),
            NodeValue::Scalar(NodeScalar::Bool(value)) => visitor.visit_bool(*value),
            NodeValue::Scalar(NodeScalar::Number(number)) => Self::visit_number(number, visitor),
            NodeValue::Scalar(NodeScalar::Text(text)) => visitor.visit_str(&text.value),
            NodeValue::Scalar(NodeScalar::Ambiguous(_)) => {
                Err(Error::wrong_type(self.0, "a string"))
            }
            NodeValue::List(items) => visitor.visit_seq(ItemAccess(items.iter())),
            NodeValue::Map(entries) => visitor.visit_map(PairAccess {
                entries: entries.iter(),
                value: None,
            }),
        }
    }
}

fn finite(number: &str) -> Result<f64, Error> {
    let value = number.parse().ok().filter(|value: &f64| value.is_finite());
    value.ok_or_else(|| {
        Error::new(
            Code::InvalidValue,
            format!("`{number}` is not a finite number"),
        )
    })
}

macro_rules! whole_numbers {
    ($($deserialize:ident $visit:ident $type:ty)*) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let range = format!(" from {} to {}", <$type>::MIN, <$type>::MAX);
            let number: $type = self.number("a whole number", &range)?;
            visitor.$visit(number).map_err(|error: Error| error.within(self.0.span))
        })*
    };
}

impl<'de> de::Deserializer<'de> for NodeDeserializer<'_> {
    type Error = Error;

    whole_numbers! {
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.visit_any(visitor)
            .map_err(|error| error.within(self.0.span))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.value {
            NodeValue::Scalar(NodeScalar::Bool(value)) => visitor.visit_bool(*value),
            NodeValue::Scalar(_) | NodeValue::List(_) | NodeValue::Map(_) => {
                Err(Error::wrong_type(self.0, "a boolean"))
            }
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let number: String = self.number("a number", "")?;
        visitor.visit_f64(finite(&number).map_err(|error| error.within(self.0.span))?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor
            .visit_str(self.text()?)
            .map_err(|error: Error| error.within(self.0.span))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.value {
            NodeValue::List(_) => self.deserialize_any(visitor),
            NodeValue::Scalar(_) | NodeValue::Map(_) => Err(Error::wrong_type(self.0, "a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.0.value {
            NodeValue::Map(_) => self.deserialize_any(visitor),
            NodeValue::Scalar(_) | NodeValue::List(_) => {
                Err(Error::wrong_type(self.0, "a mapping"))
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let name: StrDeserializer<'_, Error> = self.text()?.into_deserializer();
        visitor
            .visit_enum(name)
            .map_err(|error| error.within(self.0.span))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct ItemAccess<'node>(std::slice::Iter<'node, YamlNode>);

impl<'de> SeqAccess<'de> for ItemAccess<'_> {
    type Error = Error;

    fn next_element_seed<Seed: DeserializeSeed<'de>>(
        &mut self,
        seed: Seed,
    ) -> Result<Option<Seed::Value>, Error> {
        self.0
            .next()
            .map(|node| {
                seed.deserialize(NodeDeserializer(node))
                    .map_err(|error| error.within(node.span))
            })
            .transpose()
    }
}

struct PairAccess<'node> {
    entries: std::slice::Iter<'node, YamlEntry>,
    value: Option<&'node YamlNode>,
}

impl<'de> MapAccess<'de> for PairAccess<'_> {
    type Error = Error;

    fn next_key_seed<Seed: DeserializeSeed<'de>>(
        &mut self,
        seed: Seed,
    ) -> Result<Option<Seed::Value>, Error> {
        let Some(YamlEntry { key, value }) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let name: StrDeserializer<'_, Error> = key.value.as_str().into_deserializer();
        seed.deserialize(name)
            .map(Some)
            .map_err(|error| error.within(key.span))
    }

    fn next_value_seed<Seed: DeserializeSeed<'de>>(
        &mut self,
        seed: Seed,
    ) -> Result<Seed::Value, Error> {
        let node = self
            .value
            .take()
            .ok_or_else(|| Error::new(Code::MissingField, "a value is missing".to_owned()))?;
        seed.deserialize(NodeDeserializer(node))
            .map_err(|error| error.within(node.span))
    }
}
