use super::*;

#[test]
fn what_is_used_stays_and_what_is_not_goes() {
    let mut cache = Cache::default();
    cache.put_lasting(b"used", Some(b"1"));
    cache.put_lasting(b"unused", Some(b"2"));
    for n in 0..3 * ROWS_MAX {
        cache.put(Bytes::from(n.to_be_bytes().to_vec()), None);
        assert_eq!(cache.get(b"used"), Some(Some(Bytes::from_static(b"1"))), "after {n}");
    }
    assert_eq!(cache.get(b"unused"), None);
    assert!(cache.young.len() + cache.old.len() <= 2 * ROWS_MAX);
}

#[test]
fn a_row_that_is_not_there_is_known_not_to_be() {
    let mut cache = Cache::default();
    assert_eq!(cache.get(b"row"), None);
    cache.put_lasting(b"row", None);
    assert_eq!(cache.get(b"row"), Some(None));
    cache.put_lasting(b"row", Some(b"1"));
    assert_eq!(cache.get(b"row"), Some(Some(Bytes::from_static(b"1"))));
}
