//! Makes the table of a schema. What there is to do is a list, not a recursion: a chain of references takes no stack.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::{
    Draft, Id, Node, Properties, Rule, Schema,
    format::Format,
    index::{Index, number},
    pattern::{PATTERN_BYTES, Pattern},
    read::{Fields, Wrong, names},
};

/// Parts of one schema.
const NODES_MAX: usize = 50_000;
/// Patterns of one schema; the same one counts once.
const PATTERNS_MAX: usize = 128;
/// References and combinations (`allOf` and the like), one within another, that are about one value.
const CHAIN_MAX: usize = 64;
/// About what a node and a rule take.
const NODE_BYTES: usize = 160;

impl Schema {
    /// The schema of this text, or what is wrong with it.
    pub(crate) fn compile(text: &str) -> Result<Self, Box<str>> {
        let root: Value = serde_json::from_str(text).map_err(|error| error.to_string().into_boxed_str())?;
        let draft = Draft::of(&root)?;
        let index = Index::of(&root, draft)?;
        let mut compiler = Compiler {
            index: &index,
            draft,
            nodes: Vec::new(),
            ids: HashMap::new(),
            left: Vec::new(),
            in_place: Vec::new(),
            patterns: Vec::new(),
            by_pattern: HashMap::new(),
        };
        compiler.id_of(&root, 0);
        // Any of these may be where a reference leads to.
        let dynamic =
            index.dynamic().map(|(resource, name, part)| ((resource, name.into()), compiler.id_of(part, resource)));
        let dynamic: HashMap<(u32, Box<str>), Id> = dynamic.collect();
        compiler.all(&root)?;
        compiler.ends()?;
        let Compiler { nodes, patterns, .. } = compiler;
        let bytes = text.len() * 2 + nodes.len() * NODE_BYTES + patterns.len() * PATTERN_BYTES;
        Ok(Self { nodes: nodes.into(), patterns: patterns.into(), dynamic, bytes })
    }
}

struct Compiler<'c, 'v> {
    index: &'c Index<'v>,
    draft: Draft,
    nodes: Vec<Node>,
    ids: HashMap<*const Value, Id>,
    left: Vec<(Id, &'v Value)>,
    /// Which nodes a node asks about the same value.
    in_place: Vec<Vec<Id>>,
    patterns: Vec<Pattern>,
    by_pattern: HashMap<&'v str, u32>,
}

impl<'v> Compiler<'_, 'v> {
    fn id_of(&mut self, part: &'v Value, within: u32) -> Id {
        if let Some(known) = self.ids.get(&std::ptr::from_ref(part)) {
            self.nodes[*known as usize].is_shared = true;
            return *known;
        }
        let id = number(self.nodes.len());
        let resource = self.index.resource_of(part).unwrap_or(within);
        self.nodes.push(Node { resource, ..Node::default() });
        self.in_place.push(Vec::new());
        self.ids.insert(part, id);
        self.left.push((id, part));
        id
    }

    fn all(&mut self, root: &Value) -> Result<(), Box<str>> {
        while let Some((id, part)) = self.left.pop() {
            if NODES_MAX < self.nodes.len() {
                return Err(format!("it has more than {NODES_MAX} parts").into());
            }
            let rules = self.rules(id, part).map_err(|(keyword, why)| {
                let place = if keyword.is_empty() { String::new() } else { format!("/{keyword}") };
                format!("at {}{place}: {why}", place_of(part, root).unwrap_or_default())
            })?;
            self.nodes[id as usize].rules = rules.into();
        }
        Ok(())
    }

