//! Examples of the package, which are programs for tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An example as built from the source that is here: `cargo test --test` builds none.
pub(crate) fn built(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            "test",
            "--example",
            name,
        ])
        .arg("--target-dir")
        .arg(target)
        .status()
        .expect("cargo");
    assert!(status.success(), "the example {name} can't be built: {status}");
    target.join("debug/examples").join(name)
}
