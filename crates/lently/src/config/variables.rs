//! Every variable that Lently reads, with its default: what the reference in `docs/`, `.env.example` and the warning
//! about unknown names are checked against. Reads nothing itself.

/// One variable of the environment.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What holds where it is not set; for people, as the reference writes it.
    pub default: &'static str,
    /// Whether its value is a secret: then `NAME_FILE` may name a file instead, and the value is never shown.
    pub secret: bool,
}

const fn plain(name: &'static str, default: &'static str) -> Variable {
    Variable { name, default, secret: false }
}

const fn secret(name: &'static str) -> Variable {
    Variable { name, default: "none", secret: true }
}

/// All variables, in the order of the reference.
pub const VARIABLES: &[Variable] = &[
    secret("YOUTUBE_API_KEY"),
    secret("YOUTUBE_OAUTH_TOKEN"),
    plain("YOUTUBE_BASE_URL", "https://youtube.googleapis.com/"),
    plain("YOUTUBE_TIMEOUT_SECONDS", "15"),
    secret("GEMINI_API_KEY"),
    plain("GEMINI_BASE_URL", "https://generativelanguage.googleapis.com/"),
    plain("GEMINI_MODEL", "gemini-3.5-flash-lite"),
    plain("GEMINI_TIMEOUT_SECONDS", "60"),
    plain("LENTLY_YOUTUBE_UNITS_PER_DAY", "10000"),
    plain("LENTLY_YOUTUBE_STATS_UNITS_PER_DAY", "10000"),
    plain("LENTLY_YOUTUBE_SEARCH_UNITS_PER_DAY", "100"),
    plain("LENTLY_YOUTUBE_KEPT_RATIO", "0.2"),
    plain("LENTLY_FRESHNESS_STEPS", "25:2,10:4:pause,2:all:pause"),
    plain("LENTLY_GEMINI_DOLLARS_PER_DAY", "none"),
    plain("LENTLY_PRICES_FILE", "none"),
    secret("ADMIN_API_KEY"),
    secret("REDIS_URL"),
    plain("REDIS_HOST", "none"),
    plain("REDIS_PORT", "6379"),
    plain("REDIS_USERNAME", "none"),
    secret("REDIS_PASSWORD"),
    plain("REDIS_SENTINEL_USERNAME", "none"),
    secret("REDIS_SENTINEL_PASSWORD"),
    plain("REDIS_DB", "0"),
    plain("REDIS_TLS", "false"),
    plain("REDIS_CA_FILE", "none"),
    plain("REDIS_MAX_CONNECTIONS", "2"),
    plain("REDIS_CONNECT_TIMEOUT_MS", "1000"),
    plain("REDIS_COMMAND_TIMEOUT_MS", "250"),
    plain("LENTLY_CACHE_TIER", "auto"),
    plain("LENTLY_KEY_PREFIX", "lently:"),
    plain("LENTLY_MEMORY_BYTES", "67108864"),
    plain("LENTLY_DISK_BYTES", "1073741824"),
    plain("LENTLY_MAX_VALUE_BYTES", "33554432"),
    plain("LENTLY_TTL_ANALYSIS_SECONDS", "3600"),
    plain("LENTLY_TTL_COMMENTS_SECONDS", "1800"),
    plain("LENTLY_TTL_VIDEO_SECONDS", "3600"),
    plain("LENTLY_TTL_TRANSCRIPT_SECONDS", "7200"),
    plain("LENTLY_TTL_QUOTA_SECONDS", "300"),
    plain("LENTLY_TTL_VERDICT_SECONDS", "2419200"),
    plain("LENTLY_TTL_SUMMARY_SECONDS", "2419200"),
    plain("LENTLY_ANALYSIS_TIMEOUT_SECONDS", "900"),
    plain("LENTLY_COMMENTS_TIMEOUT_SECONDS", "600"),
    plain("LENTLY_FETCH_TIMEOUT_SECONDS", "60"),
    plain("LENTLY_DATA_DIR", "$XDG_DATA_HOME/lently"),
    plain("LENTLY_CACHE_DIR", "$XDG_CACHE_HOME/lently"),
    secret("DATABASE_URL"),
    plain("LENTLY_MAX_RUNNING", "4"),
    plain("LENTLY_MAX_QUEUED", "64"),
    plain("LENTLY_DEFAULT_PLAN", "unlimited"),
    plain("LENTLY_LISTEN", "127.0.0.1:8000"),
    plain("LENTLY_HTTP_BODY_BYTES", "1048576"),
    plain("LENTLY_HTTP_TIMEOUT_SECONDS", "120"),
    plain("LENTLY_HTTP_WAIT_SECONDS", "60"),
    plain("LENTLY_HTTP_MAX_REQUESTS", "512"),
    plain("LENTLY_HTTP_MAX_CONNECTIONS", "2048"),
    plain("LENTLY_SHUTDOWN_SECONDS", "20"),
    plain("LENTLY_LOG", "info"),
    plain("LENTLY_LOG_FORMAT", "text"),
    plain("OTEL_EXPORTER_OTLP_ENDPOINT", "none"),
    plain("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "none"),
    secret("OTEL_EXPORTER_OTLP_HEADERS"),
    secret("OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
    plain("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    plain("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "none"),
    plain("OTEL_EXPORTER_OTLP_TIMEOUT", "10000"),
    plain("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "none"),
    plain("OTEL_SERVICE_NAME", "lently"),
    plain("OTEL_RESOURCE_ATTRIBUTES", "none"),
    plain("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
    plain("OTEL_TRACES_SAMPLER_ARG", "1"),
    plain("OTEL_BSP_SCHEDULE_DELAY", "5000"),
    plain("OTEL_BSP_MAX_QUEUE_SIZE", "2048"),
    plain("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512"),
    plain("OTEL_TRACES_EXPORTER", "otlp"),
    plain("OTEL_SDK_DISABLED", "false"),
];

/// Names of variables that begin with `LENTLY_` and belong to the tests or are spelled wrong are told apart here.
pub(super) fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let known = |name: &str| {
        VARIABLES.iter().any(|variable| {
            name == variable.name || (variable.secret && name.strip_suffix("_FILE") == Some(variable.name))
        })
    };
    names.filter(|name| name.starts_with("LENTLY_") && *name != "LENTLY_REAL_DATA" && !known(name)).collect()
}
