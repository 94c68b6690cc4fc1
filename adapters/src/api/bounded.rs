//! Holds requests to the bounds that the document declares, before anything is made of them: what is written there is so
//! because it is read from there.

use std::{cell::RefCell, collections::HashMap, fmt, sync::LazyLock};

use axum::http::Method;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{body::WrongField, error::ApiError, openapi};

/// Of all operations.
static ALL: LazyLock<Bounds> = LazyLock::new(|| {
    let document = serde_json::from_slice(&openapi::written()).unwrap_or_default();
    Bounds::of(&document)
});

/// Schemas, one within another, that are looked into for what a part may be.
const ALTERNATIVES_DEPTH_MAX: usize = 8;

/// What is known of operations, by their paths.
type ByPath<T> = HashMap<String, Vec<(Method, T)>>;

/// What bodies and queries may be, by their operations.
#[derive(Default)]
struct Bounds {
    nodes: Vec<Node>,
    by_name: HashMap<String, usize>,
    bodies: ByPath<usize>,
    queries: ByPath<HashMap<String, usize>>,
}

/// What a value may be.
#[derive(Default)]
struct Node {
    characters_max: Option<usize>,
    items_max: Option<usize>,
    fields_max: Option<usize>,
    least: Option<f64>,
    most: Option<f64>,
    items: Option<usize>,
    fields: HashMap<String, usize>,
    others: Option<usize>,
    /// It is one of these instead.
    alternatives: Vec<usize>,
}

/// What is checked, and where it stands.
#[derive(Clone, Copy)]
struct Part<'b> {
    bounds: &'b Bounds,
    path: &'b RefCell<Vec<String>>,
}

/// A part, and what it may be.
struct Seed<'b> {
    part: Part<'b>,
    nodes: Vec<usize>,
}

/// Whether the body of this operation is within its bounds.
pub(super) fn body(method: &Method, path: &str, text: &[u8]) -> Result<(), ApiError> {
    match find(&ALL.bodies, method, path) {
        Some(node) => ALL.check(*node, text),
        None => Ok(()),
    }
}

/// The same of one item of a body that is a list.
pub(super) fn item(method: &Method, path: &str, text: &[u8]) -> Result<(), ApiError> {
    let node = find(&ALL.bodies, method, path).and_then(|list| ALL.nodes[*list].items);
    node.map_or(Ok(()), |item| ALL.check(item, text))
}

/// Whether what is given in the query of this operation is within its bounds.
pub(super) fn query(method: &Method, path: &str, given: &[(String, String)]) -> Result<(), ApiError> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let Some(known) = find(&ALL.queries, method, path) else { return Ok(()) };
    let mut counts = HashMap::<&str, usize>::new();
    for (name, value) in given {
        let name = name.split('[').next().unwrap_or_default();
        let Some(node) = known.get(name).map(|node| &ALL.nodes[*node]) else { continue };
        let wrong = |message: String| Err(ApiError::field("query", name, message));
        let (item, values) = match node.items {
            Some(items) => (&ALL.nodes[items], value.split(',').collect::<Vec<_>>()),
            None => (node, vec![value.as_str()]),
        };
        let count = counts.entry(name).or_default();
        *count += values.len();
        if let Some(message) = node.items_max.filter(|most| most < count).map(|most| too_many(most, "items")) {
            return wrong(message);
        }
        for value in values {
            if let Some(message) = item.of_text(value).or_else(|| item.of_number(value.parse().ok()?)) {
                return wrong(message);
            }
        }
    }
    Ok(())
}

fn find<'b, T>(all: &'b ByPath<T>, method: &Method, path: &str) -> Option<&'b T> {
    all.get(path)?.iter().find(|(known, _)| known == method).map(|(_, found)| found)
}

fn too_many(most: usize, of: &str) -> String {
    format!("must have at most {most} {of}")
}

impl Node {
    fn of_text(&self, text: &str) -> Option<String> {
        let most = self.characters_max?;
        // A character has a byte at least.
        (most < text.len() && most < text.chars().count()).then(|| too_many(most, "characters"))
    }

    fn of_number(&self, number: f64) -> Option<String> {
        let (least, most) = (self.least.unwrap_or(f64::NEG_INFINITY), self.most.unwrap_or(f64::INFINITY));
        (!(least..=most).contains(&number)).then(|| match (self.least, self.most) {
            (Some(least), Some(most)) => format!("must be {least} to {most}"),
            (Some(least), None) => format!("must be at least {least}"),
            (None, _) => format!("must be at most {most}"),
        })
    }
}

