//! Readers of single fields, for `#[serde(default, deserialize_with = "…")]` in types that
//! [`ManifestObject::decode`](crate::document::ManifestObject::decode) reads.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Reads null as the default value, because Kubernetes treats null as an absent field.
///
/// # Errors
/// Returns the errors of the value, if it is not null.
pub fn null_as_default<'de, T, Source>(source: Source) -> Result<T, Source::Error>
where
    T: Deserialize<'de> + Default,
    Source: Deserializer<'de>,
{
    Option::<T>::deserialize(source).map(Option::unwrap_or_default)
}

/// Like [`null_as_default`], for a map. Refuses repeated keys. YAML trees never contain them, but
/// JSON text may.
///
/// # Errors
/// Returns the errors of the values, and an error for a repeated key.
pub fn unique_keys<'de, T, Source>(source: Source) -> Result<BTreeMap<String, T>, Source::Error>
where
    T: Deserialize<'de>,
    Source: Deserializer<'de>,
{
    Option::<UniqueKeys<T>>::deserialize(source)
        .map(|map| map.map(|UniqueKeys(map)| map).unwrap_or_default())
}

struct UniqueKeys<T>(BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for UniqueKeys<T> {
    fn deserialize<Source: Deserializer<'de>>(source: Source) -> Result<Self, Source::Error> {
        source.deserialize_map(UniqueKeysVisitor(PhantomData))
    }
}

struct UniqueKeysVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for UniqueKeysVisitor<T> {
    type Value = UniqueKeys<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a mapping")
    }

    fn visit_map<Map: MapAccess<'de>>(self, mut source: Map) -> Result<Self::Value, Map::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = source.next_entry::<String, T>()? {
            if map.contains_key(&key) {
                return Err(Error::custom(format!("`{key}` is here twice")));
            }
            map.insert(key, value);
        }
        Ok(UniqueKeys(map))
    }
}

/// The length in bytes of a string that is not stored. `None` if the value is null.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TextSize(pub usize);

impl<'de> Deserialize<'de> for TextSize {
    fn deserialize<Source: Deserializer<'de>>(source: Source) -> Result<Self, Source::Error> {
        source.deserialize_option(TextSizeVisitor)
    }
}

struct TextSizeVisitor;

impl<'de> Visitor<'de> for TextSizeVisitor {
    type Value = TextSize;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(TextSize(text.len()))
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(TextSize(0))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(TextSize(0))
    }

    fn visit_some<Source: Deserializer<'de>>(
        self,
        source: Source,
    ) -> Result<Self::Value, Source::Error> {
        source.deserialize_str(self)
    }
}
