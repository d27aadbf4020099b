//! Comments in, verdicts and a report out; pure, without I/O.
