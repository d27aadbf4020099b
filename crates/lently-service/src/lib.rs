//! What Lently caches, for how long, under which key and from where.
