//! Which properties and items something has looked at: those that `unevaluated…` asks nothing of.

use std::collections::HashSet;

use serde_json::Value;

use super::{
    Id, Rule,
    check::{Run, Stop},
};

impl Run<'_> {
    /// By name, those that this node and what it refers to evaluate. Only of a value that holds there does it matter.
    pub(super) fn evaluated_properties<'v>(&mut self, id: Id, value: &'v Value) -> Result<HashSet<&'v str>, Stop> {
        let mut all = HashSet::new();
        self.add_properties(id, value, &mut all, true)?;
        Ok(all)
    }

    fn add_properties<'v>(
        &mut self,
        id: Id,
        value: &'v Value,
        all: &mut HashSet<&'v str>,
        is_first: bool,
    ) -> Result<(), Stop> {
        let Value::Object(fields) = value else { return Ok(()) };
        let rules = &self.schema.nodes[id as usize].rules;
        self.take(1 + rules.len() as u64)?;
        for rule in rules {
            match rule {
                Rule::Properties(properties) => {
                    for name in fields.keys() {
                        self.take(1)?;
                        let mut is_known = properties.named.contains_key(name.as_str()) || properties.others.is_some();
                        for (pattern, _) in &properties.like {
                            is_known = is_known || self.is_like(*pattern, name)?;
                        }
                        if is_known {
                            all.insert(name);
                        }
                    }
                }
                Rule::UnevaluatedProperties(_) if !is_first => {
                    self.take(fields.len() as u64)?;
                    all.extend(fields.keys().map(String::as_str));
                }
                Rule::DependentSchemas(schemas) => {
                    for (_, id) in schemas.iter().filter(|(name, _)| fields.contains_key(&***name)) {
                        self.add_properties(*id, value, all, false)?;
                    }
                }
                rule => {
                    for id in self.applied(rule, value)? {
                        self.add_properties(id, value, all, false)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// By place.
    pub(super) fn evaluated_items(&mut self, id: Id, value: &Value, count: usize) -> Result<Vec<bool>, Stop> {
        let mut all = vec![false; count];
        self.add_items(id, value, &mut all, true)?;
        Ok(all)
    }

    fn add_items(&mut self, id: Id, value: &Value, all: &mut [bool], is_first: bool) -> Result<(), Stop> {
        let Value::Array(items) = value else { return Ok(()) };
        let rules = &self.schema.nodes[id as usize].rules;
        self.take(1 + rules.len() as u64)?;
        for rule in rules {
            match rule {
                Rule::Items { first, others } => {
                    self.take(all.len() as u64 / 16)?;
                    let until = if others.is_some() { all.len() } else { first.len().min(all.len()) };
                    all[..until].fill(true);
                }
                Rule::Contains { what, is_evaluated: true, .. } => {
                    for (item, is_evaluated) in items.iter().zip(&mut *all) {
                        *is_evaluated = *is_evaluated || self.trial(*what, item)?;
                    }
                }
                Rule::UnevaluatedItems(_) if !is_first => {
                    self.take(all.len() as u64 / 16)?;
                    all.fill(true);
                }
                rule => {
                    for id in self.applied(rule, value)? {
                        self.add_items(id, value, all, false)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Schemas that a rule applies to this very value, with success.
    fn applied(&mut self, rule: &Rule, value: &Value) -> Result<Vec<Id>, Stop> {
        match rule {
            Rule::Ref(to) => Ok(vec![*to]),
            Rule::DynamicRef { fixed, name } => Ok(vec![self.dynamic(*fixed, name)]),
            Rule::AllOf(parts) => Ok(parts.to_vec()),
            Rule::AnyOf(parts) | Rule::OneOf(parts) => {
                let mut applied = Vec::new();
                for part in parts {
                    if self.trial(*part, value)? {
                        applied.push(*part);
                    }
                }
                Ok(applied)
            }
            Rule::If { test, then, otherwise } => {
                let holds = self.trial(*test, value)?;
                let next = if holds { then } else { otherwise };
                Ok(holds.then_some(*test).into_iter().chain(*next).collect())
            }
            _ => Ok(Vec::new()),
        }
    }
}
