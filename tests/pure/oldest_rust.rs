//! Holds `rust-version` in Cargo.toml to what it says: no dependency asks for a newer Rust, and it is no newer than it
//! needs to be. (What our own code asks for, clippy tells: `incompatible_msrv`. `.ci/run` compiles with that Rust where rustup
//! has it.)

use std::process::Command;

use serde_json::Value;

/// "1.85.0" and "1.85" are the same.
fn release(version: &str) -> Vec<u32> {
    version
        .split('.')
        .take(2)
        .map(|part| part.parse().unwrap())
        .collect()
}

/// The packages of the lock file that a build for Linux takes, and the Rust that each asks for.
fn packages() -> Vec<(String, Vec<u32>)> {
    // This machine's: crates of other targets are fetched by nobody who builds for this one alone.
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let target = version.lines().find_map(|line| line.strip_prefix("host: "));
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args(["--filter-platform", target.unwrap()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .filter_map(|package| {
            let rust = package["rust_version"].as_str()?;
            Some((package["name"].as_str().unwrap().to_owned(), release(rust)))
        })
        .collect()
}

#[test]
fn the_oldest_rust_is_what_the_dependencies_need() {
    let ours = release(env!("CARGO_PKG_RUST_VERSION"));
    let others: Vec<_> = packages()
        .into_iter()
        .filter(|(name, _)| name != env!("CARGO_PKG_NAME"))
        .collect();
    assert!(
        others.len() > 50,
        "only {} packages say what they need",
        others.len()
    );
    let newer: Vec<_> = others.iter().filter(|(_, rust)| *rust > ours).collect();
    assert!(
        newer.is_empty(),
        "they ask for a newer Rust than rust-version says: {newer:?}"
    );
    let (name, newest) = others.iter().max_by_key(|(_, rust)| rust.clone()).unwrap();
    assert_eq!(
        *newest, ours,
        "nobody asks for rust-version any more, {name} for the newest: lower it"
    );
}
