//! Answers that say what of a request was passed over: every object with which a request with a body is answered.

use std::collections::BTreeSet;

use utoipa::{
    Modify,
    openapi::{ArrayBuilder, HeaderBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Schema, Type},
};

use super::common::operations;

/// As the handlers' own schemas call one of them.
const WARNING: &str = "RequestWarning";
const DESCRIBED: &str = "Fields of the request that are not known, and were passed over.";

pub(super) struct Warned;

impl Modify for Warned {
    fn modify(&self, document: &mut OpenApi) {
        let mut answered = BTreeSet::new();
        for item in document.paths.paths.values_mut() {
            for (_, operation) in operations(item).filter(|(_, operation)| operation.request_body.is_some()) {
                let good = operation.responses.responses.iter_mut().filter(|(status, _)| status.starts_with('2'));
                for (_, answer) in good {
                    let RefOr::T(answer) = answer else { continue };
                    let text = ObjectBuilder::new().schema_type(Type::String);
                    let header = HeaderBuilder::new().schema(text).description(Some(DESCRIBED)).build();
                    answer.headers.insert("Warning".to_owned(), header);
                    for content in answer.content.values_mut() {
                        match &content.schema {
                            Some(RefOr::Ref(named)) => {
                                answered.extend(named.ref_location.rsplit('/').next().map(str::to_owned));
                            }
                            // One that stands here, or a list, has no place for them.
                            Some(RefOr::T(_)) | None => {}
                        }
                    }
                }
            }
        }
        let Some(components) = &mut document.components else { return };
        for name in answered {
            let Some(RefOr::T(schema)) = components.schemas.get_mut(&name) else { continue };
            let list = ArrayBuilder::new().items(Ref::from_schema_name(WARNING)).description(Some(DESCRIBED));
            match schema {
                Schema::Object(object) => {
                    object.properties.entry("warnings".to_owned()).or_insert_with(|| list.build().into());
                }
                Schema::AllOf(all) => {
                    let more = ObjectBuilder::new().property("warnings", list.build());
                    all.items.push(RefOr::T(Schema::Object(more.build())));
                }
                // What is no object has no place for them.
                _ => {}
            }
        }
    }
}
