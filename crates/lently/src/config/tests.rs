//! The configuration: defaults, refusals that name the variable, and documents that list every one.

use super::*;

fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let home = [("HOME", "/somewhere")];
    Config::from_env(&Env::from_pairs(home.iter().chain(pairs).copied()))
}

#[test]
fn nothing_set_at_all_is_usable() {
    let config = config(&[]).expect("a configuration");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.data_dir, PathBuf::from("/somewhere/.local/share/lently"));
    assert!(matches!(config.cache.remote, RemoteConfig::Disk { ref path, .. }
        if path == &PathBuf::from("/somewhere/.cache/lently/cache.db")));
    assert_eq!(config.database_url.expose_secret(), "sqlite:/somewhere/.local/share/lently/lently.db");
    assert!(config.gemini.is_none() && config.admin_key.is_none() && config.youtube.api_key.is_none());
    assert!(config.warnings.is_empty());
}

#[test]
fn a_directory_of_xdg_is_used_and_a_relative_one_is_not() {
    let found =
        config(&[("XDG_DATA_HOME", "/data"), ("XDG_CACHE_HOME", "relative")]).expect("a configuration");
    assert_eq!(found.data_dir, PathBuf::from("/data/lently"));
    assert_eq!(found.cache_dir, PathBuf::from("/somewhere/.cache/lently"));
    let error = Config::from_env(&Env::from_pairs([("PATH", "/bin")])).expect_err("no home");
    assert_eq!(error.variable, "LENTLY_DATA_DIR");
}

#[test]
fn redis_is_read_from_its_parts_or_from_one_url() {
    let parts = [("REDIS_HOST", "cache"), ("REDIS_PASSWORD", "hunter2"), ("REDIS_CA_FILE", "/ca.pem")];
    let RemoteConfig::Redis(redis) = config(&parts).expect("a configuration").cache.remote else {
        panic!("not Redis");
    };
    assert_eq!((redis.address().as_str(), redis.max_connections), ("cache:6379", 2));
    assert_eq!(redis.tls.expect("TLS").ca_file, Some(PathBuf::from("/ca.pem")));

    let url = [("REDIS_URL", "rediss://u:p@cache:1234/3"), ("REDIS_COMMAND_TIMEOUT_MS", "100")];
    let RemoteConfig::Redis(redis) = config(&url).expect("a configuration").cache.remote else {
        panic!("not Redis");
    };
    assert_eq!((redis.address().as_str(), redis.db, redis.tls.is_some()), ("cache:1234", 3, true));
    assert_eq!(redis.command_timeout, Duration::from_millis(100));

    let url = [
        ("REDIS_URL", "redis+sentinel://u:p@one:1,two:2/primary"),
        ("REDIS_SENTINEL_PASSWORD", "hunter2"),
        ("REDIS_PORT", "6379"),
        ("REDIS_CA_FILE", "/ca.pem"),
        ("REDIS_TLS", "true"),
    ];
    let RemoteConfig::Redis(redis) = config(&url).expect("a configuration").cache.remote else {
        panic!("not Redis");
    };
    assert_eq!(redis.address(), "primary of Sentinel one:1,two:2");
    let Deployment::Sentinel(sentinel) = redis.deployment else { panic!("not Sentinel") };
    assert!(sentinel.password.is_some() && redis.tls.is_some());

    let url = [("REDIS_URL", "rediss+cluster://u:p@one:1,two:2"), ("REDIS_PORT", "6379")];
    let RemoteConfig::Redis(redis) = config(&url).expect("a configuration").cache.remote else {
        panic!("not Redis");
    };
    assert_eq!((redis.address().as_str(), redis.tls.is_some()), ("cluster one:1,two:2", true));
}

