//! Forms of values that many requests have, as they are written about. Whoever reads a value decides; these say the same.

use std::borrow::Cow;

use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Array, ArrayBuilder, Object, ObjectBuilder, Ref, RefOr, Schema,
        schema::{AdditionalProperties, SchemaType, Type},
    },
};

/// Forms with names of their own.
macro_rules! forms {
    ($($(#[$doc:meta])* $form:ident = $schema:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(in crate::api) struct $form;

        impl PartialSchema for $form {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $form {
            fn name() -> Cow<'static, str> {
                stringify!($form).into()
            }
        }
    )+};
}

forms! {
    /// Of an event type, or a channel.
    Name = text("^[a-zA-Z0-9._-]+$").min_length(Some(1)).max_length(Some(256));
    /// The hundreds of a status code; 0 without one.
    StatusClass = one_of(Type::Integer, [0, 100, 200, 300, 400, 500]);
    /// By age, or by name.
    SortOrder = one_of(Type::String, ["ascending", "descending"]);
    /// A flag in a query; without a value, with `1` and with `True` it is set, too.
    Flag = ObjectBuilder::new().schema_type(Type::Boolean);
    /// A flag that is set where nothing is said.
    FlagSet = ObjectBuilder::new().schema_type(Type::Boolean).default(Some(Value::Bool(true)));
    /// A JSON object of any kind.
    AnyObject = any_object();
    /// Whether an endpoint is sent to.
    EndpointStanding = one_of(Type::String, ["active", "paused", "disabled", "unverified"]);
    /// How an endpoint is doing, the worst first.
    EndpointHealthLevel = one_of(
        Type::String,
        ["disabled", "breakerOpen", "unverified", "disabledByPerson", "paused", "active"],
    );
    /// How a task stands.
    TaskStanding = one_of(Type::String, ["running", "finished", "failed", "cancelled"]);
    /// What an endpoint signs with: 24 to 64 bytes of a shared secret, or a private key.
    SigningSecret = text(
        "^(whsec_([A-Za-z0-9+/]{4}){8,21}([A-Za-z0-9+/][AQgw]==)?|whsk_[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)$",
    );
    /// Of a session of somebody who holds tokens.
    SessionName = text("^[!-~]+$").min_length(Some(1)).max_length(Some(256));
    /// A delay.
    Seconds = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0.0)).maximum(Some(604_800.0));
    /// Headers by their names.
    Headers = headers(Type::String.into());
    /// The same, where `null` takes one away.
    HeaderChanges = headers(SchemaType::from_iter([Type::String, Type::Null]));
    /// JSON Schemas by their versions: `1`, `2` and so on.
    JsonSchemas = ObjectBuilder::new()
        .property_names(Some(Schema::Object(text("^[1-9][0-9]{0,8}$").build())))
        .additional_properties(Some(any_object()));
    /// Many messages.
    MessagesIn = ArrayBuilder::new().items(Ref::from_schema_name("MessageIn")).min_items(Some(1)).max_items(Some(1000));
}

/// Statuses by which tries are chosen.
pub(in crate::api) fn tried_status() -> Object {
    one_of(SchemaType::from_iter([Type::Integer, Type::Null]), [Value::from(0), 2.into(), 4.into(), Value::Null])
}

/// As [`StatusClass`], or none.
pub(in crate::api) fn any_status_class() -> Object {
    let classes = [0, 100, 200, 300, 400, 500].map(Value::from);
    one_of(SchemaType::from_iter([Type::Integer, Type::Null]), classes.into_iter().chain([Value::Null]))
}

/// What others have and we do not is refused rather than passed over; an object without any will do.
pub(in crate::api) fn no_fields() -> Object {
    let kind = SchemaType::from_iter([Type::Object, Type::Null]);
    ObjectBuilder::new().schema_type(kind).max_properties(Some(0)).description(Some(NONE_HERE)).build()
}

/// As [`no_fields`], with a list of none.
pub(in crate::api) fn no_items() -> Array {
    let kind = SchemaType::from_iter([Type::Array, Type::Null]);
    ArrayBuilder::new().schema_type(kind).max_items(Some(0)).description(Some(NONE_HERE)).build()
}

const NONE_HERE: &str = "There is none here: leave it out.";

/// Said to have other fields than none: generators take an object without any for an empty one.
fn any_object() -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)))
}

fn one_of<V: Into<Value>>(kind: impl Into<SchemaType>, values: impl IntoIterator<Item = V>) -> Object {
    ObjectBuilder::new().schema_type(kind).enum_values(Some(values)).build()
}

fn text(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}

fn headers(values: SchemaType) -> ObjectBuilder {
    let names = text("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$").min_length(Some(1)).max_length(Some(256)).build();
    let values = text("^([!-~]([ -~]*[!-~])?)?$").schema_type(values).max_length(Some(4096));
    ObjectBuilder::new()
        .property_names(Some(Schema::Object(names)))
        .additional_properties(Some(values))
        .max_properties(Some(50))
}
