//! Every embedded backend keeps its rows by the same contract.

use std::sync::Arc;

use postrider_storage::{
    Fjall, Sled,
    kv::{FjallKv, MemoryKv, SledKv},
    kv_conformance,
};

kv_conformance!(memory, {
    let kv = MemoryKv::default();
    move |_| Ok(Arc::new(kv.clone()))
});
kv_conformance!(memory_with_power_cuts, {
    let kv = MemoryKv::with_power_cuts();
    move |_| Ok(Arc::new(kv.clone()))
});
kv_conformance!(fjall, |folder| Ok(Arc::new(FjallKv::open(&Fjall::at(folder))?)));
kv_conformance!(sled, |folder| Ok(Arc::new(SledKv::open(&Sled::at(folder))?)));