#[test]
fn a_wrong_value_is_refused_with_its_variable_and_what_it_may_be() {
    let rows = [
        ("REDIS_PORT", "70000", "1 to 65535"),
        ("REDIS_MAX_CONNECTIONS", "21", "1 to 20"),
        ("REDIS_TLS", "maybe", "`true` or `false`"),
        ("REDIS_DB", "-1", "0 to 255"),
        ("LENTLY_LISTEN", "localhost", "127.0.0.1:8000"),
        ("LENTLY_TTL_COMMENTS_SECONDS", "0", "0.001 to 2419200"),
        ("LENTLY_TTL_COMMENTS_SECONDS", "NaN", "0.001 to 2419200"),
        ("LENTLY_TTL_QUOTA_SECONDS", "86401", "0.001 to 86400"),
        ("LENTLY_CACHE_TIER", "floppy", "`disk`"),
        ("LENTLY_KEY_PREFIX", "a b", "without spaces"),
        ("LENTLY_MEMORY_BYTES", "64MB", "whole number"),
        ("LENTLY_MAX_RUNNING", "0", "1 to 256"),
        ("LENTLY_DEFAULT_PLAN", "gold", "`business`"),
        ("LENTLY_HTTP_WAIT_SECONDS", "121", "0 to 120"),
        ("LENTLY_LOG", "a=b=c", "level"),
        ("LENTLY_LOG", "verbose", "level"),
        ("LENTLY_MEMORY_BYTES", "1048576", "LENTLY_MAX_VALUE_BYTES"),
        ("LENTLY_LOG_FORMAT", "xml", "`json`"),
        ("YOUTUBE_BASE_URL", "youtube.example.com", "https://"),
        ("GEMINI_BASE_URL", "https://x.example/?key=1", "https://"),
        ("GEMINI_MODEL", "../x", "gemini"),
        ("DATABASE_URL", "postgres://u:hunter2@db/lently", "sqlite:"),
    ];
    for (name, value, remedy) in rows {
        // A wrong value of Redis' does not wait for a Redis to be named.
        for other in [("REDIS_HOST", "cache"), ("LENTLY_LOG_FORMAT", "text")] {
            let error = config(&[other, (name, value)]).expect_err(name);
            assert_eq!(error.variable, name);
            let told = error.to_string();
            assert!(told.starts_with(name) && told.contains(remedy) && !told.contains("hunter2"), "{told}");
        }
    }
}

#[test]
fn what_belongs_to_a_redis_that_is_not_named_is_refused_unless_none_is_meant() {
    for (name, value) in [
        ("REDIS_PORT", "6379"),
        ("REDIS_USERNAME", "lently"),
        ("REDIS_PASSWORD", "hunter2"),
        ("REDIS_DB", "1"),
        ("REDIS_TLS", "true"),
        ("REDIS_CA_FILE", "/ca.pem"),
    ] {
        let told = config(&[(name, value)]).expect_err(name).to_string();
        assert!(told.starts_with(name) && told.contains("REDIS_HOST") && !told.contains("hunter2"), "{told}");
        for tier in ["disk", "none"] {
            assert!(config(&[(name, value), ("LENTLY_CACHE_TIER", tier)]).is_ok(), "{name} with {tier}");
        }
    }
    for tuned in ["REDIS_MAX_CONNECTIONS", "REDIS_CONNECT_TIMEOUT_MS"] {
        let found = config(&[(tuned, "10")]).expect("a configuration").cache.remote;
        assert!(matches!(found, RemoteConfig::Disk { .. }), "{tuned} names no Redis");
    }
}

#[test]
fn what_kubernetes_tells_of_a_service_is_no_setting_of_ours() {
    let links = [
        ("REDIS_SERVICE_HOST", "10.0.0.11"),
        ("REDIS_SERVICE_PORT", "6380"),
        ("REDIS_PORT", "tcp://10.0.0.11:6380"),
        ("REDIS_PORT_6380_TCP_ADDR", "10.0.0.11"),
        ("LENTLY_SERVICE_HOST", "10.0.0.12"),
        ("LENTLY_SERVICE_PORT_HTTP", "8000"),
        ("LENTLY_PORT", "tcp://10.0.0.12:8000"),
        ("LENTLY_PORT_8000_TCP", "tcp://10.0.0.12:8000"),
    ];
    let alone = config(&links).expect("a configuration");
    assert!(
        matches!(alone.cache.remote, RemoteConfig::Disk { .. }),
        "a service is not a Redis that was named"
    );
    assert_eq!(alone.warnings, Vec::<String>::new());
    let named = config(&[&links[..], &[("REDIS_HOST", "redis")]].concat()).expect("a configuration");
    let RemoteConfig::Redis(redis) = named.cache.remote else { panic!("not Redis") };
    assert_eq!(redis.address(), "redis:6379");
    // A port that somebody set is one.
    let set = [("REDIS_SERVICE_HOST", "10.0.0.11"), ("REDIS_HOST", "redis"), ("REDIS_PORT", "6380")];
    let RemoteConfig::Redis(redis) = config(&set).expect("a configuration").cache.remote else {
        panic!("not Redis")
    };
    assert_eq!(redis.address(), "redis:6380");
}

