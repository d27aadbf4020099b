//! Gemini as the engine: what it judges, and what happens to comments it does not.
