//! Pure. The policies of the listeners, by the tables for all of them and by a listener's own tables.
//!
//! A listener's tables of the same names replace single keys for it; the keys that they leave out are as for all.

use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::KeysInUse;
use super::address;
use super::deciding::{DecidingRule, RuleFinder};
use super::fault::{Fault, Place, excerpt};
use super::keys::{
    AccessKeys, BudgetKeys, InterleavedKeys, LimitKeys, ListenerKeys, RawAccess, RawListener, SmearKeys,
};
use super::raw::Raw;
use super::raw_value::RawValue;
use super::row::Keys;
use super::validator::Validator;
use crate::leap::Smear;
use crate::server::policy::Policy;
use crate::server::policy::access::{Access, Prefixes};
use crate::server::policy::budget::Budget;

/// The largest number of faults that are printed of a list of prefixes: it may be a file of another kind.
const MOST_FAULTS: usize = 20;

/// The policy of all listeners without tables of their own.
#[derive(Debug)]
pub(super) struct Common<'a> {
    access: AccessKeys,
    /// The same as it was written.
    said: &'a RawAccess,
    /// The rules that decide about the addresses that are asked about.
    deciding: Vec<DecidingRule>,
    limit: LimitKeys,
    budget: Budget,
    smear: Smear,
    /// The number of replies whose timestamps are saved for interleaved mode.
    saved_timestamps: u32,
    policy: Arc<Policy>,
}

/// Reads the tables for all listeners; `keys` are `None` after a fault.
pub(super) fn common<'a>(
    validator: &mut Validator<'_>,
    raw: &'a Raw,
    keys: Option<&KeysInUse>,
) -> Option<Common<'a>> {
    let access = AccessKeys::read_one(validator, &raw.access, &AccessKeys::default());
    let built = access
        .as_ref()
        .and_then(|keys| list(validator, keys, &raw.access.said, None));
    let limit = LimitKeys::read_one(validator, &raw.limit, &LimitKeys::default());
    let budget = BudgetKeys::read_one(validator, &raw.budget, &BudgetKeys::default());
    let smear = SmearKeys::read_one(validator, &raw.smear, &SmearKeys::default());
    let interleaved = InterleavedKeys::read_one(validator, &raw.interleaved, &InterleavedKeys::default());
    let (budget, limit, smear) = (budget?.budget(), limit?, smear?.smear());
    let table = keys.and_then(|keys| keys.table.clone());
    let (built, deciding) = built?;
    let policy = ListenerKeys::default().policy(built, limit.limit(), budget.mode(), smear, table);
    Some(Common {
        access: access?,
        said: &raw.access.said,
        deciding,
        limit,
        budget,
        smear,
        saved_timestamps: interleaved?.clients,
        policy: Arc::new(policy),
    })
}

impl Common<'_> {
    /// Returns the smear of the listeners that have one.
    pub(super) fn smear(&self) -> Smear {
        self.smear
    }

    /// Returns the number of replies whose timestamps are saved for interleaved mode.
    pub(super) fn saved_timestamps(&self) -> u32 {
        self.saved_timestamps
    }

    /// Returns the budget of the whole server.
    pub(super) fn budget(&self) -> Budget {
        self.budget
    }
}

/// Returns the policy of the listener of this `name`, whose own table has these `keys`.
///
/// `common` and `in_use`, the symmetric keys, are `None` if they have faults; the tables of the listener are validated all
/// the same.
pub(super) fn of_listener(
    validator: &mut Validator<'_>,
    name: &str,
    said: &RawListener,
    keys: Option<&ListenerKeys>,
    common: Option<&Common<'_>>,
    in_use: Option<&KeysInUse>,
) -> Option<Arc<Policy>> {
    let (default_access, default_limit) = (AccessKeys::default(), LimitKeys::default());
    validator.enter(format!("{name}.access"), "[listener.access]");
    let (section, base) = (
        &said.access,
        common.map_or(&default_access, |common| &common.access),
    );
    let own = AccessKeys::read(validator, &section.said, &section.origin, base);
    let says_access = validator.keep_said();
    let access = match says_access {
        true => own.and_then(|own| list(validator, &own, &section.said, common.map(|common| common.said))),
        false => common.map(|common| (common.policy.access.clone(), common.deciding.clone())),
    };
    validator.enter(format!("{name}.limit"), "[listener.limit]");
    let (section, base) = (&said.limit, common.map_or(&default_limit, |common| &common.limit));
    let limit = LimitKeys::read(validator, &section.said, &section.origin, base).map(|own| own.limit());
    validator.keep_said();
    let (keys, smear, common) = (keys?, common?.smear, &common?.policy);
    let (access, deciding) = access?;
    validator.deciding.add(keys.address, deciding);
    let policy = keys.policy(access, limit?, common.budget, smear, in_use?.table.clone());
    // Equal policies share their memory.
    Some(if policy == **common {
        Arc::clone(common)
    } else {
        Arc::new(policy)
    })
}

