//! The crate from outside: over loopback HTTP, and on real files.

mod real_data;
