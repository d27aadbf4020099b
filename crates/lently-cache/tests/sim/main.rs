//! The cache as a whole in a world of its own: time, network and Redis are simulated, and every run can be had again.

mod differential;
mod server;
