use postrider_core::SplitMix;
use serde_json::{Map, Value, json};

use super::{Checked, Schema};

fn compiled(schema: &Value) -> Schema {
    Schema::compile(&schema.to_string()).unwrap_or_else(|why| panic!("{why}: {schema}"))
}

fn is_valid(schema: &Value, value: &Value) -> bool {
    let (checked, _) = compiled(schema).check(value, 1_000_000);
    assert_ne!(checked, Checked::TooMuch, "{schema} for {value}");
    checked == Checked::Whole(Vec::new())
}

fn why_not(schema: &Value) -> Box<str> {
    Schema::compile(&schema.to_string()).expect_err("it is refused")
}

/// Definitions, each of which refers to the next one as often as `times` says.
fn chain(links: usize, link: impl Fn(Value) -> Value) -> Value {
    let of = |n: usize| (n.to_string(), link(json!({ "$ref": format!("#/$defs/{}", n + 1) })));
    let mut defs: Map<_, _> = (0..links).map(of).collect();
    defs.insert(links.to_string(), json!({ "type": "integer" }));
    json!({ "$defs": defs, "$ref": "#/$defs/0" })
}

/// A schema with many parts that ask nothing of most fields, and a payload with many fields: all parts looked at all fields, and
/// a check of a few hundred thousand steps took minutes.
#[test]
fn what_is_looked_at_takes_steps_whether_anything_is_asked_of_it_or_not() {
    let fields: Map<_, _> = (0..1_000).map(|n| (format!("f{n}"), json!(n))).collect();
    let zeros = vec![0; 1_000];
    let alike: Vec<_> = (0..1_000).map(|n| json!([zeros, n])).collect();
    let long: Map<_, _> = std::iter::once(("n".repeat(16_000), json!(1))).collect();
    let many = |part: Value| json!({ "allOf": vec![part; 1_000] });
    for (schema, payload) in [
        (many(json!({ "properties": { "x": true } })), json!(fields)),
        (many(json!({ "patternProperties": {}, "properties": { "x": { "type": "string" } } })), json!(fields)),
        (many(json!({ "propertyNames": true })), json!(long)),
        (many(json!({ "uniqueItems": true })), json!([long])),
        (json!({ "enum": alike }), json!([zeros, -1])),
    ] {
        let (checked, steps) = compiled(&schema).check(&payload, 250_000);
        assert_eq!(checked, Checked::TooMuch, "{steps} steps: {}", &schema.to_string()[..60]);
    }
}

/// 1.4 KB whose references double twenty times took five gigabytes at the first message, and kept them.
#[test]
fn references_that_multiply_take_neither_memory_nor_steps() {
    let schema = compiled(&chain(20, |next| json!({ "allOf": [next, next] })));
    assert!(schema.nodes.len() < 100, "{}", schema.nodes.len());
    let (checked, steps) = schema.check(&json!(7), 1_000);
    assert_eq!(checked, Checked::Whole(Vec::new()), "in {steps} steps");
    // The same, but a level of the payload lies between the levels of the schema.
    let again = json!({ "properties": { "a": { "$ref": "#" } } });
    let schema = compiled(&json!({ "allOf": [again, again, again] }));
    let deep = (0..60).fold(json!(1), |inner, _| json!({ "a": inner }));
    let (checked, steps) = schema.check(&deep, 10_000);
    assert_eq!(checked, Checked::Whole(Vec::new()), "in {steps} steps");
}

#[test]
fn a_check_ends_when_its_steps_are_used_up() {
    let any: Vec<_> = (0..1_000).map(|n| json!({ "const": n })).collect();
    let schema = compiled(&json!({ "items": { "anyOf": any } }));
    let many = Value::from(vec![999; 10_000]);
    assert_eq!(schema.check(&many, 100_000).0, Checked::TooMuch);
    for costly in [
        json!({ "uniqueItems": true }),
        json!({ "enum": [[1]] }),
        json!({ "items": { "minLength": 1 } }),
        json!({ "contains": { "type": "string" } }),
        json!({ "unevaluatedItems": { "type": "integer" } }),
    ] {
        assert_eq!(compiled(&costly).check(&many, 5_000).0, Checked::TooMuch, "{costly}");
    }
    let looking = compiled(&json!({ "items": { "pattern": r"^(?=a)(a|a|a\1)+$" } }));
    let texts = Value::from(vec![format!("{}!", "a".repeat(60)); 100]);
    assert_eq!(looking.check(&texts, 1_000_000).0, Checked::TooMuch);
}

