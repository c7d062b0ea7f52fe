#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod config;
mod daemon;
mod demo;
pub mod server;
mod terminal;
mod view;
