//! Grouping of records by resource and scope.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::{
    AnyValue, EntityRef, InstrumentationScope, KeyValue, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::columns::{Row, RowAttributes};
use crate::error::Result;
use crate::event::schema::column as c;
use crate::event::typed_json;

/// Records `R` by resource and scope, in order of first occurrence.
pub(super) struct Groups<R> {
    resources: Vec<ResourceGroup<R>>,
    by_key: HashMap<Vec<u8>, usize>,
}

/// The records of one resource.
pub(super) struct ResourceGroup<R> {
    pub(super) resource: Resource,
    pub(super) schema_url: String,
    pub(super) scopes: Vec<ScopeGroup<R>>,
    by_key: HashMap<Vec<u8>, usize>,
}

/// The records of one scope.
pub(super) struct ScopeGroup<R> {
    pub(super) scope: InstrumentationScope,
    pub(super) schema_url: String,
    pub(super) records: Vec<R>,
}

/// Position of a scope: index of its resource, and its index there.
pub(super) type ScopeIndex = (usize, usize);

impl<R> Default for Groups<R> {
    fn default() -> Self {
        Self { resources: Vec::new(), by_key: HashMap::new() }
    }
}

impl<R> Groups<R> {
    /// Finds or adds the scope of a row, and returns it with the attributes of the record itself.
    pub(super) fn enter(&mut self, row: &Row<'_>) -> Result<(ScopeIndex, Vec<KeyValue>)> {
        let RowAttributes { record, scope, resource } = row.attributes()?;
        let resource = Resource {
            attributes: resource,
            dropped_attributes_count: row.count32(c::RESOURCE_DROPPED),
            entity_refs: entity_refs(row.text(c::RESOURCE_ENTITIES).unwrap_or_default())?,
        };
        let scope = InstrumentationScope {
            name: row.string(c::SCOPE_NAME),
            version: row.string(c::SCOPE_VERSION),
            attributes: scope,
            dropped_attributes_count: row.count32(c::SCOPE_DROPPED),
        };
        let schema_url = row.string(c::RESOURCE_SCHEMA_URL);
        let resources = &mut self.resources;
        let resource = *self.by_key.entry(key(&resource, &schema_url)).or_insert_with(|| {
            resources.push(ResourceGroup {
                resource,
                schema_url,
                scopes: Vec::new(),
                by_key: HashMap::new(),
            });
            resources.len() - 1
        });
        let ResourceGroup { scopes, by_key, .. } = &mut self.resources[resource];
        let schema_url = row.string(c::SCOPE_SCHEMA_URL);
        let scope = *by_key.entry(key(&scope, &schema_url)).or_insert_with(|| {
            scopes.push(ScopeGroup { scope, schema_url, records: Vec::new() });
            scopes.len() - 1
        });
        Ok(((resource, scope), record))
    }

    /// Records of a scope that [`enter`](Self::enter) returned.
    pub(super) fn records(&mut self, (resource, scope): ScopeIndex) -> &mut Vec<R> {
        &mut self.resources[resource].scopes[scope].records
    }

    pub(super) fn into_resources(self) -> Vec<ResourceGroup<R>> {
        self.resources
    }
}

fn key(message: &impl prost::Message, schema_url: &str) -> Vec<u8> {
    let mut key = message.encode_length_delimited_to_vec();
    key.extend_from_slice(schema_url.as_bytes());
    key
}

/// Reads entities from the decoder's typed JSON; missing parts are empty.
fn entity_refs(json: &str) -> Result<Vec<EntityRef>> {
    if json.is_empty() {
        return Ok(Vec::new());
    }
    let Some(any_value::Value::ArrayValue(list)) = typed_json::parse(json)?.value else {
        return Ok(Vec::new());
    };
    Ok(list.values.into_iter().filter_map(entity_ref).collect())
}

fn entity_ref(value: AnyValue) -> Option<EntityRef> {
    let Some(any_value::Value::KvlistValue(list)) = value.value else { return None };
    let mut entity = EntityRef::default();
    for KeyValue { key, value, .. } in list.values {
        match (key.as_str(), value.and_then(|v| v.value)) {
            ("schema_url", Some(any_value::Value::StringValue(text))) => entity.schema_url = text,
            ("type", Some(any_value::Value::StringValue(text))) => entity.r#type = text,
            ("id_keys", Some(any_value::Value::ArrayValue(list))) => entity.id_keys = texts(list.values),
            ("description_keys", Some(any_value::Value::ArrayValue(list))) => {
                entity.description_keys = texts(list.values);
            }
            _ => {}
        }
    }
    Some(entity)
}

fn texts(values: Vec<AnyValue>) -> Vec<String> {
    let text = |value: AnyValue| match value.value {
        Some(any_value::Value::StringValue(text)) => Some(text),
        _ => None,
    };
    values.into_iter().filter_map(text).collect()
}