#[test]
fn what_contradicts_itself_is_refused() {
    for pairs in [
        &[("REDIS_URL", "redis://a"), ("REDIS_HOST", "b")][..],
        &[("REDIS_HOST", "b"), ("REDIS_CA_FILE", "/ca.pem"), ("REDIS_TLS", "false")],
        &[("REDIS_URL", "rediss://cache"), ("REDIS_TLS", "false")],
        &[("REDIS_URL", "redis://cache"), ("REDIS_SENTINEL_PASSWORD", "hunter2")],
        &[("REDIS_HOST", "cache"), ("REDIS_SENTINEL_USERNAME", "lently")],
        &[("REDIS_URL", "redis+cluster://cache"), ("REDIS_DB", "1")],
        &[("LENTLY_CACHE_TIER", "redis")],
        &[("ADMIN_API_KEY", "a long enough key"), ("ADMIN_API_KEY_FILE", "/key")],
    ] {
        assert!(config(pairs).is_err(), "{pairs:?}");
    }
}

#[test]
fn a_secret_is_never_in_what_is_told() {
    let secret = "hunter2-hunter2";
    for name in ["ADMIN_API_KEY", "REDIS_URL", "DATABASE_URL"] {
        let told = config(&[(name, secret)]).expect_err(name).to_string();
        assert!(told.starts_with(name) && !told.contains("hunter2"), "{told}");
    }
    let config = config(&[("ADMIN_API_KEY", "hunter2-hunter2-hunter2"), ("YOUTUBE_API_KEY", "hunter2")]);
    assert!(!format!("{:?}", config.expect("a configuration")).contains("hunter2"));
}

#[test]
fn a_secret_is_read_from_the_file_that_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("key");
    let read = |text: &str| {
        std::fs::write(&file, text).expect("a writable file");
        config(&[("YOUTUBE_API_KEY_FILE", file.to_str().expect("a path in UTF-8"))])
    };
    let found = read("from-a-file\n").expect("a configuration").youtube.api_key.expect("a key");
    assert_eq!(found.expose_secret(), "from-a-file");
    assert_eq!(read("\n").expect_err("an empty file").variable, "YOUTUBE_API_KEY_FILE");
    assert_eq!(read("two\nlines").expect_err("two lines").variable, "YOUTUBE_API_KEY");
    std::fs::remove_file(&file).expect("a removable file");
    let gone = config(&[("YOUTUBE_API_KEY_FILE", file.to_str().expect("a path in UTF-8"))]);
    assert!(gone.expect_err("no file").to_string().contains("names `"));
}

#[test]
fn an_empty_value_counts_as_not_set_but_for_the_prefix() {
    let found = config(&[("REDIS_HOST", ""), ("REDIS_PASSWORD", " "), ("LENTLY_KEY_PREFIX", "")]);
    let found = found.expect("a configuration");
    assert!(matches!(found.cache.remote, RemoteConfig::Disk { .. }));
    assert_eq!(found.cache.key_prefix, "");
}

#[test]
fn an_unknown_variable_of_ours_is_warned_about() {
    let pairs = [("LENTLY_TTL_COMENTS_SECONDS", "1"), ("LENTLY_REAL_DATA", "/x"), ("OTHER", "x")];
    let warnings = config(&pairs).expect("a configuration").warnings;
    assert_eq!(warnings, ["LENTLY_TTL_COMENTS_SECONDS is set and means nothing to Lently"]);
}

#[test]
fn traces_go_where_the_standard_variables_say_and_nowhere_by_default() {
    let traces = |pairs: &[(&str, &str)]| config(pairs).expect("a configuration").traces;
    // Other programs' settings, as long as nobody names a place for ours.
    let others = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_TRACES_SAMPLER", "xray")];
    assert!(traces(&others).is_none());
    let place = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        assert!(traces(&[place, off]).is_none());
    }
    let found = traces(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/behind/"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2, x-other=a%20b"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=hunter3"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=theirs,host.name=a%2Cb"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
    ])
    .expect("a place");
    assert_eq!(found.endpoint.as_str(), "http://collector:4318/behind/v1/traces");
    assert_eq!(found.headers["api-key"], "hunter3");
    assert_eq!(found.headers["x-other"], "a b");
    assert_eq!((found.timeout, found.batch_spans), (Duration::from_millis(500), 100));
    let told = [("host.name", "a,b"), ("service.name", "mine")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(found.resource, told);
    assert!(format!("{:?}", found.sampler).contains("TraceIdRatioBased(0.25)"));
    assert!(!format!("{found:?}").contains("hunter"), "{found:?}");

    let secret = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector:9/hunter4");
    let shown = format!("{:?}", traces(&[secret]));
    assert!(shown.contains("https://collector:9") && !shown.contains("hunter"), "{shown}");

    let exact = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector/as-it-is");
    let found = traces(&[place, exact]).expect("a place");
    assert_eq!(found.endpoint.as_str(), "https://collector/as-it-is");
    assert_eq!(found.resource, [("service.name".to_owned(), "lently".to_owned())]);
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=hunter2"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=x"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4096"),
    ] {
        let told = config(&[place, (name, value)]).expect_err(name).to_string();
        assert!(told.starts_with(name) && !told.contains("hunter"), "{told}");
    }
    let ratio = [place, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
    assert_eq!(config(&ratio).expect_err("no ratio").variable, "OTEL_TRACES_SAMPLER_ARG");
}

