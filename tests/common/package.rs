//! ntpfront's packages, made by `packaging/build` of the program under test: a second build would take minutes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::TempDir;
use super::program::PROGRAM;

/// Makes a package, "deb" or "rpm", in a new directory of this name, and gives its path. `options` are further ones of
/// `packaging/build`.
pub(crate) fn build(kind: &str, name: &str, options: &[&str]) -> PathBuf {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&output);
    let built = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/build"))
        .args([kind, "--binary", PROGRAM, "--output"])
        .arg(&output)
        .arg("--documents")
        .arg(documents())
        .args(options)
        // What it keeps of the program's debugging information takes long to pack.
        .env("DEB_BUILD_OPTIONS", "noautodbgsym terse")
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("build"),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(
        built.status.success(),
        "packaging/build {kind}: {}\n{said}",
        built.status
    );
    let made = String::from_utf8(built.stdout).unwrap();
    let paths: Vec<_> = made.lines().collect();
    assert_eq!(paths.len(), 1, "{made}\n{said}");
    PathBuf::from(paths[0])
}

/// An .rpm of what an rpm distribution's base system gives a service's package (`tests/systemd/base.spec`).
pub(crate) fn base() -> PathBuf {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rpm-base");
    let _ = std::fs::remove_dir_all(&output);
    let built = Command::new("rpmbuild")
        .arg("-bb")
        .arg(format!("--define=_topdir {}", output.display()))
        .arg("--define=_build_name_fmt base.rpm")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/systemd/base.spec"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "rpmbuild: {}\n{said}", built.status);
    output.join("RPMS/base.rpm")
}

/// A directory with the programs that a script needs to say what is missing, as the `PATH` of a system with next to nothing.
pub(crate) fn few_tools() -> TempDir {
    let few = TempDir::new();
    for tool in ["bash", "env", "dirname", "realpath", "sed"] {
        let path = ["/usr/bin", "/bin"].map(|directory| Path::new(directory).join(tool));
        let found = path.into_iter().find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(found, few.path().join(tool)).unwrap();
    }
    few
}

/// Man pages and completions.
pub(crate) fn documents() -> &'static Path {
    static DOCUMENTS: OnceLock<PathBuf> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("documents");
        let made = Command::new(super::example::built("documents"))
            .arg(&directory)
            .status()
            .unwrap();
        assert!(made.success(), "the documents can't be made: {made}");
        directory
    })
}
