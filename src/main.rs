//! The thin shell: arguments in, exit code out.
fn main() {}
