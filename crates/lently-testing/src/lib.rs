//! Real Redis processes and a proxy that cuts wires, for Lently's tests.