impl Bounds {
    fn of(document: &Value) -> Self {
        let mut bounds = Self::default();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let Ok(method) = Method::from_bytes(method.to_uppercase().as_bytes()) else { continue };
                if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
                    let node = bounds.node(document, schema);
                    bounds.bodies.entry(path.clone()).or_default().push((method.clone(), node));
                }
                let mut query = HashMap::new();
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    if let ("query", Some(name)) =
                        (parameter["in"].as_str().unwrap_or_default(), parameter["name"].as_str())
                    {
                        query.insert(name.to_owned(), bounds.node(document, &parameter["schema"]));
                    }
                }
                bounds.queries.entry(path.clone()).or_default().push((method, query));
            }
        }
        bounds
    }

    fn node(&mut self, document: &Value, schema: &Value) -> usize {
        let name = schema["$ref"].as_str();
        if let Some(known) = name.and_then(|name| self.by_name.get(name)) {
            return *known;
        }
        let place = self.nodes.len();
        self.nodes.push(Node::default());
        let found = name.and_then(|name| document.pointer(name.strip_prefix('#')?)).unwrap_or(schema);
        self.by_name.extend(name.map(|name| (name.to_owned(), place)));
        let count = |name: &str| found[name].as_u64().and_then(|count| usize::try_from(count).ok());
        let mut node = Node {
            characters_max: count("maxLength"),
            items_max: count("maxItems"),
            fields_max: count("maxProperties"),
            least: found["minimum"].as_f64(),
            most: found["maximum"].as_f64(),
            ..Node::default()
        };
        if found["items"].is_object() {
            node.items = Some(self.node(document, &found["items"]));
        }
        if found["additionalProperties"].is_object() {
            node.others = Some(self.node(document, &found["additionalProperties"]));
        }
        for (name, property) in found["properties"].as_object().into_iter().flatten() {
            let property = self.node(document, property);
            node.fields.insert(name.clone(), property);
        }
        for part in ["oneOf", "anyOf", "allOf"].iter().filter_map(|parts| found[*parts].as_array()).flatten() {
            // Nothing is within every bound.
            if part["type"] != "null" {
                let part = self.node(document, part);
                node.alternatives.push(part);
            }
        }
        self.nodes[place] = node;
        place
    }

    fn check(&self, node: usize, text: &[u8]) -> Result<(), ApiError> {
        let path = RefCell::new(Vec::new());
        let seed = Seed { part: Part { bounds: self, path: &path }, nodes: self.alternatives(node) };
        let mut json = serde_json::Deserializer::from_slice(text);
        match seed.deserialize(&mut json) {
            Err(error) if error.is_data() => {
                let message = error.to_string();
                let message =
                    message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message).to_owned();
                Err(ApiError::fields(vec![WrongField { path: path.into_inner(), message }]))
            }
            // What is no JSON is said by whoever reads it.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// All that a value of this may be.
    fn alternatives(&self, node: usize) -> Vec<usize> {
        let (mut all, mut next) = (vec![node], 0);
        for _ in 0..ALTERNATIVES_DEPTH_MAX {
            let more: Vec<_> = all[next..].iter().flat_map(|node| &self.nodes[*node].alternatives).copied().collect();
            next = all.len();
            all.extend(more);
        }
        // One that is only made of others bounds nothing itself.
        all.retain(|node| self.nodes[*node].alternatives.is_empty());
        all
    }
}

impl<'b> Seed<'b> {
    fn nodes(&self) -> impl Iterator<Item = &'b Node> + '_ {
        self.nodes.iter().map(|node| &self.part.bounds.nodes[*node])
    }

    /// Whether it is wrong for all that it may be.
    fn must<E: serde::de::Error>(&self, wrong: impl Fn(&Node) -> Option<String>) -> Result<(), E> {
        let mut first = None;
        for node in self.nodes() {
            match wrong(node) {
                None => return Ok(()),
                Some(why) => first = first.or(Some(why)),
            }
        }
        first.map_or(Ok(()), |why| Err(E::custom(why)))
    }

    fn inner(&self, of: impl Fn(&Node) -> Option<usize>) -> Self {
        let nodes = self.nodes().filter_map(of).flat_map(|node| self.part.bounds.alternatives(node)).collect();
        Self { part: self.part, nodes }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.nodes.is_empty() {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|IgnoredAny| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.must(|node| node.of_text(text))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        #[expect(clippy::cast_precision_loss, reason = "bounds are below what is lost")]
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        #[expect(clippy::cast_precision_loss, reason = "bounds are below what is lost")]
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        self.must(|node| node.of_number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut count = 0;
        loop {
            self.part.path.borrow_mut().push(count.to_string());
            if items.next_element_seed(self.inner(|node| node.items))?.is_none() {
                self.part.path.borrow_mut().pop();
                return Ok(());
            }
            self.part.path.borrow_mut().pop();
            count += 1;
            self.must(|node| node.items_max.filter(|most| *most < count).map(|most| too_many(most, "items")))?;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some(name) = fields.next_key::<String>()? {
            count += 1;
            self.must(|node| node.fields_max.filter(|most| *most < count).map(|most| too_many(most, "fields")))?;
            let inner = self.inner(|node| node.fields.get(&name).copied().or(node.others));
            self.part.path.borrow_mut().push(name);
            fields.next_value_seed(inner)?;
            self.part.path.borrow_mut().pop();
        }
        Ok(())
    }
}
