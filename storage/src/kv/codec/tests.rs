use std::error::Error;

use super::*;

#[test]
fn a_row_comes_back_with_what_follows_it() -> Result<(), StoreError> {
    let mut value = Vec::new();
    encode_with(&(7_u32, "seven"), b"tail", &mut value);
    let (row, tail) = decode_with::<(u32, &str)>(&value)?;
    assert_eq!((row, tail), ((7, "seven"), &b"tail"[..]));
    Ok(())
}

#[test]
fn a_value_of_another_program_is_refused_with_words() {
    check(&[], "it is cut short");
    check(&[VERSION], "it is cut short");
    check(&[2, 0, 7], "it has version 2, this program reads version 1");
    check(&[VERSION, 9, 7], "it is sealed with key 9, which is not configured");
    check(&[VERSION, 0], "it cannot be read as a row");
    check(&[VERSION, 0, 7, 7], "it is longer than it should be");
}

fn check(value: &[u8], why: &str) {
    let error = decode::<u32>(value).expect_err("it makes no sense");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(source.starts_with(why), "{source}");
}