/// A chain of references overflowed the stack, and the process was gone.
#[test]
fn no_schema_and_no_payload_overflows_the_stack_of_a_thread() {
    let checked = std::thread::Builder::new().stack_size(2 << 20).spawn(|| {
        // As deep as a payload may be, with as much as there may be between two levels.
        let level = (0..20).fold(json!({ "$ref": "#" }), |inner, _| json!({ "not": { "not": inner } }));
        let schema = compiled(&json!({ "properties": { "a": level }, "unevaluatedProperties": false }));
        let deep = (0..126).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert_eq!(schema.check(&deep, 1_000_000).0, Checked::TooMuch);
        let flat = compiled(&chain(20_000, |next| json!({ "properties": { "a": next } })));
        assert_eq!(flat.check(&deep, 1_000_000).0, Checked::Whole(Vec::new()));
    });
    checked.expect("a thread").join().expect("it has stack enough");
    assert!(why_not(&chain(200, |next| json!({ "not": next }))).contains("too far on"));
    assert!(why_not(&json!({ "$ref": "#" })).contains("leads back"));
    assert!(why_not(&json!({ "allOf": [{ "anyOf": [{ "$ref": "#/allOf/0" }] }] })).contains("leads back"));
    assert!(why_not(&chain(60_000, |next| json!({ "properties": { "a": next } }))).contains("parts"));
    let patterns: Map<_, _> = (0..130).map(|n| (format!("^{n}"), json!({}))).collect();
    assert!(why_not(&json!({ "patternProperties": patterns })).contains("patterns"));
}

#[test]
fn what_is_wrong_with_a_schema_is_said_with_its_place() {
    for (schema, words) in [
        (json!({ "properties": { "a/b": { "type": "objekt" } } }), "at /properties/a~1b/type:"),
        (json!({ "minLength": -1 }), "at /minLength:"),
        (json!({ "required": "a" }), "at /required:"),
        (json!({ "allOf": [] }), "at /allOf:"),
        (json!({ "$defs": { "a": { "pattern": "(" } } }), "at /$defs/a/pattern:"),
        (json!({ "items": 5 }), "at /items:"),
        (json!({ "$ref": "https://example.com/schema.json" }), "https://example.com/schema.json"),
        (json!({ "$ref": "#/nowhere" }), "leads nowhere"),
        (json!({ "$schema": "https://example.com/dialect" }), "at /$schema:"),
    ] {
        let why = why_not(&schema);
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn references_lead_by_id_anchor_and_place_and_dynamic_ones_to_the_outermost() {
    let by_id = json!({
        "$id": "https://example.com/root", "$ref": "item#whole",
        "$defs": { "a": { "$id": "item", "$defs": { "b": { "$anchor": "whole", "type": "integer" } } } },
    });
    assert!(is_valid(&by_id, &json!(1)) && !is_valid(&by_id, &json!("1")));
    let tree = json!({
        "$id": "https://example.com/strict", "$dynamicAnchor": "node", "$ref": "tree", "unevaluatedProperties": false,
        "$defs": { "tree": {
            "$id": "tree", "$dynamicAnchor": "node",
            "properties": { "data": true, "children": { "items": { "$dynamicRef": "#node" } } },
        } },
    });
    assert!(is_valid(&tree, &json!({ "children": [{ "data": 1 }] })));
    assert!(!is_valid(&tree, &json!({ "children": [{ "daat": 1 }] })));
    let recursive = json!({
        "$schema": "https://json-schema.org/draft/2019-09/schema", "$id": "https://example.com/strict",
        "$recursiveAnchor": true, "$ref": "tree", "unevaluatedProperties": false,
        "$defs": { "tree": {
            "$id": "tree", "$recursiveAnchor": true,
            "properties": { "data": true, "children": { "items": { "$recursiveRef": "#" } } },
        } },
    });
    assert!(is_valid(&recursive, &json!({ "children": [{ "data": 1 }] })));
    assert!(!is_valid(&recursive, &json!({ "children": [{ "daat": 1 }] })));
    let old = json!({ "$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": true });
    assert!(is_valid(&old, &json!(2)) && !is_valid(&old, &json!(3)));
    let beside = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "definitions": { "a": {} },
        "properties": { "a": { "$ref": "#/definitions/a", "type": "string" }, "at": { "format": "date-time" } },
    });
    assert!(is_valid(&beside, &json!({ "a": 1 })), "what stands beside a reference said nothing then");
    assert!(!is_valid(&beside, &json!({ "at": "yesterday" })));
}

