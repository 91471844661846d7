//! As much of JSON Schema 2020-12 as the schema of reports uses. A keyword that it does not know is refused, so that
//! nothing in the schema goes unchecked.

use std::collections::BTreeSet;

use serde_json::Value;

/// The schema of reports.
pub struct Schema(Value);

impl Schema {
    /// Reads the committed file.
    pub fn read() -> Self {
        Self(serde_json::from_str(include_str!("../../report.schema.json")).unwrap())
    }

    /// What in this value is not as the schema says.
    pub fn faults(&self, value: &Value) -> Vec<String> {
        let mut faults = vec![];
        self.check(&self.0, value, "", &mut faults);
        faults
    }

    /// Every field that the schema describes, as `definition/field`.
    pub fn fields(&self) -> BTreeSet<String> {
        let mut fields = BTreeSet::new();
        self.each_object(&mut |place, object| {
            fields.extend(object["properties"].as_object().unwrap().keys().map(|name| format!("{place}/{name}")));
        });
        fields
    }

    /// Every field that a value has, named alike.
    pub fn fields_of(&self, value: &Value, fields: &mut BTreeSet<String>) {
        self.collect(&self.0, "", value, fields);
    }

    /// Fields without a description, and numbers without a unit.
    pub fn undescribed(&self) -> Vec<String> {
        let mut missing = vec![];
        self.each_object(&mut |place, object| {
            for (name, field) in object["properties"].as_object().unwrap() {
                let types = field["type"].to_string();
                let number = types.contains("number") || types.contains("integer");
                if field["description"].as_str().is_none_or(str::is_empty) || (number && !field["unit"].is_string()) {
                    missing.push(format!("{place}/{name}"));
                }
            }
        });
        missing
    }

    fn check(&self, schema: &Value, value: &Value, place: &str, faults: &mut Vec<String>) {
        for (keyword, rule) in schema.as_object().unwrap() {
            let holds = match keyword.as_str() {
                "$schema" | "$comment" | "$defs" | "title" | "description" | "unit" | "format" => true,
                "$ref" => {
                    self.check(self.resolved(rule), value, place, faults);
                    true
                }
                "type" => match rule {
                    Value::Array(types) => types.iter().any(|of| is(of, value)),
                    of => is(of, value),
                },
                "const" => rule == value,
                "enum" => rule.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|value| value >= rule.as_f64().unwrap()),
                "required" => value.as_object().is_none_or(|fields| {
                    rule.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
                }),
                "properties" => {
                    for (name, rule) in rule.as_object().unwrap() {
                        if let Some(value) = value.get(name) {
                            self.check(rule, value, &format!("{place}/{name}"), faults);
                        }
                    }
                    true
                }
                "items" => {
                    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, value, &format!("{place}/{index}"), faults);
                    }
                    true
                }
                "oneOf" => rule.as_array().unwrap().iter().filter(|one| self.holds(one, value)).count() == 1,
                other => panic!("{place}: the keyword {other} is not known here"),
            };
            if !holds {
                faults.push(format!("{place}: {keyword} {rule} does not hold"));
            }
        }
    }

    fn holds(&self, schema: &Value, value: &Value) -> bool {
        let mut faults = vec![];
        self.check(schema, value, "", &mut faults);
        faults.is_empty()
    }

    fn resolved(&self, reference: &Value) -> &Value {
        let place = reference.as_str().unwrap().strip_prefix('#').unwrap();
        self.0.pointer(place).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    fn each_object(&self, visit: &mut dyn FnMut(&str, &Value)) {
        inner_objects("", &self.0, visit);
        for (name, definition) in self.0["$defs"].as_object().unwrap() {
            inner_objects(name, definition, visit);
        }
    }

    fn collect(&self, schema: &Value, place: &str, value: &Value, fields: &mut BTreeSet<String>) {
        if let Some(reference) = schema.get("$ref") {
            let name = reference.as_str().unwrap().rsplit('/').next().unwrap();
            return self.collect(self.resolved(reference), name, value, fields);
        }
        for one in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            if self.holds(one, value) {
                self.collect(one, place, value, fields);
            }
        }
        for (name, value) in value.as_object().into_iter().flatten().filter(|_| schema.get("properties").is_some()) {
            let field = format!("{place}/{name}");
            if let Some(schema) = schema["properties"].get(name) {
                self.collect(schema, &field, value, fields);
            }
            fields.insert(field);
        }
        for value in value.as_array().into_iter().flatten() {
            if let Some(items) = schema.get("items") {
                self.collect(items, place, value, fields);
            }
        }
    }
}

fn inner_objects(place: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        visit(place, schema);
        for (name, field) in properties {
            inner_objects(&format!("{place}/{name}"), field, visit);
        }
    }
    if let Some(items) = schema.get("items") {
        inner_objects(place, items, visit);
    }
    for one in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        inner_objects(place, one, visit);
    }
}

fn is(of: &Value, value: &Value) -> bool {
    match of.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type {other}"),
    }
}
