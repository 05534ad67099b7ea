//! The commands, a file each.

pub(crate) mod completions;
pub(crate) mod connect;
pub(crate) mod doctor;
pub(crate) mod get;
pub(crate) mod ls;
pub(crate) mod put;
pub(crate) mod serve;