/// Makes a single list of all prefixes and files of `keys`, with the rules that decide about the asked addresses.
///
/// `said` has the places, and `base` those of the keys that it leaves out.
fn list(
    validator: &mut Validator<'_>,
    keys: &AccessKeys,
    said: &RawAccess,
    base: Option<&RawAccess>,
) -> Option<(Access, Vec<DecidingRule>)> {
    let (mut all, mut finder) = (Prefixes::default(), RuleFinder::new(validator.asked()));
    let place = |validator: &Validator<'_>, of: ValueOf, index: Option<usize>| {
        let value = of(said).or_else(|| base.and_then(of));
        let value = index.map_or(value, |index| item(value, index).or(value));
        value.map_or(Place::Default, |value| validator.place(&value.origin))
    };
    let prefixes: [(_, &[IpNet], ValueOf, bool); 2] = [
        ("allow", &keys.allow, |said| said.allow.as_ref(), true),
        ("deny", &keys.deny, |said| said.deny.as_ref(), false),
    ];
    for (key, nets, of, allowed) in prefixes {
        for (index, net) in nets.iter().enumerate() {
            all.push((*net, allowed));
            finder.note(*net, allowed, key, || place(validator, of, Some(index)));
        }
    }
    let of_files = [
        ("allow-files", &keys.allow_files, said.allow_files.as_ref(), true),
        ("deny-files", &keys.deny_files, said.deny_files.as_ref(), false),
    ];
    let mut is_whole = true;
    for (key, paths, said, allowed) in of_files {
        for (index, path) in paths.iter().enumerate() {
            let beside = validator.beside(path);
            is_whole &= read(validator, key, path, item(said, index), &mut |net, line| {
                all.push((net, allowed));
                finder.note(net, allowed, key, || line.place(&beside));
            });
        }
    }
    let default = DecidingRule {
        prefix: None,
        allowed: keys.default,
        key: "default",
        place: place(validator, |said| said.default.as_ref(), None),
    };
    let made = || {
        (
            Access::of(all, keys.default, keys.on_deny, keys.mode),
            finder.finish(&default),
        )
    };
    is_whole.then(made)
}

/// A function that returns the value of a key, if it was written.
type ValueOf = fn(&RawAccess) -> Option<&RawValue>;

/// The place of a prefix in a file of them.
#[derive(Clone, Copy)]
struct LinePlace {
    line: usize,
    column: usize,
}

impl LinePlace {
    fn place(self, path: &Path) -> Place {
        Place::File {
            path: path.to_owned(),
            line: self.line,
            column: self.column,
        }
    }
}

fn item(said: Option<&RawValue>, index: usize) -> Option<&RawValue> {
    said.and_then(RawValue::as_list).and_then(|list| list.get(index))
}

/// Gives each prefix of a file, and its place, to `give`, and returns whether the file has no fault.
///
/// Without `said`, only the common table names the file: then its faults were told there already.
fn read(
    validator: &mut Validator<'_>,
    key: &str,
    path: &str,
    said: Option<&RawValue>,
    give: &mut dyn FnMut(IpNet, LinePlace),
) -> bool {
    let path = validator.beside(path);
    let parsed = validator
        .read(&path)
        .and_then(|lines| parse(&path, lines, give).map_err(|error| unreadable(&error)));
    match parsed {
        Ok(faults) => {
            let is_good = faults.is_empty();
            validator
                .faults
                .extend(faults.into_iter().filter(|_| said.is_some()));
            is_good
        }
        Err(why) => {
            if let Some(said) = said {
                let found = format!("\"{}\": {why}", excerpt(&path.to_string_lossy()));
                validator.fault(&said.origin, key, found, "", None);
            }
            false
        }
    }
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() == io::ErrorKind::InvalidData {
        true => "is not text in UTF-8".to_owned(),
        false => format!("cannot read: {error}"),
    }
}

/// Reads a prefix or an address from each line; text after `#` is a comment.
///
/// Only one line at a time is in memory.
fn parse(
    path: &Path,
    mut lines: impl BufRead,
    give: &mut dyn FnMut(IpNet, LinePlace),
) -> io::Result<Vec<Fault>> {
    let (mut faults, mut line, mut number) = (Vec::new(), String::new(), 0);
    loop {
        line.clear();
        number += 1;
        if lines.read_line(&mut line)? == 0 || faults.len() == MOST_FAULTS {
            return Ok(faults);
        }
        let words = line.split('#').next().unwrap_or_default().trim();
        if words.is_empty() {
            continue;
        }
        let place = LinePlace {
            line: number,
            column: line.chars().take_while(|c| c.is_whitespace()).count() + 1,
        };
        match address::prefix(words) {
            Ok(net) => give(net, place),
            Err(refusal) => faults.push(Fault {
                place: place.place(path),
                key: String::new(),
                found: format!("\"{}\"", excerpt(words)),
                expected: refusal.expected,
                hint: refusal.hint,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_prefix_a_line() {
        let text = "# ours\n\n192.0.2.0/24\n  2001:db8::/32 # theirs\r\n192.0.2.7\n";
        let mut shown = Vec::new();
        let faults = parse(Path::new("l"), text.as_bytes(), &mut |net, place| {
            shown.push(format!("{}:{} {net}", place.line, place.column));
        })
        .unwrap();
        assert_eq!(
            shown,
            ["3:1 192.0.2.0/24", "4:3 2001:db8::/32", "5:1 192.0.2.7/32"]
        );
        assert!(faults.is_empty());
    }

    #[test]
    fn what_is_wrong_in_a_list_is_placed_and_not_told_for_ever() {
        let faults_in = |text: &str| parse(Path::new("l"), text.as_bytes(), &mut |_, _| ()).unwrap();
        let faults = faults_in("192.0.2.0/33\n 192.0.2.1/24 # bits\n");
        let told: Vec<String> = faults.iter().map(Fault::to_string).collect();
        assert_eq!(
            told,
            [
                "l:1:1: found \"192.0.2.0/33\", expected an address, or a prefix such as \"192.0.2.0/24\" or \"2001:db8::/32\"",
                "l:2:2: found \"192.0.2.1/24\", expected a prefix without bits beyond its length; did you mean \"192.0.2.0/24\"?",
            ]
        );
        assert_eq!(faults_in(&"x\n".repeat(1000)).len(), MOST_FAULTS);
    }
}
