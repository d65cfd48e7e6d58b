//! The record of what was served, and what is made of it.
//!
//! A file is of an hour: `line`s of JSON in gzip `members`, named by its number and hour (`segment`); each begins with the
//! SHA-256 of the one before (`chain`). What is made of the lines: a `moment`, `events`, `curves` with their `overview` and
//! `picture`, `csv`, the `report` on a month. `ring` is the memory of the running server (all pure).
//!
//! `observer` finds what is to be recorded (pure); the `recorder` is a thread that writes it to a `folder`; and `files`
//! reads it again.

pub mod chain;
pub mod csv;
pub mod curves;
pub mod events;
pub mod files;
pub mod folder;
pub mod line;
pub mod members;
pub mod moment;
pub mod observer;
pub mod overview;
pub mod page;
pub mod picture;
mod printable;
pub mod recorder;
pub mod report;
pub mod ring;
pub mod segment;
pub mod span;
pub mod stamp;
pub mod writer;
