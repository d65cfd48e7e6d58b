//! Pure. `config/ntpfront.schema.json` from the rows of the keys: a JSON schema (draft 7), by which editors complete and check
//! the configuration. What keys mean together, and what a text means, is left to `ntpfront check`.

use ntpfront::config::kind::KeyType;
use ntpfront::config::row::{Applied, Key, Table};
use serde_json::{Map, Value, json};

/// The schema.
///
/// # Errors
/// A default that is no TOML.
pub(crate) fn schema(tables: &[Table]) -> Result<String, String> {
    let mut properties = Map::new();
    for table in tables {
        let mut description = table.about.clone();
        if table.applied == Applied::Restart {
            description.push_str(" Changes need a restart.");
        }
        let object = object(table, &description)?;
        let property = match table.is_array() {
            true => json!({ "type": "array", "items": object, "description": description }),
            false => object,
        };
        properties.insert(table.name().to_owned(), property);
    }
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "ntpfront.toml",
        "description": "The configuration of the NTP server ntpfront.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    Ok(format!("{schema:#}\n"))
}

fn object(table: &Table, description: &str) -> Result<Value, String> {
    let (mut properties, mut doc) = (Map::new(), "");
    for key in &table.keys {
        // A key without a text is explained by the one before it.
        doc = if key.doc.is_empty() { doc } else { &key.doc };
        properties.insert(key.name.to_owned(), property(key, doc)?);
    }
    for table in &table.tables {
        // What it leaves out is as for all listeners: no default is told.
        let mut own = object(table, &table.about)?;
        let keys = own.get_mut("properties").and_then(Value::as_object_mut);
        for property in keys.into_iter().flat_map(Map::values_mut) {
            property
                .as_object_mut()
                .map(|property| property.remove("default"));
        }
        properties.insert(table.name().to_owned(), own);
    }
    let required: Vec<&str> = table
        .keys
        .iter()
        .filter(|key| key.is_required)
        .map(|key| key.name)
        .collect();
    Ok(json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    }))
}

fn property(key: &Key, doc: &str) -> Result<Value, String> {
    let kind = match &key.key_type {
        KeyType::Bool => json!({ "type": "boolean" }),
        KeyType::Integer { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        KeyType::Number { least, most } => json!({ "type": "number", "minimum": least, "maximum": most }),
        KeyType::Word(words) => json!({ "type": "string", "enum": words }),
        KeyType::Text => json!({ "type": "string" }),
        KeyType::TextOrTexts => json!({ "type": ["string", "array"], "items": { "type": "string" } }),
        KeyType::Texts => json!({ "type": "array", "items": { "type": "string" } }),
    };
    let default = match &key.default {
        Some(default) => {
            json!({ "default": read(default).map_err(|error| format!("{}: {error}", key.name))? })
        }
        None => json!({}),
    };
    let parts = [json!({ "description": doc }), kind, default];
    let parts = parts.iter().filter_map(Value::as_object).cloned();
    Ok(parts.flatten().collect::<Map<_, _>>().into())
}

/// A value in TOML.
fn read(value: &str) -> Result<Value, String> {
    let mut setting: Map<String, Value> =
        toml::from_str(&format!("value = {value}")).map_err(|error| error.to_string())?;
    setting.remove("value").ok_or_else(|| "no value".to_owned())
}
