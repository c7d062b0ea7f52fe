#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod blame;
mod category;
mod classify;
mod fault;
mod http;
mod layer;
mod name;
mod policy;
mod reason;
mod smtp;
mod text;
mod verdict;

pub use blame::Blame;
pub use category::{Category, CoarseCategory};
pub use fault::{Fault, MAX_DETAIL};
pub use layer::Layer;
pub use name::UnknownName;
pub use policy::{CategoryPolicy, Then, policy_for};
pub use reason::Reason;
