//! Who imports whom, and what is built in: read from `cargo metadata`, without a network.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

type Failed = Box<dyn std::error::Error>;

/// Each room, and the rooms that it may import. Tests and examples may import all.
const ROOMS: [(&str, &[&str]); 5] = [
    ("postrider-core", &[]),
    ("postrider-storage", &["postrider-core"]),
    ("postrider", &["postrider-core", "postrider-storage"]),
    ("postrider-adapters", &["postrider-core", "postrider-storage", "postrider"]),
    ("postrider-daemon", &["postrider-core", "postrider-storage", "postrider", "postrider-adapters"]),
];

/// All that core stands on: nothing with a runtime, a clock, randomness or I/O of its own.
const OF_CORE: [&str; 14] = [
    "base64",
    "bytes",
    "ed25519-dalek",
    "governor",
    "hmac",
    "httpdate",
    "ipnet",
    "postcard",
    "serde",
    "sha2",
    "thiserror",
    "tracing",
    "url",
    "zeroize",
];

#[test]
fn every_import_follows_the_arrows() -> Result<(), Failed> {
    let metadata = metadata(&["--no-deps"])?;
    let rooms: BTreeSet<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    for (room, allowed) in ROOMS {
        for dependency in dependencies(&metadata, room)? {
            let is_room = rooms.contains(dependency.as_str());
            assert!(!is_room || allowed.contains(&dependency.as_str()), "{room} must not import {dependency}");
        }
    }
    Ok(())
}

#[test]
fn core_stands_on_nothing_that_runs_ticks_or_rolls_by_itself() -> Result<(), Failed> {
    for dependency in dependencies(&metadata(&["--no-deps"])?, "postrider-core")? {
        assert!(OF_CORE.contains(&dependency.as_str()), "core imports {dependency}: say here why it may");
    }
    Ok(())
}

#[test]
fn every_licence_is_one_that_deny_toml_allows() -> Result<(), Failed> {
    let deny: toml::Table = include_str!("../../deny.toml").parse()?;
    let allowed = deny.get("licenses").and_then(|licences| licences.get("allow")).and_then(toml::Value::as_array);
    let allowed: Vec<_> = allowed.ok_or("deny.toml allows licences")?.iter().filter_map(toml::Value::as_str).collect();
    // What other systems need was not fetched, and is checked there.
    let rustc = Command::new("rustc").arg("-vV").output()?;
    let rustc = String::from_utf8(rustc.stdout)?;
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names its host")?;
    let metadata = metadata(&["--filter-platform", host])?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = &package["name"];
        let text = package["license"].as_str().ok_or_else(|| format!("{name} names no licence"))?;
        let licence =
            spdx::Expression::parse_mode(text, spdx::ParseMode::LAX).map_err(|why| format!("{name}: {why}"))?;
        let is_allowed = licence.evaluate(|required| allowed.contains(&required.to_string().as_str()));
        assert!(is_allowed, "{name} is under {text}");
    }
    Ok(())
}

/// What a package imports in its normal form, not for its tests.
fn dependencies(metadata: &Value, package: &str) -> Result<Vec<String>, Failed> {
    let packages = metadata["packages"].as_array().ok_or("there are packages")?;
    let found =
        packages.iter().find(|found| found["name"] == package).ok_or_else(|| format!("there is no {package}"))?;
    let all = found["dependencies"].as_array().into_iter().flatten();
    let normal = all.filter(|dependency| dependency["kind"] != "dev");
    Ok(normal.filter_map(|dependency| Some(dependency["name"].as_str()?.to_owned())).collect())
}

fn metadata(flags: &[&str]) -> Result<Value, Failed> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let printed = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--manifest-path", manifest])
        .args(flags)
        .output()?;
    if !printed.status.success() {
        return Err(String::from_utf8_lossy(&printed.stderr).into());
    }
    Ok(serde_json::from_slice(&printed.stdout)?)
}
