//! Holds a value against a schema, within a number of steps.

use std::{cmp::Ordering, collections::HashMap};

use serde_json::{Map, Value};

use super::{Id, Properties, Rule, Schema, equal};

/// Faults that are listed.
const FAULTS_MAX: usize = 16;
/// Schemas, one within another, that a check is in at once: its stack.
const DEPTH_MAX: u32 = 768;
/// What is known of shared parts and values; more are checked again.
const KNOWN_MAX: usize = 200_000;
/// Names that are said of properties that may not be there.
const NAMES_SAID: usize = 3;
const NAME_CHARS_SAID: usize = 64;

/// Where a value does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// A JSON pointer.
    pub(crate) path: String,
    /// It names no value.
    pub(crate) message: String,
}

/// What a check found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// Nothing, or these.
    Whole(Vec<Fault>),
    /// It took more steps, or went deeper, than it may.
    TooMuch,
}

/// Why a check ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    TooMuch,
    /// There are faults enough.
    Enough,
}

/// Where a value is, from the inside out.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Root,
    Field(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl Schema {
    /// Where `value` does not match, found in at most `steps` steps. Says how many it took.
    pub(crate) fn check(&self, value: &Value, steps: u64) -> (Checked, u64) {
        let mut run = Run::new(self, steps);
        let checked = match run.holds(0, value, &At::Root) {
            Ok(_) | Err(Stop::Enough) => Checked::Whole(run.faults),
            Err(Stop::TooMuch) => Checked::TooMuch,
        };
        (checked, steps - run.steps)
    }
}

pub(super) struct Run<'s> {
    pub(super) schema: &'s Schema,
    /// That are left.
    steps: u64,
    depth: u32,
    /// Where `$dynamicRef` looks, from the outside in.
    scope: Vec<u32>,
    /// What was found of a value, where several references lead to one node.
    known: HashMap<(Id, *const Value), bool>,
    /// Values that are not part of the payload have no place of their own in memory.
    forgets: bool,
    /// It only matters whether it holds.
    is_trial: bool,
    faults: Vec<Fault>,
}

