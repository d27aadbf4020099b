//! Clients of the YouTube Data API v3 and Gemini, and readers of comment dumps.
