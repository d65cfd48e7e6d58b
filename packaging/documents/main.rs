//! Impure. Writes the manual pages, the shell completions, what is in `config` and, in `DIR/doc`, the documents as a package
//! installs them: `cargo run --release --example documents -- DIR`.
//!
//! Flags, subcommands and their words come from the definitions of `--help`, the keys from their rows (`src/config/keys`):
//! nothing is told here a second time. What only a manual page tells stands in `packaging/man`.

mod completions;
mod example;
mod keys;
mod manual;
mod reading;
mod roff;
mod schema;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::{Shell, generate_to};
use ntpfront::cli::definition;
use ntpfront::config::keys::tables;

const PROGRAM: &str = "ntpfront";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(directory), None) = (arguments.next(), arguments.next()) else {
        return Err("usage: documents DIR: where the manual pages and completions shall be written".into());
    };
    if directory.to_string_lossy().starts_with('-') {
        return Err(
            "documents: there are no options; a directory whose name begins with - is ./-NAME".into(),
        );
    }
    let directory = PathBuf::from(directory);
    fs::create_dir_all(&directory)
        .map_err(|error| format!("{}: cannot make it: {error}", directory.display()))?;
    let example = example::file(&tables())?;
    write(
        &directory.join("ntpfront.8"),
        &manual::page(include_str!("../man/ntpfront.8.in"), &definition())?,
    )?;
    write(
        &directory.join("ntpfront.toml.5"),
        &keys::page(include_str!("../man/ntpfront.toml.5.in"), &example)?,
    )?;
    write(&directory.join("ntpfront.toml"), &example)?;
    write(
        &directory.join("ntpfront.schema.json"),
        &schema::schema(&tables())?,
    )?;
    completions(&directory)?;
    documents(&directory.join("doc"))
}

/// README and all of `packaging/doc`.
fn documents(directory: &Path) -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir_all(directory)?;
    let mut paths = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root.join("packaging/doc"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            paths.push(format!("packaging/doc/{name}"));
        }
    }
    for path in paths {
        let text = fs::read_to_string(root.join(&path))?;
        let name = Path::new(&path).file_name().ok_or("no name")?;
        write(&directory.join(name), &reading::installed(&path, &text)?)?;
    }
    Ok(())
}

/// One file for each shell, with the name that it looks for.
fn completions(directory: &Path) -> Result<(), Box<dyn Error>> {
    let made = |shell| -> Result<(PathBuf, String), Box<dyn Error>> {
        let path = generate_to(shell, &mut definition(), PROGRAM, directory)?;
        let script = fs::read_to_string(&path)?;
        Ok((path, script))
    };
    let (path, script) = made(Shell::Bash)?;
    write(&path, &completions::with_users(&script)?)?;
    let (path, script) = made(Shell::Zsh)?;
    write(&path, &completions::with_names(&script, &definition()))?;
    let (path, script) = made(Shell::Fish)?;
    write(&path, &completions::with_values(&script)?)?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: cannot write: {error}", path.display()))
}
