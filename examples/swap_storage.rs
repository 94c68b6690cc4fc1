//! One program over three stores, chosen by name at run time: `--example swap_storage -- memory|fjall|sled`.

use std::{path::Path, time::Duration};

use postrider::{
    ApplicationSpec, EndpointSpec, Engine, Event, TargetRules,
    storage::{Fjall, MemoryStore, OpenStore, Sled},
};
use postrider_adapters::http::HttpTransport;
use postrider_examples::receiver;

/// Whatever opens a store will do: these, or one of your own (`own_store.rs`).
fn store(name: &str, folder: &Path) -> Result<Box<dyn OpenStore>, String> {
    match name {
        // Nothing survives the program.
        "memory" => Ok(Box::new(MemoryStore::new())),
        // Survives a power cut. The default.
        "fjall" => Ok(Box::new(Fjall::at(folder.join("fjall")))),
        // Survives a crash of the program, not a power cut.
        "sled" => Ok(Box::new(Sled::at(folder.join("sled")))),
        other => Err(format!("no store is called {other}: give memory, fjall or sled")),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let asked: Vec<_> = std::env::args().skip(1).collect();
    let names = if asked.is_empty() { vec!["memory".into(), "fjall".into(), "sled".into()] } else { asked };
    let folder = tempfile::tempdir()?;
    for name in names {
        println!("{name}:");
        let (url, mut arrivals) = receiver([]).await?;
        let transport = HttpTransport::new(TargetRules::dev())?;
        let builder = Engine::builder(store(&name, folder.path())?, transport).targets(TargetRules::dev());
        let engine = builder.start().await?;
        engine.applications().upsert("acme", ApplicationSpec::new("Acme Ltd")).await?;
        engine.endpoints("acme").upsert("billing", EndpointSpec::new(url)).await?;
        engine.publish("acme", Event::new("invoice.paid", r#"{"invoice":7}"#)).await?;
        tokio::time::timeout(Duration::from_secs(10), arrivals.recv()).await?.ok_or("the receiver ended")?;
        engine.shutdown(Duration::from_secs(10)).await;
    }
    Ok(())
}
