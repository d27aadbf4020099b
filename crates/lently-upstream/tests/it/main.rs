//! The crate from outside: over loopback HTTP, and on real files.

mod dumps;
mod gemini;
mod real_data;
mod upstream;
mod youtube;
