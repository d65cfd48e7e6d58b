//! A program that the kernel does not take.

use ntpfront::fast_path::loader::Program;

use crate::common::root;

/// The place of the program's first instruction in its object (ELF, 64 bits, little-endian).
fn first_instruction(object: &[u8]) -> usize {
    let number = |at: usize, size: usize| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&object[at..at + size]);
        usize::try_from(u64::from_le_bytes(bytes)).unwrap()
    };
    let section = |index: usize| number(40, 8) + index * number(58, 2);
    let names = number(section(number(62, 2)) + 24, 8);
    let is_program = |at: &usize| object[names + number(*at, 4)..].starts_with(b"xdp.frags\0");
    let mut sections = (0..number(60, 2)).map(section);
    number(sections.find(is_program).unwrap() + 24, 8)
}

#[test]
fn a_refusal_tells_the_verifiers_reason() {
    if !root() {
        return;
    }
    let built = include_bytes!("../../src/fast_path/program/ntp.bpf.o");
    let mut object = built.to_vec();
    // r0 = *(u64 *)(r1 + 4096): nothing of the context is there.
    let at = first_instruction(built);
    object[at..at + 8].copy_from_slice(&[0x79, 0x10, 0, 0x10, 0, 0, 0, 0]);
    let refusal = Program::load_object(&object, 1024).unwrap_err().to_string();
    let expected = "the kernel does not take the program: invalid bpf_context access off=4096 size=8";
    assert!(refusal.starts_with(expected), "{refusal}");
    assert!(
        refusal.contains("report it, with the output of `uname -r`"),
        "{refusal}"
    );
}
