//! Lently's command line and HTTP server: the only crate that reads the environment and the only one that wires.
//!
//! A rule of the domain never lives here; it lives in `lently-service`.

pub mod config;

pub mod app;
pub mod tasks;

pub mod http;

pub mod cli;
pub mod report;
