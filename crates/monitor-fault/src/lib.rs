#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod blame;
mod category;
mod classify;
mod escalation;
mod fault;
mod http;
mod layer;
mod name;
mod policies;
mod policy;
mod reason;
mod smtp;
mod sqlstate;
mod streaks;
mod text;
mod verdict;
#[cfg(feature = "serde")]
mod wire;

pub use crate::{
    blame::Blame,
    category::{Category, CoarseCategory},
    escalation::{AlertChange, Escalation},
    fault::{Fault, MAX_DETAIL},
    layer::Layer,
    name::UnknownName,
    policies::{Policies, PolicyError},
    policy::{AlertStep, CategoryPolicy, OnSwitch, Then, policy_for},
    reason::Reason,
    streaks::CategoryStreaks,
};
