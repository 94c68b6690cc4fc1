use postrider_core::{Durability, Seq};

use super::*;
use crate::kv::{MemoryKv, OrderedKv};

const ALL: NonZeroUsize = NonZeroUsize::MAX;

#[test]
fn what_is_rolled_back_was_never_there() -> Result<(), StoreError> {
    let (kv, mut cache, mut buffers) = (stored(&[("a", 1)])?, Cache::default(), Buffers::default());
    let snapshot = kv.snapshot()?;
    let mut staged = Staged::new(&*snapshot, &mut cache, &mut buffers);
    staged.put(&Key::Meta("b"), &Seq(2));
    let mark = staged.mark();
    staged.put(&Key::Meta("b"), &Seq(3));
    staged.put(&Key::Meta("b"), &Seq(4));
    staged.delete(&Key::Meta("a"));
    staged.put(&Key::Meta("c"), &Seq(5));
    assert_eq!(found(&staged)?, [("b".to_owned(), 4), ("c".to_owned(), 5)]);
    staged.roll_back(mark);
    assert_eq!(found(&staged)?, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    assert_eq!(staged.get::<Seq>(&Key::Meta("b"))?, Some(Seq(2)));
    assert_eq!(staged.get::<Seq>(&Key::Meta("c"))?, None);
    assert_eq!(staged.into_rows().to_write().len(), 1, "each row is written once");
    Ok(())
}

#[test]
fn a_scan_sees_what_is_staged_over_what_is_stored() -> Result<(), StoreError> {
    let names: Vec<String> = (0..600).map(|n| format!("{n:04}")).collect();
    let rows: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let (kv, mut cache, mut buffers) = (stored(&rows)?, Cache::default(), Buffers::default());
    let snapshot = kv.snapshot()?;
    let mut staged = Staged::new(&*snapshot, &mut cache, &mut buffers);
    staged.put(&Key::Meta("0000"), &Seq(2));
    staged.put(&Key::Meta("0000a"), &Seq(3));
    staged.put(&Key::Meta("9"), &Seq(4));
    staged.delete(&Key::Meta("0255"));
    staged.delete(&Key::Meta("0599"));
    let all = found(&staged)?;
    assert_eq!(all.len(), 600);
    assert_eq!(all[..3], [("0000".to_owned(), 2), ("0000a".to_owned(), 3), ("0001".to_owned(), 1)]);
    assert_eq!(all[599], ("9".to_owned(), 4));
    assert!(all.is_sorted() && !all.iter().any(|(name, _)| name == "0255"));
    let first = staged.scan(Partition::LASTING, b"Z", b"[", NonZeroUsize::MIN)?;
    assert_eq!(first.len(), 1);
    assert_eq!(staged.scan(Partition::LASTING, b"[", b"Z", ALL)?, [], "that is no range");
    // What comes after a first scan is seen by the next one, and is gone when it is rolled back.
    let mark = staged.mark();
    staged.put(&Key::Meta("0000b"), &Seq(5));
    staged.delete(&Key::Meta("0000a"));
    let three = NonZeroUsize::MIN.saturating_add(2);
    let first = |staged: &Staged<'_>| -> Result<Vec<Bytes>, StoreError> {
        Ok(staged.scan(Partition::LASTING, b"Z", b"[", three)?.into_iter().map(|(key, _)| key).collect())
    };
    assert_eq!(first(&staged)?, ["Z0000", "Z0000b", "Z0001"]);
    staged.roll_back(mark);
    assert_eq!(first(&staged)?, ["Z0000", "Z0000a", "Z0001"]);
    Ok(())
}

fn stored(rows: &[(&str, u64)]) -> Result<MemoryKv, StoreError> {
    let kv = MemoryKv::default();
    let row = |(name, seq): &(&str, u64)| {
        let mut value = Vec::new();
        codec::encode(&Seq(*seq), &mut value);
        (Partition::LASTING, Bytes::from([b"Z", name.as_bytes()].concat()), Some(Bytes::from(value)))
    };
    kv.write(&rows.iter().map(row).collect::<Vec<_>>(), Durability::Synced)?;
    Ok(kv)
}

fn found(staged: &Staged<'_>) -> Result<Vec<(String, u64)>, StoreError> {
    let rows = staged.scan(Partition::LASTING, b"Z", b"[", ALL)?;
    let understand = |(key, value): &(Bytes, Bytes)| {
        Ok((String::from_utf8_lossy(&key[1..]).into_owned(), codec::decode::<Seq>(value)?.0))
    };
    rows.iter().map(understand).collect()
}