impl<'s> Run<'s> {
    fn new(schema: &'s Schema, steps: u64) -> Self {
        Self {
            schema,
            steps,
            depth: 0,
            scope: Vec::new(),
            known: HashMap::new(),
            forgets: !schema.dynamic.is_empty(),
            is_trial: false,
            faults: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, steps: u64) -> Result<(), Stop> {
        self.steps = self.steps.checked_sub(steps).ok_or(Stop::TooMuch)?;
        Ok(())
    }

    /// Whether the value is what this node asks for; what it is not is noted.
    fn holds(&mut self, id: Id, value: &Value, at: &At<'_>) -> Result<bool, Stop> {
        let node = &self.schema.nodes[id as usize];
        self.take(1 + node.rules.len() as u64)?;
        let key = (node.is_shared && !self.forgets).then_some((id, std::ptr::from_ref(value)));
        match key.and_then(|key| self.known.get(&key)) {
            Some(true) => return Ok(true),
            // Why was noted before.
            Some(false) if self.is_trial => return Ok(false),
            Some(false) | None => {}
        }
        self.depth += 1;
        if DEPTH_MAX < self.depth {
            return Err(Stop::TooMuch);
        }
        let enters = self.scope.last() != Some(&node.resource);
        if enters {
            self.scope.push(node.resource);
        }
        let mut holds = true;
        for rule in &node.rules {
            holds &= self.rule(id, rule, value, at)?;
            if !holds && self.is_trial {
                break;
            }
        }
        if enters {
            self.scope.pop();
        }
        self.depth -= 1;
        if let Some(key) = key.filter(|_| self.known.len() < KNOWN_MAX) {
            self.known.insert(key, holds);
        }
        Ok(holds)
    }

    /// Whether it holds, and nothing else.
    pub(super) fn trial(&mut self, id: Id, value: &Value) -> Result<bool, Stop> {
        let was = std::mem::replace(&mut self.is_trial, true);
        let holds = self.holds(id, value, &At::Root);
        self.is_trial = was;
        holds
    }

    /// Where a dynamic reference leads to from here: to the outermost that has this name.
    pub(super) fn dynamic(&self, fixed: Id, name: &str) -> Id {
        let found = self.scope.iter().find_map(|resource| {
            // By a borrowed name there is no look-up in a map of pairs; there are few.
            self.schema.dynamic.iter().find(|((of, known), _)| of == resource && **known == *name)
        });
        found.map_or(fixed, |(_, id)| *id)
    }

    fn rule(&mut self, id: Id, rule: &'s Rule, value: &Value, at: &At<'_>) -> Result<bool, Stop> {
        match (rule, value) {
            (Rule::Never, _) => self.fault(at, || "is not allowed".to_owned()),
            (Rule::Ref(to), value) => self.holds(*to, value, at),
            (Rule::DynamicRef { fixed, name }, value) => {
                // Each resource that is asked is looked for among all of them.
                self.take((self.schema.dynamic.len() * (1 + self.scope.len())) as u64)?;
                self.holds(self.dynamic(*fixed, name), value, at)
            }
            (Rule::Type(types), value) => {
                self.must(types.has(value), at, || format!("is not of type {}", types.names()))
            }
            (Rule::Enum(all), value) => {
                let (count, size) = (all.len() as u64, equal::size(value));
                self.take(match value {
                    // All of them may begin alike.
                    Value::Array(_) | Value::Object(_) => count.saturating_mul(size),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => count + size,
                })?;
                let is_one = all.iter().any(|one| equal::is_same(one, value));
                self.must(is_one, at, || "is none of the values that are allowed".to_owned())
            }
            (Rule::Const(one), value) => {
                self.take(equal::size(value))?;
                self.must(equal::is_same(one, value), at, || "is not the value that is asked for".to_owned())
            }
            (Rule::Maximum { most, is_open }, Value::Number(number)) => {
                let is_within = match equal::order(number, most) {
                    Ordering::Less => true,
                    Ordering::Equal => !is_open,
                    Ordering::Greater => false,
                };
                self.must(is_within, at, || {
                    format!("must be {} {most}", if *is_open { "less than" } else { "at most" })
                })
            }
            (Rule::Minimum { least, is_open }, Value::Number(number)) => {
                let is_within = match equal::order(number, least) {
                    Ordering::Less => false,
                    Ordering::Equal => !is_open,
                    Ordering::Greater => true,
                };
                self.must(is_within, at, || {
                    format!("must be {} {least}", if *is_open { "more than" } else { "at least" })
                })
            }
            (Rule::MultipleOf(of), Value::Number(number)) => {
                self.must(equal::is_multiple(number, of), at, || format!("must be a multiple of {of}"))
            }
            (rule, Value::String(text)) => match self.string(rule, text, at)? {
                Some(holds) => Ok(holds),
                None => self.combined(id, rule, value, at),
            },
            (rule, Value::Array(items)) => match self.array(rule, items, at)? {
                Some(holds) => Ok(holds),
                None => self.combined(id, rule, value, at),
            },
            (rule, Value::Object(fields)) => match self.object(rule, fields, value, at)? {
                Some(holds) => Ok(holds),
                None => self.combined(id, rule, value, at),
            },
            (rule, value) => self.combined(id, rule, value, at),
        }
    }

    fn string(&mut self, rule: &'s Rule, text: &str, at: &At<'_>) -> Result<Option<bool>, Stop> {
        Ok(Some(match rule {
            Rule::Length { min, max } => {
                self.take(text.len() as u64 / 16)?;
                let length = text.chars().count();
                self.must((*min..=*max).contains(&length), at, || within("characters", *min, *max))?
            }
            Rule::Pattern(pattern) => {
                let is_in = self.is_like(*pattern, text)?;
                self.must(is_in, at, || "does not match the pattern that is asked for".to_owned())?
            }
            Rule::Format(format) => {
                self.take(text.len() as u64 / 16)?;
                self.must(format.is_of(text), at, || format!("is not of format {}", format.name()))?
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn is_like(&mut self, pattern: u32, text: &str) -> Result<bool, Stop> {
        let pattern = &self.schema.patterns[pattern as usize];
        self.take(pattern.steps(text))?;
        pattern.is_in(text).ok_or(Stop::TooMuch)
    }

    fn array(&mut self, rule: &'s Rule, items: &[Value], at: &At<'_>) -> Result<Option<bool>, Stop> {
        Ok(Some(match rule {
            Rule::ItemCount { min, max } => {
                self.must((*min..=*max).contains(&items.len()), at, || within("items", *min, *max))?
            }
            Rule::UniqueItems => {
                self.take(items.iter().map(equal::size).sum())?;
                self.must(equal::are_unique(items), at, || "holds an item twice".to_owned())?
            }
            Rule::Items { first, others } => {
                let mut holds = true;
                for (place, item) in items.iter().enumerate() {
                    let Some(id) = first.get(place).or(others.as_ref()) else { break };
                    holds &= self.holds(*id, item, &At::Item(at, place))?;
                    if !holds && self.is_trial {
                        break;
                    }
                }
                holds
            }
            Rule::Contains { what, min, max, .. } => {
                let mut found = 0;
                for item in items {
                    found += usize::from(self.trial(*what, item)?);
                }
                self.must((*min..=*max).contains(&found), at, || {
                    within("items of the kind that is asked for", *min, *max)
                })?
            }
            _ => return Ok(None),
        }))
    }

    fn object(
        &mut self,
        rule: &'s Rule,
        fields: &Map<String, Value>,
        value: &Value,
        at: &At<'_>,
    ) -> Result<Option<bool>, Stop> {
        Ok(Some(match rule {
            Rule::PropertyCount { min, max } => {
                self.must((*min..=*max).contains(&fields.len()), at, || within("properties", *min, *max))?
            }
            Rule::Required(names) => self.required(names, fields, at)?,
            Rule::Properties(properties) => self.properties(properties, fields, at)?,
            Rule::PropertyNames(id) => {
                let was = std::mem::replace(&mut self.forgets, true);
                let mut wrong = Vec::new();
                for name in fields.keys() {
                    self.take(equal::size_of_text(name))?;
                    if !self.trial(*id, &Value::from(name.as_str()))? {
                        wrong.push(name.as_str());
                    }
                }
                self.forgets = was;
                self.must(wrong.is_empty(), at, || {
                    format!("has properties whose names are not allowed: {}", said(&wrong))
                })?
            }
            Rule::DependentRequired(all) => {
                self.take(all.len() as u64)?;
                let mut holds = true;
                for (_, names) in all.iter().filter(|(name, _)| fields.contains_key(&***name)) {
                    holds &= self.required(names, fields, at)?;
                }
                holds
            }
            Rule::DependentSchemas(all) => {
                self.take(all.len() as u64)?;
                let mut holds = true;
                for (_, id) in all.iter().filter(|(name, _)| fields.contains_key(&***name)) {
                    holds &= self.holds(*id, value, at)?;
                }
                holds
            }
            _ => return Ok(None),
        }))
    }

    fn required(&mut self, names: &[Box<str>], fields: &Map<String, Value>, at: &At<'_>) -> Result<bool, Stop> {
        self.take(names.len() as u64)?;
        let missing: Vec<&str> = names.iter().map(|name| &**name).filter(|name| !fields.contains_key(*name)).collect();
        self.must(missing.is_empty(), at, || format!("lacks a property that is required: {}", said(&missing)))
    }

    fn properties(&mut self, rule: &'s Properties, fields: &Map<String, Value>, at: &At<'_>) -> Result<bool, Stop> {
        let (mut holds, mut unknown) = (true, Vec::new());
        for (name, value) in fields {
            // Also where nothing is asked of it.
            self.take(equal::size_of_text(name))?;
            let (inner, mut is_known) = (At::Field(at, name), false);
            if let Some(id) = rule.named.get(name.as_str()) {
                is_known = true;
                holds &= self.holds(*id, value, &inner)?;
            }
            for (pattern, id) in &rule.like {
                if self.is_like(*pattern, name)? {
                    is_known = true;
                    holds &= self.holds(*id, value, &inner)?;
                }
            }
            if let (Some(id), false) = (rule.others, is_known) {
                if self.is_never(id) {
                    unknown.push(name.as_str());
                } else {
                    holds &= self.holds(id, value, &inner)?;
                }
            }
            if !holds && self.is_trial {
                return Ok(false);
            }
        }
        let allowed =
            self.must(unknown.is_empty(), at, || format!("has properties that are not allowed: {}", said(&unknown)))?;
        Ok(holds && allowed)
    }

    fn is_never(&self, id: Id) -> bool {
        matches!(*self.schema.nodes[id as usize].rules, [Rule::Never])
    }

    /// What is asked of values of every kind, by other schemas.
    fn combined(&mut self, id: Id, rule: &'s Rule, value: &Value, at: &At<'_>) -> Result<bool, Stop> {
        match rule {
            Rule::AllOf(parts) => {
                let mut holds = true;
                for part in parts {
                    holds &= self.holds(*part, value, at)?;
                    if !holds && self.is_trial {
                        break;
                    }
                }
                Ok(holds)
            }
            Rule::AnyOf(parts) => {
                for part in parts {
                    if self.trial(*part, value)? {
                        return Ok(true);
                    }
                }
                self.fault(at, || "matches none of the schemas that are allowed".to_owned())
            }
            Rule::OneOf(parts) => {
                let mut matching = 0;
                for part in parts {
                    matching += usize::from(self.trial(*part, value)?);
                }
                self.must(matching == 1, at, || format!("must match one of the schemas, and matches {matching}"))
            }
            Rule::Not(not) => {
                let is_wrong = self.trial(*not, value)?;
                self.must(!is_wrong, at, || "matches what is not allowed".to_owned())
            }
            Rule::If { test, then, otherwise } => match if self.trial(*test, value)? { then } else { otherwise } {
                Some(id) => self.holds(*id, value, at),
                None => Ok(true),
            },
            Rule::UnevaluatedItems(what) => match value {
                Value::Array(items) => {
                    self.take(items.len() as u64)?;
                    let evaluated = self.evaluated_items(id, value, items.len())?;
                    let mut holds = true;
                    for (place, item) in items.iter().enumerate().filter(|(place, _)| !evaluated[*place]) {
                        holds &= self.holds(*what, item, &At::Item(at, place))?;
                    }
                    Ok(holds)
                }
                _ => Ok(true),
            },
            Rule::UnevaluatedProperties(what) => match value {
                Value::Object(fields) => {
                    self.take(fields.keys().map(|name| equal::size_of_text(name)).sum())?;
                    let evaluated = self.evaluated_properties(id, value)?;
                    let mut holds = true;
                    for (name, field) in fields.iter().filter(|(name, _)| !evaluated.contains(&***name)) {
                        holds &= self.holds(*what, field, &At::Field(at, name))?;
                    }
                    Ok(holds)
                }
                _ => Ok(true),
            },
            // It asks something of values of another kind.
            _ => Ok(true),
        }
    }

    fn must(&mut self, holds: bool, at: &At<'_>, why: impl FnOnce() -> String) -> Result<bool, Stop> {
        if holds { Ok(true) } else { self.fault(at, why) }
    }

    fn fault(&mut self, at: &At<'_>, why: impl FnOnce() -> String) -> Result<bool, Stop> {
        if !self.is_trial {
            let fault = Fault { path: at.pointer(), message: why() };
            // Several references to one part say the same of it.
            if !self.faults.contains(&fault) {
                self.faults.push(fault);
            }
            if FAULTS_MAX <= self.faults.len() {
                return Err(Stop::Enough);
            }
        }
        Ok(false)
    }
}

impl At<'_> {
    fn pointer(&self) -> String {
        match self {
            At::Root => String::new(),
            At::Field(outer, name) => {
                format!("{}/{}", outer.pointer(), name.replace('~', "~0").replace('/', "~1"))
            }
            At::Item(outer, place) => format!("{}/{place}", outer.pointer()),
        }
    }
}

fn within(what: &str, min: usize, max: usize) -> String {
    match (min, max) {
        (min, usize::MAX) => format!("must have at least {min} {what}"),
        (0, max) => format!("must have at most {max} {what}"),
        (min, max) => format!("must have {min} to {max} {what}"),
    }
}

fn said(names: &[&str]) -> String {
    let short = |name: &&str| name.chars().take(NAME_CHARS_SAID).collect::<String>();
    let first = names.iter().take(NAMES_SAID).map(short).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SAID) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
