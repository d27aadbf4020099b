//! YouTube's Data API and Gemini on loopback, from comment dumps.
