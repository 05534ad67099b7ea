//! One message for many: groups of connections, groups by key, and connections by who is behind them.

mod group;
mod groups;
mod owners;

pub use group::{Group, Receipt};
pub use groups::Groups;
pub use owners::{Claim, OnDuplicate, Owners};
