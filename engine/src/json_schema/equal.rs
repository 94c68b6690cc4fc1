//! When two JSON values are the same: numbers by what they say, objects in whatever order.

use std::{
    cmp::Ordering,
    hash::{BuildHasher, Hash, Hasher},
};

use serde_json::{Number, Value};

/// Which of two numbers is less. Whole ones are compared to the last digit.
pub(super) fn order(a: &Number, b: &Number) -> Ordering {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => float(a).partial_cmp(&float(b)).unwrap_or(Ordering::Equal),
    }
}

pub(super) fn is_multiple(number: &Number, of: &Number) -> bool {
    if let (Some(number), Some(of)) = (whole(number), whole(of).filter(|of| *of != 0)) {
        return number % of == 0;
    }
    let (number, of) = (float(number), float(of));
    let times = number / of;
    // 19.99 is a multiple of 0.01 to all but the machine.
    number % of == 0.0 || times.is_finite() && (times - times.round()).abs() <= 1e-9_f64.max(times.abs() * f64::EPSILON)
}

pub(super) fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => order(a, b) == Ordering::Equal,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Whether all are different: as much work as there are values in them.
pub(super) fn are_unique(items: &[Value]) -> bool {
    let state = std::hash::RandomState::new();
    let mut seen = std::collections::HashMap::<u64, Vec<&Value>>::new();
    items.iter().all(|item| {
        let mut hasher = state.build_hasher();
        hash(item, &mut hasher);
        let like = seen.entry(hasher.finish()).or_default();
        let is_new = !like.iter().any(|known| is_same(known, item));
        like.push(item);
        is_new
    })
}

/// What looking at a text takes.
pub(super) fn size_of_text(text: &str) -> u64 {
    1 + text.len() as u64 / 16
}

/// Values and bytes of text within this one, and itself.
pub(super) fn size(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => size_of_text(text),
        Value::Array(items) => 1 + items.iter().map(size).sum::<u64>(),
        Value::Object(fields) => 1 + fields.iter().map(|(name, field)| size_of_text(name) + size(field)).sum::<u64>(),
    }
}

fn hash(value: &Value, hasher: &mut impl Hasher) {
    match value {
        Value::Null => 0_u8.hash(hasher),
        Value::Bool(flag) => (1_u8, flag).hash(hasher),
        Value::Number(number) => match whole(number) {
            Some(whole) => (2_u8, whole).hash(hasher),
            None => (6_u8, float(number).to_bits()).hash(hasher),
        },
        Value::String(text) => (3_u8, text).hash(hasher),
        Value::Array(items) => {
            (4_u8, items.len()).hash(hasher);
            items.iter().for_each(|item| hash(item, hasher));
        }
        Value::Object(fields) => {
            // In the order of their names: maps are sorted.
            (5_u8, fields.len()).hash(hasher);
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            for (name, field) in sorted {
                name.hash(hasher);
                hash(field, hasher);
            }
        }
    }
}

fn whole(number: &Number) -> Option<i128> {
    if let Some(whole) = number.as_i64() {
        return Some(whole.into());
    }
    if let Some(whole) = number.as_u64() {
        return Some(whole.into());
    }
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e30)?;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
    Some(float as i128)
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_compared_by_what_they_say() {
        assert!(is_same(&json!([1, { "a": 2.0, "b": null }]), &json!([1.0, { "b": null, "a": 2 }])));
        assert!(!is_same(&json!(u64::MAX), &json!(u64::MAX - 1)));
        assert!(!is_same(&json!(true), &json!(1)));
        assert!(are_unique(&[json!(1), json!("1"), json!([1]), json!(0.5)]));
        assert!(!are_unique(&[json!({ "a": [1] }), json!(3), json!({ "a": [1.0] })]));
        for (number, of, expected) in [
            ("19.99", "0.01", true),
            ("0.0075", "0.0001", true),
            ("0.00751", "0.0001", false),
            ("7", "2", false),
            ("1e308", "0.5", true),
        ] {
            let read = |text: &str| serde_json::from_str::<Number>(text).expect("a number");
            assert_eq!(is_multiple(&read(number), &read(of)), expected, "{number} of {of}");
        }
    }
}
