//! Where references of a schema lead to: its parts by id, by anchor and by place. Nothing is fetched.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use url::Url;

use super::Draft;

/// The id of a schema that has none.
const NO_ID: &str = "json-schema:///";

/// Documents within a schema that have an id of their own, beginning with the schema itself.
pub(super) struct Index<'v> {
    draft: Draft,
    resources: Vec<Resource<'v>>,
    by_id: HashMap<String, u32>,
    /// Of every object, by its address: parts are told apart by where they are in memory.
    at: HashMap<*const Value, u32>,
}

struct Resource<'v> {
    base: Url,
    root: &'v Value,
    anchors: HashMap<&'v str, &'v Value>,
    dynamic: Vec<(&'v str, &'v Value)>,
}

/// What a reference leads to.
#[derive(Clone, Copy)]
pub(super) struct Target<'v> {
    pub(super) part: &'v Value,
    pub(super) resource: u32,
}

impl<'v> Index<'v> {
    pub(super) fn of(root: &'v Value, draft: Draft) -> Result<Self, Box<str>> {
        let base = Url::parse(NO_ID).map_err(|error| error.to_string())?;
        let first = Resource { base, root, anchors: HashMap::new(), dynamic: Vec::new() };
        let mut index = Self { draft, resources: vec![first], by_id: HashMap::new(), at: HashMap::new() };
        index.by_id.insert(NO_ID.to_owned(), 0);
        index.note(root, 0)?;
        Ok(index)
    }

    pub(super) fn resource_of(&self, part: &Value) -> Option<u32> {
        self.at.get(&std::ptr::from_ref(part)).copied()
    }

    /// What `$dynamicRef` may lead to.
    pub(super) fn dynamic(&self) -> impl Iterator<Item = (u32, &'v str, &'v Value)> + '_ {
        let numbered = self.resources.iter().enumerate();
        numbered.flat_map(|(n, resource)| resource.dynamic.iter().map(move |(name, part)| (number(n), *name, *part)))
    }

    /// What stands at this reference of a part of `from`.
    pub(super) fn target(&self, reference: &str, from: u32) -> Result<Target<'v>, Box<str>> {
        let nowhere =
            || format!("reference {reference} leads nowhere; other documents are not fetched").into_boxed_str();
        let base = &self.resources[from as usize].base;
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let resource = match document {
            "" => from,
            other => {
                let url = base.join(other).map_err(|_| nowhere())?;
                *self.by_id.get(&bare(&url)).ok_or_else(nowhere)?
            }
        };
        let Resource { root, anchors, .. } = &self.resources[resource as usize];
        let fragment = percent_decode_str(fragment).decode_utf8().map_err(|_| nowhere())?;
        let part = match &*fragment {
            "" => *root,
            place if place.starts_with('/') => root.pointer(place).ok_or_else(nowhere)?,
            name => anchors.get(name).copied().ok_or_else(nowhere)?,
        };
        Ok(Target { part, resource: self.resource_of(part).unwrap_or(resource) })
    }

    fn note(&mut self, part: &'v Value, within: u32) -> Result<(), Box<str>> {
        match part {
            Value::Object(fields) => {
                let resource = self.named(part, fields, within)?;
                self.at.insert(part, resource);
                for (name, value) in fields {
                    match (&**name, value) {
                        // Data, in which nothing is a schema.
                        ("enum" | "const" | "default" | "examples" | "example", _) => {}
                        (name, Value::Object(parts)) if holds_parts(name) => {
                            for value in parts.values() {
                                self.note(value, resource)?;
                            }
                        }
                        _ => self.note(value, resource)?,
                    }
                }
                Ok(())
            }
            Value::Array(parts) => parts.iter().try_for_each(|part| self.note(part, within)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    /// The resource that this part stands in, which may begin with it; and its anchors.
    fn named(&mut self, part: &'v Value, fields: &'v Map<String, Value>, within: u32) -> Result<u32, Box<str>> {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let id = text(if self.draft == Draft::Four { "id" } else { "$id" });
        // Beside a reference, which the older drafts take for all that there is.
        let id = id.filter(|_| self.draft >= Draft::Year2019 || !fields.contains_key("$ref"));
        let (id, anchor) = match id {
            Some(id) if self.draft <= Draft::Seven => {
                id.split_once('#').map_or((id, None), |(id, name)| (id, Some(name)))
            }
            Some(id) => (id.trim_end_matches('#'), None),
            None => ("", None),
        };
        let mut resource = within;
        if !id.is_empty() {
            let base = self.resources[within as usize].base.join(id).map_err(|_| format!("id {id} is not a URI"))?;
            let next = number(self.resources.len());
            if std::ptr::eq(part, self.resources[0].root) {
                self.resources[0].base = base.clone();
            } else {
                let anchors = HashMap::new();
                self.resources.push(Resource { base: base.clone(), root: part, anchors, dynamic: Vec::new() });
                resource = next;
            }
            self.by_id.insert(bare(&base), resource);
        }
        let here = &mut self.resources[resource as usize];
        let names = [anchor, text("$anchor"), text("$dynamicAnchor")];
        here.anchors.extend(names.into_iter().flatten().filter(|name| !name.is_empty()).map(|name| (name, part)));
        here.dynamic.extend(text("$dynamicAnchor").map(|name| (name, part)));
        if fields.get("$recursiveAnchor") == Some(&Value::Bool(true)) {
            here.dynamic.push(("", part));
        }
        Ok(resource)
    }
}

/// Whether what is called so holds schemas by names of any kind.
pub(super) fn holds_parts(name: &str) -> bool {
    const HOLD: [&str; 6] =
        ["properties", "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"];
    HOLD.contains(&name)
}

fn bare(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    url.into()
}

/// A schema has fewer values than that: its text is bounded.
pub(super) fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