    fn rules(&mut self, id: Id, part: &'v Value) -> Result<Vec<Rule>, Wrong> {
        let fields = match part {
            Value::Bool(true) => return Ok(Vec::new()),
            Value::Bool(false) => return Ok(vec![Rule::Never]),
            Value::Object(fields) => fields,
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(("", "a schema must be an object, true or false".to_owned()));
            }
        };
        let fields = Fields::new(fields, self.draft);
        let mut rules = Vec::new();
        for keyword in ["$defs", "definitions"] {
            for value in fields.object(keyword)?.into_iter().flat_map(Map::values) {
                self.part(id, value);
            }
        }
        self.references(id, fields, &mut rules)?;
        if self.draft <= Draft::Seven && !rules.is_empty() {
            // What stands beside a reference says nothing.
            return Ok(rules);
        }
        self.any(fields, &mut rules)?;
        numbers(fields, &mut rules)?;
        self.strings(fields, &mut rules)?;
        self.arrays(id, fields, &mut rules)?;
        self.objects(id, fields, &mut rules)?;
        self.combined(id, fields, &mut rules)?;
        // Behind all that evaluates something.
        for (name, rule) in [
            ("unevaluatedItems", Rule::UnevaluatedItems as fn(Id) -> Rule),
            ("unevaluatedProperties", Rule::UnevaluatedProperties),
        ] {
            if let Some(value) = fields.since(Draft::Year2019, name) {
                rules.push(rule(self.part(id, value)));
            }
        }
        Ok(rules)
    }

    fn part(&mut self, of: Id, value: &'v Value) -> Id {
        self.id_of(value, self.nodes[of as usize].resource)
    }

    /// One that is about the same value.
    fn same(&mut self, of: Id, value: &'v Value) -> Id {
        let part = self.part(of, value);
        self.in_place[of as usize].push(part);
        part
    }

    fn references(&mut self, id: Id, fields: Fields<'v>, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
        let resource = self.nodes[id as usize].resource;
        let keywords: &[&'static str] = match self.draft {
            Draft::Four | Draft::Six | Draft::Seven => &["$ref"],
            Draft::Year2019 => &["$ref", "$recursiveRef"],
            Draft::Year2020 => &["$ref", "$dynamicRef"],
        };
        for keyword in keywords {
            let Some(reference) = fields.text(keyword)? else { continue };
            let target = self.index.target(reference, resource).map_err(|why| (*keyword, why.into()))?;
            let to = self.id_of(target.part, target.resource);
            self.in_place[id as usize].push(to);
            let name = match *keyword {
                "$recursiveRef" => Some(""),
                "$dynamicRef" => reference.split_once('#').map(|(_, name)| name).filter(|name| !name.is_empty()),
                _ => None,
            };
            let is_dynamic = |name: &&str| {
                self.index.dynamic().any(|(_, known, part)| known == *name && std::ptr::eq(part, target.part))
            };
            rules.push(match name.filter(is_dynamic) {
                Some(name) => Rule::DynamicRef { fixed: to, name: name.into() },
                None => Rule::Ref(to),
            });
        }
        Ok(())
    }

    fn any(&self, fields: Fields<'v>, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
        rules.extend(fields.types()?.map(Rule::Type));
        if let Some(value) = fields.get("enum") {
            let all = value.as_array().ok_or_else(|| ("enum", "must be a list".to_owned()))?;
            rules.push(Rule::Enum(all.clone().into()));
        }
        rules.extend(fields.since(Draft::Six, "const").map(|value| Rule::Const(value.clone().into())));
        Ok(())
    }

    fn strings(&mut self, fields: Fields<'v>, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
        rules.extend(fields.range("minLength", "maxLength")?.map(|(min, max)| Rule::Length { min, max }));
        if let Some(pattern) = fields.text("pattern")? {
            rules.push(Rule::Pattern(self.pattern("pattern", pattern)?));
        }
        if let Some(format) = fields.text("format")?.filter(|_| self.draft <= Draft::Seven) {
            rules.extend(Format::named(format).map(Rule::Format));
        }
        Ok(())
    }

    fn pattern(&mut self, keyword: &'static str, text: &'v str) -> Result<u32, Wrong> {
        if let Some(known) = self.by_pattern.get(text) {
            return Ok(*known);
        }
        if PATTERNS_MAX <= self.patterns.len() {
            return Err((keyword, format!("a schema may have at most {PATTERNS_MAX} different patterns")));
        }
        self.patterns.push(Pattern::new(text).map_err(|why| (keyword, why))?);
        let id = number(self.patterns.len() - 1);
        self.by_pattern.insert(text, id);
        Ok(id)
    }

    fn arrays(&mut self, id: Id, fields: Fields<'v>, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
        rules.extend(fields.range("minItems", "maxItems")?.map(|(min, max)| Rule::ItemCount { min, max }));
        if fields.flag("uniqueItems")? {
            rules.push(Rule::UniqueItems);
        }
        let (first, others) = match (self.draft, fields.get("items")) {
            (Draft::Year2020, others) => (fields.list("prefixItems")?.unwrap_or_default(), others),
            (_, Some(Value::Array(first))) => (&**first, fields.get("additionalItems")),
            (_, others) => (&[][..], others),
        };
        let first: Box<[Id]> = first.iter().map(|item| self.part(id, item)).collect();
        let others = others.map(|item| self.part(id, item));
        if !first.is_empty() || others.is_some() {
            rules.push(Rule::Items { first, others });
        }
        if let Some(what) = fields.since(Draft::Six, "contains") {
            let (min, max) = if self.draft < Draft::Year2019 {
                (None, None)
            } else {
                (fields.count("minContains")?, fields.count("maxContains")?)
            };
            let what = self.part(id, what);
            let (min, max) = (min.unwrap_or(1), max.unwrap_or(usize::MAX));
            rules.push(Rule::Contains { what, min, max, is_evaluated: Draft::Year2019 <= self.draft });
        }
        Ok(())
    }

    fn objects(&mut self, id: Id, fields: Fields<'v>, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
        rules
            .extend(fields.range("minProperties", "maxProperties")?.map(|(min, max)| Rule::PropertyCount { min, max }));
        if let Some(required) = fields.get("required") {
            rules.push(Rule::Required(names("required", required)?));
        }
        let mut properties = Properties::default();
        for (name, value) in fields.object("properties")?.into_iter().flatten() {
            properties.named.insert(name.as_str().into(), self.part(id, value));
        }
        let mut like = Vec::new();
        for (pattern, value) in fields.object("patternProperties")?.into_iter().flatten() {
            like.push((self.pattern("patternProperties", pattern)?, self.part(id, value)));
        }
        properties.like = like.into();
        properties.others = fields.get("additionalProperties").map(|value| self.part(id, value));
        if !properties.named.is_empty() || !properties.like.is_empty() || properties.others.is_some() {
            rules.push(Rule::Properties(Box::new(properties)));
        }
        if let Some(names) = fields.since(Draft::Six, "propertyNames") {
            rules.push(Rule::PropertyNames(self.part(id, names)));
        }
        self.dependencies(id, fields, rules)
    }

    fn dependencies(&mut self, id: Id, fields: Fields<'v>, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
        let (mut required, mut schemas) = (BTreeMap::new(), BTreeMap::new());
        for keyword in ["dependentRequired", "dependentSchemas", "dependencies"] {
            if self.draft <= Draft::Seven && keyword != "dependencies" {
                continue;
            }
            for (name, value) in fields.object(keyword)?.into_iter().flatten() {
                let name: Box<str> = name.as_str().into();
                match (keyword, value) {
                    ("dependentRequired", value) | ("dependencies", value @ Value::Array(_)) => {
                        required.insert(name, names(keyword, value)?);
                    }
                    (_, value) => {
                        schemas.insert(name, self.same(id, value));
                    }
                }
            }
        }
        rules.extend((!required.is_empty()).then_some(Rule::DependentRequired(required)));
        rules.extend((!schemas.is_empty()).then_some(Rule::DependentSchemas(schemas)));
        Ok(())
    }

    fn combined(&mut self, id: Id, fields: Fields<'v>, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
        for (keyword, rule) in
            [("allOf", Rule::AllOf as fn(Box<[Id]>) -> Rule), ("anyOf", Rule::AnyOf), ("oneOf", Rule::OneOf)]
        {
            if let Some(parts) = fields.list(keyword)? {
                rules.push(rule(parts.iter().map(|part| self.same(id, part)).collect()));
            }
        }
        if let Some(not) = fields.get("not") {
            rules.push(Rule::Not(self.same(id, not)));
        }
        if let Some(test) = fields.since(Draft::Seven, "if") {
            let test = self.same(id, test);
            let then = fields.get("then").map(|then| self.same(id, then));
            let otherwise = fields.get("else").map(|otherwise| self.same(id, otherwise));
            rules.push(Rule::If { test, then, otherwise });
        }
        Ok(())
    }

    /// Whether all that is asked about one value has an end, and comes to it soon: a check goes there on the stack.
    fn ends(&self) -> Result<(), Box<str>> {
        let mut asked_by = vec![0_usize; self.nodes.len()];
        for to in self.in_place.iter().flatten() {
            asked_by[*to as usize] += 1;
        }
        let mut chain = vec![1_usize; self.nodes.len()];
        let free = |(id, count): (usize, &usize)| (*count == 0).then_some(id);
        let mut left: Vec<usize> = asked_by.iter().enumerate().filter_map(free).collect();
        let mut seen = 0;
        while let Some(id) = left.pop() {
            seen += 1;
            if CHAIN_MAX < chain[id] {
                return Err(
                    "it refers too far on: references and combinations about one value are nested too deep".into()
                );
            }
            for to in self.in_place[id].iter().map(|to| *to as usize) {
                chain[to] = chain[to].max(chain[id] + 1);
                asked_by[to] -= 1;
                if asked_by[to] == 0 {
                    left.push(to);
                }
            }
        }
        if seen == self.nodes.len() {
            Ok(())
        } else {
            Err("a reference leads back to itself for the same value".into())
        }
    }
}