/// Against another implementation, on schemas and values at random.
#[test]
fn random_schemas_say_the_same_as_by_another_implementation() {
    for seed in 0..300 {
        let mut dice = Dice(SplitMix::new(seed), &[]);
        let draft = dice.one(&["draft/2020-12/schema", "draft/2019-09/schema", "draft-07/schema#", "draft-06/schema#"]);
        // None leads back to itself: ours takes no loops, and says so.
        let b = dice.schema(1);
        dice.1 = &["#/definitions/b"];
        let a = dice.schema(2);
        dice.1 = &["#/definitions/a", "#/definitions/b"];
        let mut schema = dice.schema(3);
        schema["$schema"] = format!("https://json-schema.org/{draft}")
            .replace("https://json-schema.org/draft-", "http://json-schema.org/draft-")
            .into();
        schema["definitions"] = json!({ "a": a, "b": b });
        let theirs = jsonschema::validator_for(&schema).expect("it is a schema");
        let Ok(ours) = Schema::compile(&schema.to_string()) else {
            panic!("ours does not take it, theirs does: {schema}; seed {seed}")
        };
        for _ in 0..20 {
            let value = dice.value(3);
            let ours = ours.check(&value, 1_000_000).0 == Checked::Whole(Vec::new());
            assert_eq!(
                ours,
                theirs.is_valid(&value),
                "{schema} for {value}; seed {seed}, `cargo test -p postrider --lib random_schemas` repeats it"
            );
        }
    }
}

/// And what may be referred to.
struct Dice(SplitMix, &'static [&'static str]);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        use postrider_core::Dice as _;
        usize::try_from(self.0.roll() % count as u64).expect("it is small")
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(if depth == 0 { 6 } else { 10 }) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(self.below(5)),
            3 => self.one(&[json!(1.5), json!(2.0), json!(-1), json!(0)]),
            4 | 5 => self.one(&["", "a", "ab", "b1", "äöü"]).into(),
            6 | 7 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect::<Vec<_>>().into(),
            _ => {
                let names = (0..self.below(4)).map(|_| self.one(&["a", "b", "c", "d1"]).to_owned()).collect::<Vec<_>>();
                names.into_iter().map(|name| (name, self.value(depth - 1))).collect::<Map<_, _>>().into()
            }
        }
    }

    fn schema(&mut self, depth: usize) -> Value {
        let mut schema = Map::new();
        for _ in 0..=self.below(3) {
            let (name, value) = self.keyword(depth);
            schema.insert(name.to_owned(), value);
        }
        schema.into()
    }

    fn schemas(&mut self, depth: usize) -> Value {
        (0..=self.below(2)).map(|_| self.part(depth)).collect::<Vec<_>>().into()
    }

    fn part(&mut self, depth: usize) -> Value {
        match self.below(12) {
            0 => json!(true),
            1 => json!(false),
            _ => self.schema(depth),
        }
    }

    fn keyword(&mut self, depth: usize) -> (&'static str, Value) {
        let bound = json!(self.below(3));
        if depth == 0 || self.below(3) == 0 {
            return match self.below(17) {
                0 => ("type", self.one(&["null", "boolean", "integer", "number", "string", "array", "object"]).into()),
                1 => ("type", json!(["string", "array"])),
                2 => ("enum", json!([self.value(1), self.value(1)])),
                3 => ("const", self.value(1)),
                4 => ("minimum", bound),
                5 => ("exclusiveMaximum", bound),
                6 => ("multipleOf", json!(self.below(3) + 1)),
                7 => ("minLength", bound),
                8 => ("maxLength", bound),
                9 => ("pattern", self.one(&["^a", "b$", r"\d", "^[ab]*$"]).into()),
                10 => ("minItems", bound),
                11 => ("maxItems", bound),
                12 => ("uniqueItems", json!(true)),
                13 => ("minProperties", bound),
                14 => ("maxProperties", bound),
                15 => ("required", json!([self.one(&["a", "b"])])),
                _ => ("dependencies", json!({ "a": ["b"] })),
            };
        }
        let inner = depth - 1;
        match self.below(18) {
            0 => ("allOf", self.schemas(inner)),
            1 => ("anyOf", self.schemas(inner)),
            2 => ("oneOf", self.schemas(inner)),
            3 => ("not", self.part(inner)),
            4 => ("if", self.part(inner)),
            5 => ("then", self.part(inner)),
            6 => ("else", self.part(inner)),
            7 | 8 => ("properties", json!({ "a": self.part(inner), "b": self.part(inner) })),
            9 => ("patternProperties", json!({ "[cd]": self.part(inner) })),
            10 => ("additionalProperties", self.part(inner)),
            11 => ("propertyNames", self.part(inner)),
            12 => ("items", self.part(inner)),
            13 => ("contains", self.part(inner)),
            14 => ("dependencies", json!({ "b": self.part(inner) })),
            15 => ("unevaluatedProperties", self.part(inner)),
            16 => ("unevaluatedItems", self.part(inner)),
            _ if self.1.is_empty() => ("minItems", bound),
            _ => ("$ref", self.one(self.1).into()),
        }
    }
}
