use postrider_core::{ApplicationId, ApplicationSpec, OrganisationId};

use super::*;
use crate::kv::codec::encode;

fn acme(schema_check: Option<SchemaCheck>, payload_kept: Option<Duration>) -> Application {
    let mut spec = ApplicationSpec::new("Acme");
    (spec.schema_check, spec.payload_kept) = (schema_check, payload_kept);
    let at = Timestamp::from_nanos(7);
    let (id, organisation) = (ApplicationId::from_bytes([1; 20]), OrganisationId::DEFAULT);
    Application { id, organisation, spec, created_at: at, updated_at: at, revision: 3 }
}

/// An application's record grew twice: it is read however much of it there was when it was written.
#[test]
fn an_application_is_read_as_it_was_written_then_and_now() -> Result<(), StoreError> {
    let day = Some(Duration::from_secs(24 * 3600));
    for (check, kept) in [(None, None), (Some(SchemaCheck::Warn), None), (None, day), (Some(SchemaCheck::Warn), day)] {
        let mut value = Vec::new();
        encode_application(&acme(check, kept), &mut value);
        assert_eq!(application(&value)?, acme(check, kept));
        value.push(0);
        assert!(application(&value).is_err(), "longer than it should be: {check:?} {kept:?}");
    }
    let mut first = Vec::new();
    encode(&acme(None, None), &mut first);
    assert_eq!(application(&first)?, acme(None, None));
    let mut second = Vec::new();
    encode_with_more(&acme(None, None), &Some(SchemaCheck::Warn), &[], &mut second);
    assert_eq!(application(&second)?, acme(Some(SchemaCheck::Warn), None));
    let mut today = Vec::new();
    encode_application(&acme(Some(SchemaCheck::Warn), None), &mut today);
    assert_eq!(today, second, "without anything new it is written as before");
    Ok(())
}
