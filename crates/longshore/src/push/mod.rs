//! One message for many: groups of connections, and groups by key.

mod group;
mod groups;

pub use group::{Group, Receipt};
pub use groups::Groups;