fn numbers(fields: Fields<'_>, rules: &mut Vec<Rule>) -> Result<(), Wrong> {
    let is_old = fields.draft == Draft::Four;
    let open = |keyword| if is_old { fields.flag(keyword) } else { Ok(false) };
    if let Some(most) = fields.number("maximum")? {
        rules.push(Rule::Maximum { most: most.clone(), is_open: open("exclusiveMaximum")? });
    }
    if let Some(least) = fields.number("minimum")? {
        rules.push(Rule::Minimum { least: least.clone(), is_open: open("exclusiveMinimum")? });
    }
    if !is_old {
        let most = fields.number("exclusiveMaximum")?;
        rules.extend(most.map(|most| Rule::Maximum { most: most.clone(), is_open: true }));
        let least = fields.number("exclusiveMinimum")?;
        rules.extend(least.map(|least| Rule::Minimum { least: least.clone(), is_open: true }));
    }
    if let Some(of) = fields.number("multipleOf")? {
        if of.as_f64().is_none_or(|of| of <= 0.0) {
            return Err(("multipleOf", "must be more than 0".to_owned()));
        }
        rules.push(Rule::MultipleOf(of.clone()));
    }
    Ok(())
}

/// Where a part stands, as a JSON pointer: looked for only when something is wrong with it.
fn place_of(part: &Value, within: &Value) -> Option<String> {
    if std::ptr::eq(part, within) {
        return Some(String::new());
    }
    let inner = |key: &str, value: &Value| {
        let key = key.replace('~', "~0").replace('/', "~1");
        Some(format!("/{key}{}", place_of(part, value)?))
    };
    match within {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| inner(name, value)),
        Value::Array(parts) => parts.iter().enumerate().find_map(|(place, value)| inner(&place.to_string(), value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
