//! Lently's command line and HTTP server.
fn main() {}
