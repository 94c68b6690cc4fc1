use super::*;

#[test]
fn a_full_or_read_only_disk_is_unavailable_and_a_failed_sync_is_not() {
    let kind = |error: io::ErrorKind| StoreError::io("write", error.into()).kind();
    for passes in [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::PermissionDenied] {
        assert_eq!(kind(passes), StoreErrorKind::Unavailable, "{passes}");
    }
    const EIO: i32 = 5;
    assert_eq!(StoreError::io("sync", io::Error::from_raw_os_error(EIO)).kind(), StoreErrorKind::Poisoned);
}

#[test]
fn the_message_names_the_operation_and_keeps_the_cause_as_source() {
    let error = StoreError::io("write the group", io::ErrorKind::StorageFull.into());
    assert_eq!(error.to_string(), "could not write the group");
    assert!(error.source().is_some_and(|cause| cause.to_string().contains("storage")), "{error:?}");
    assert_eq!(error.clone().op(), error.op());
}
