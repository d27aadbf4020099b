//! A two-tier application cache: memory in front of Redis or a disk file.
