//! Pure. The entries of an array of tables: their names in faults, and a check that none is there twice.

use std::collections::HashMap;

use super::raw_value::{Origin, RawValue};
use super::validator::Validator;

/// Returns the name of one table of several; they count from 1, as people do.
pub(super) fn numbered(name: &str, index: usize) -> String {
    format!("{name}[{}]", index + 1)
}

/// The entries of an array of tables that were validated, each with its place.
pub(super) struct Entries<K> {
    first: HashMap<K, Origin>,
}

impl<K: std::hash::Hash + Eq> Entries<K> {
    pub(super) fn new() -> Self {
        Self {
            first: HashMap::new(),
        }
    }

    /// Adds an entry; it is a fault if it is there already.
    pub(super) fn once(&mut self, validator: &mut Validator<'_>, thing: K, said: &RawValue) {
        match self.first.get(&thing) {
            None => {
                self.first.insert(thing, said.origin.clone());
            }
            Some(first) => {
                let hint = Some(format!("it stands at {} already", validator.place(first)));
                validator.fault_at(said, "address", "each address once", hint);
            }
        }
    }
}