/// The defaults in the table of variables are what the code does: setting each to it changes nothing.
#[test]
fn every_stated_default_is_the_default() {
    let stated = VARIABLES.iter().filter(|one| one.default != "none" && !one.default.starts_with('$'));
    // With a Redis, whose variables would otherwise ask for one, and a place for traces, without which theirs are not read.
    let places = [("REDIS_HOST", "cache"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector")];
    let pairs: Vec<_> = stated.map(|one| (one.name, one.default)).chain(places).collect();
    assert_eq!(
        format!("{:?}", config(&pairs).expect("a configuration")),
        format!("{:?}", config(&places).expect("a configuration"))
    );
}

#[test]
fn every_variable_that_is_read_is_in_the_table() {
    let source = concat!(
        include_str!("../config.rs"),
        include_str!("traces.rs"),
        include_str!("../../../lently-service/src/keys.rs")
    );
    let words = source.split('"').filter(|word| word.len() > 5);
    let variable =
        |word: &&str| word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    for word in words.filter(variable).filter(|word| !word.starts_with("XDG_")) {
        assert!(VARIABLES.iter().any(|one| one.name == word), "{word} is read and not listed");
    }
}

#[test]
fn the_documents_list_every_variable_with_its_default_and_no_other() {
    let reference = include_str!("../../../../docs/configuration.md");
    let example = include_str!("../../../../.env.example");
    for Variable { name, default, secret } in VARIABLES {
        let cell = if *default == "none" { "none".to_owned() } else { format!("`{default}`") };
        let row = format!("| `{name}` | {cell} | ");
        let line = reference.lines().find(|line| line.starts_with(&row));
        assert_eq!(
            line.map(|line| line.contains("**secret**")),
            Some(*secret),
            "docs/configuration.md: {row}"
        );
        let value = if *default == "none" || default.starts_with('$') { "" } else { default };
        let line = format!("# {name}={value}");
        assert!(example.lines().any(|one| one == line), ".env.example: {line}");
    }
    let listed = |text: &str, before: &str| text.lines().filter(|line| line.starts_with(before)).count();
    let rows = ["| `YOUTUBE", "| `GEMINI", "| `ADMIN", "| `REDIS", "| `LENTLY", "| `DATABASE", "| `OTEL"];
    assert_eq!(rows.iter().map(|row| listed(reference, row)).sum::<usize>(), VARIABLES.len());
}

#[test]
fn budgets_are_read_and_refused_with_their_range() {
    let found = config(&[
        ("LENTLY_YOUTUBE_UNITS_PER_DAY", "50000"),
        ("LENTLY_YOUTUBE_KEPT_RATIO", "0.5"),
        ("LENTLY_GEMINI_DOLLARS_PER_DAY", "1.25"),
    ]);
    let budgets = found.expect("a configuration").budgets;
    assert_eq!((budgets.shared_units, budgets.search_units), (50_000, 100));
    assert_eq!((budgets.kept_share, budgets.gemini_micro_dollars), (0.5, Some(1_250_000)));
    assert_eq!(budgets.freshness.to_string(), "25:2,10:4:pause,2:all:pause");
    let none = config(&[("LENTLY_FRESHNESS_STEPS", "off")]).expect("a configuration").budgets;
    assert!(none.freshness.steps().is_empty());
    for (name, value) in [
        ("LENTLY_FRESHNESS_STEPS", "10:2,25:4"),
        ("LENTLY_FRESHNESS_STEPS", "25:0.5"),
        ("LENTLY_YOUTUBE_UNITS_PER_DAY", "-1"),
        ("LENTLY_YOUTUBE_KEPT_RATIO", "1.5"),
        ("LENTLY_YOUTUBE_KEPT_RATIO", "NaN"),
        ("LENTLY_GEMINI_DOLLARS_PER_DAY", "inf"),
        ("LENTLY_PRICES_FILE", "/nowhere/prices.json"),
    ] {
        let error = config(&[(name, value)]).expect_err("a refusal");
        assert_eq!(error.variable, name);
    }
}
