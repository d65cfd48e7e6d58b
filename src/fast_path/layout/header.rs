//! Pure. `program/layout.h`, as text.

use std::fmt::{self, Display, Formatter};

use super::structure::{Declaration, Field};
use super::*;

/// The whole file.
struct LayoutHeader;

impl Display for LayoutHeader {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(
            "// SPDX-License-Identifier: GPL-2.0-or-later\n//\n\
             // The memory that the program and user space share. Generated from src/fast_path/layout.rs: change that, then\n\
             //   WRITE_LAYOUT=1 cargo test --lib layout_h\n\
             #pragma once\n\n#include <linux/types.h>\n\n",
        )?;
        for (name, value, line) in CONSTANTS {
            let value = match i32::try_from(*value) {
                Ok(value) => value.to_string(),
                Err(_) => format!("{value:#x}ULL"),
            };
            writeln!(f, "#define {name} {value} //{line}")?;
        }
        let verdicts = GIVEN.map(|(verdict, number)| (verdict.name(), number));
        enumeration(f, "verdict", &verdicts)?;
        let annotations = MADE.map(|(annotation, number)| (annotation.name(), number));
        enumeration(f, "annotation", &annotations)?;
        let modes = [RuleMode::Off, RuleMode::DryRun, RuleMode::On];
        let modes = modes.map(|mode| (mode.name(), mode_number(mode).into()));
        enumeration(f, "mode", &modes)?;
        STRUCTURES.iter().try_for_each(|one| structure(f, one))
    }
}

/// All structures, each behind those that are parts of it.
const STRUCTURES: [Declaration; 13] = [
    Publication::DECLARATION,
    PublishedState::DECLARATION,
    Destination::DECLARATION,
    ListenerPolicy::DECLARATION,
    DeviceEntry::DECLARATION,
    RulesCopy::DECLARATION,
    BothRules::DECLARATION,
    AllBoundaries4::DECLARATION,
    Boundary6::DECLARATION,
    AllBoundaries6::DECLARATION,
    Cells::DECLARATION,
    SampleEntry::DECLARATION,
    CpuCells::DECLARATION,
];

/// Writes an enumeration: words and their numbers.
fn enumeration(f: &mut Formatter<'_>, name: &str, words: &[(&str, usize)]) -> fmt::Result {
    writeln!(f, "\nenum {name} {{")?;
    for (word, number) in words {
        writeln!(f, "\t{} = {number},", word.replace('-', "_").to_uppercase())?;
    }
    f.write_str("};\n")
}

fn structure(f: &mut Formatter<'_>, one: &Declaration) -> fmt::Result {
    writeln!(f)?;
    one.lines.iter().try_for_each(|line| writeln!(f, "//{line}"))?;
    writeln!(f, "struct {} {{", one.name)?;
    for Field { name, kind, lines } in one.fields {
        writeln!(f, "\t{}; //{}", field(name, kind), lines.concat())?;
    }
    writeln!(
        f,
        "}};\n_Static_assert(sizeof(struct {}) == {}, \"as in layout.rs\");",
        one.name, one.size
    )
}

/// The declaration of a field of a Rust type.
fn field(name: &str, kind: &str) -> String {
    let array = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']'));
    match array.and_then(|array| array.split_once(';')) {
        Some((kind, count)) => format!("{} {name}[{}]", type_in_c(kind), count.trim()),
        None => format!("{} {name}", type_in_c(kind)),
    }
}

fn type_in_c(kind: &str) -> String {
    match kind {
        "u8" | "u16" | "u32" | "u64" => kind.replace('u', "__u"),
        "Publication" => structure_of(&Publication::DECLARATION),
        "Destination" => structure_of(&Destination::DECLARATION),
        "ListenerPolicy" => structure_of(&ListenerPolicy::DECLARATION),
        "DeviceEntry" => structure_of(&DeviceEntry::DECLARATION),
        "RulesCopy" => structure_of(&RulesCopy::DECLARATION),
        "SampleEntry" => structure_of(&SampleEntry::DECLARATION),
        "Boundary6" => structure_of(&Boundary6::DECLARATION),
        _ => panic!("{kind}: its name in C is not known"),
    }
}

fn structure_of(one: &Declaration) -> String {
    format!("struct {}", one.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header is what this generates. With `WRITE_LAYOUT` in the environment it is written.
    #[test]
    fn layout_h_is_what_is_generated() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/fast_path/program/layout.h");
        let wanted = LayoutHeader.to_string();
        if std::env::var_os("WRITE_LAYOUT").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap();
        assert!(
            found == wanted,
            "src/fast_path/layout.rs gives another layout.h: WRITE_LAYOUT=1 cargo test --lib layout_h, then src/fast_path/program/build"
        );
    }

    /// Checks the declarations of fields in C: a field whose type is an array has its length behind its name.
    ///
    /// A structure that is not in the list would not be in the header, and the program would not compile.
    #[test]
    fn fields_are_declared_as_c_does() {
        for (kind, expected) in [
            ("u8", "__u8 x"),
            ("[u64; 5]", "__u64 x[5]"),
            (
                "[Publication; PUBLICATIONS]",
                "struct publication x[PUBLICATIONS]",
            ),
            (
                "[Boundary6; 2 * BOUNDARIES6]",
                "struct boundary6 x[2 * BOUNDARIES6]",
            ),
        ] {
            assert_eq!(field("x", kind), expected);
        }
    }

    /// Checks that a field which is filled in by name is where the header says.
    #[test]
    fn words_stand_at_their_offsets() {
        let publication = Publication {
            number: 1,
            copy: 2,
            answering: 3,
            header_rest: [4, 0, 0, 0, 0, 0, 0, 5],
            growth: 6,
            ..Publication::ZERO
        };
        let words = publication.words();
        assert_eq!(words.len(), size_of::<Publication>() / WORD);
        let at = |offset: usize| words[offset / WORD].to_ne_bytes();
        assert_eq!(at(std::mem::offset_of!(Publication, number)), 1_u64.to_ne_bytes());
        assert_eq!(
            at(std::mem::offset_of!(Publication, copy))[..4],
            2_u32.to_ne_bytes()
        );
        assert_eq!(
            at(std::mem::offset_of!(Publication, answering))[4..],
            3_u32.to_ne_bytes()
        );
        assert_eq!(
            at(std::mem::offset_of!(Publication, header_rest)),
            publication.header_rest
        );
        assert_eq!(at(std::mem::offset_of!(Publication, growth)), 6_u64.to_ne_bytes());
        assert_eq!(words.iter().filter(|word| **word != 0).count(), 4);
    }
}
