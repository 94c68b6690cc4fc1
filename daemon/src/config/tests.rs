use std::{collections::BTreeSet, ffi::OsString, os::unix::ffi::OsStringExt};

use super::{
    Config, Flag, Layers, Mistakes, Settings,
    key::{Key, Value},
    reference,
};

type Failed = Box<dyn std::error::Error>;

#[test]
fn later_layers_are_stronger() -> Result<(), Failed> {
    let file = "grace_seconds = 1\n[limits]\npayload_bytes = 1\ngroup_requests = 1\n";
    let variables = [("POSTRIDER_GRACE_SECONDS", "2"), ("POSTRIDER_LIMITS_PAYLOAD_BYTES", "2_000")];
    let settings = load(file, &variables, &["grace_seconds=3"])?;
    let config = &settings.config;
    assert_eq!(config.general.grace_seconds, 3);
    assert_eq!(config.limits.payload_bytes, 2000);
    assert_eq!(config.limits.group_requests, 1);
    assert_eq!(config.limits.waiting_requests, 1024);
    let printed = settings.print();
    for line in [
        "grace_seconds = 3  # --set grace_seconds",
        "payload_bytes = 2000  # POSTRIDER_LIMITS_PAYLOAD_BYTES",
        "group_requests = 1  # postrider.toml:4",
        "waiting_requests = 1024  # default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} in\n{printed}");
    }
    Ok(())
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    check(
        "[limits]\npayload_byte = 1",
        &[],
        &[],
        "postrider.toml:2: unknown key `limits.payload_byte`; the nearest known key is `limits.payload_bytes`",
    );
    check(
        "\n\npayload_bytes = 1",
        &[],
        &[],
        "postrider.toml:3: unknown key `payload_bytes`; the nearest known key is `limits.payload_bytes`",
    );
    check(
        "[limit]\npayload_bytes = 1",
        &[],
        &[],
        "postrider.toml:2: unknown key `limit.payload_bytes`; the nearest known key is `limits.payload_bytes`",
    );
    check(
        "colour_of_the_sky = 1",
        &[],
        &[],
        "postrider.toml:1: unknown key `colour_of_the_sky`; `postrider config` shows all that are known",
    );
    check("[target]", &[], &[], "postrider.toml:1: unknown key `target`; the nearest known key is ");
    check("limits = 3", &[], &[], "postrider.toml:1: unknown key `limits`; the nearest known key is ");
    check(
        "log.levle = 'info'",
        &[],
        &[],
        "postrider.toml:1: unknown key `log.levle`; the nearest known key is `log.level`",
    );
    // Also where a section has a key of the same name.
    check("listn = 'x'", &[], &[], "postrider.toml:1: unknown key `listn`; the nearest known key is `listen`");
    check(
        "",
        &[("POSTRIDER_LISTN", "x")],
        &[],
        "POSTRIDER_LISTN: unknown variable; the nearest known one is `POSTRIDER_LISTEN`",
    );
    check(
        "",
        &[],
        &["grace_second=1"],
        "--set grace_second: unknown key `grace_second`; the nearest known key is `grace_seconds`",
    );
}

#[test]
fn a_wrong_value_is_refused_with_what_it_takes() {
    check(
        "grace_seconds = 0",
        &[],
        &[],
        "postrider.toml:1: grace_seconds cannot be 0; give a whole number of seconds from 1 to 3600",
    );
    check(
        "grace_seconds = '5'",
        &[],
        &[],
        "postrider.toml:1: grace_seconds cannot be \"5\"; give a whole number of seconds from 1 to 3600",
    );
    check("grace_seconds = 99999999999999999999999", &[], &[], "grace_seconds cannot be 99999999999999999999999;");
    check("grace_seconds = 1.5", &[], &[], "grace_seconds cannot be a float;");
    check(
        "[limits.payload_bytes]\nmax = 3",
        &[],
        &[],
        "limits.payload_bytes cannot be a table; give a whole number of bytes",
    );
    check(
        "",
        &[("POSTRIDER_GRACE_SECONDS", "3601")],
        &[],
        "POSTRIDER_GRACE_SECONDS: grace_seconds cannot be `3601`; give",
    );
    check("", &[("POSTRIDER_DATA", "")], &[], "POSTRIDER_DATA: data cannot be empty; give a path");
    check("dev = 1", &[], &[], "dev cannot be 1; give true or false");
    check("", &[], &["storage=redb"], "--set storage: storage cannot be `redb`; give one of fjall, sled, memory");
    check(
        "listen = 'localhost'",
        &[],
        &[],
        "listen cannot be \"localhost\"; give an address and a port, such as 127.0.0.1:8071",
    );
    check(
        "targets.allow_targets = ['10.0.0.0/8', 7]",
        &[],
        &[],
        "cannot be [\"10.0.0.0/8\", 7]; give a list of networks",
    );
    check("targets.allow_targets = ['10.0.0.0/33']", &[], &[], "give a list of networks");
    check("log.level = 'inof'", &[], &[], "log.level cannot be \"inof\"; give error, warn, info");
    check("", &[], &["grace_seconds"], "--set grace_seconds: write it as KEY=VALUE");
    check("a = ", &[], &[], "postrider.toml:1: ");
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let told = failure("b = 1\na = 1\n[limits]\npayload_bytes = 0", &[("POSTRIDER_X", "1")], &["y=1"]);
    let places: Vec<_> = told.lines().map(|line| line.trim().split(": ").next().unwrap_or_default()).collect();
    let expected = [
        "the configuration has 5 mistakes",
        "postrider.toml:1",
        "postrider.toml:2",
        "postrider.toml:4",
        "POSTRIDER_X",
        "--set y",
    ];
    assert_eq!(places, expected, "{told}");
}

#[test]
fn an_unreadable_file_is_named() {
    let layers = Layers { file: Some("/nowhere/postrider.toml".into()), ..Layers::default() };
    let told = layers.load().map_or_else(|mistakes| mistakes.to_string(), |_| String::new());
    assert!(told.starts_with("could not read the configuration file /nowhere/postrider.toml: "), "{told}");
}

/// Repaired with replacement characters it would name another folder.
#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    let environment = vec![("POSTRIDER_DATA".into(), OsString::from_vec(vec![b'/', 0xff]))];
    let told = Layers { environment, ..Layers::default() }.load().map_or_else(|it| it.to_string(), |_| String::new());
    assert_eq!(told, "POSTRIDER_DATA: data cannot be a value that is not UTF-8; give a path");
}

#[test]
fn secrets_are_neither_shown_nor_taken_from_the_command_line() -> Result<(), Failed> {
    let secret = "a-secret-that-nobody-may-see";
    let settings = load("", &[("POSTRIDER_JWT_SECRET", secret)], &[])?;
    let shown = format!("{}{:?}", settings.print(), settings);
    assert!(!shown.contains(secret), "{shown}");
    assert!(shown.contains("# jwt_secret is set and hidden  # POSTRIDER_JWT_SECRET"), "{shown}");
    assert_eq!(settings.config.general.jwt_secret.as_ref().map(|it| it.expose()), Some(secret));

    let told = failure(&format!("jwt_secret = ['{secret}']"), &[], &[]);
    assert!(told.contains("jwt_secret cannot be") && !told.contains(secret), "{told}");
    let told = failure("", &[], &[&format!("jwt_secret={secret}")]);
    assert!(told.contains("the command line can be read by others") && !told.contains(secret), "{told}");
    Ok(())
}

#[test]
fn a_secret_in_two_places_is_a_mistake() {
    check(
        "jwt_secret_file = 'x'",
        &[("POSTRIDER_JWT_SECRET", "x")],
        &[],
        "`jwt_secret` (POSTRIDER_JWT_SECRET) and `jwt_secret_file` (postrider.toml:1) are both set; remove one",
    );
}

#[test]
fn keys_of_tokens_are_those_of_their_algorithm() -> Result<(), Failed> {
    let with = |algorithm: &str, rest: &str| format!("tokens.algorithm = '{algorithm}'\n{rest}");
    let public = "tokens.public_key_file = 'x'";
    for algorithm in ["RS256", "RS384", "RS512", "EdDSA"] {
        let needs = "`tokens.algorithm` (postrider.toml:1) needs `tokens.public_key_file`; set it, too";
        check(&with(algorithm, ""), &[], &[], needs);
        load(&with(algorithm, public), &[("POSTRIDER_TOKENS_PRIVATE_KEY_FILE", "y")], &[])?;
        let of_no_use = format!(
            "`jwt_secret` (POSTRIDER_JWT_SECRET) is of no use with tokens.algorithm = \"{algorithm}\"; remove it, or"
        );
        check(&with(algorithm, public), &[("POSTRIDER_JWT_SECRET", "x")], &[], &of_no_use);
    }
    for algorithm in ["HS256", "HS384", "HS512"] {
        load(&with(algorithm, "jwt_secret_file = 'x'"), &[], &[])?;
        for file in ["tokens.public_key_file", "tokens.private_key_file"] {
            let of_no_use = format!("`{file}` (postrider.toml:2) is of no use with tokens.algorithm = \"{algorithm}\"");
            check(&with(algorithm, &format!("{file} = 'x'")), &[], &[], &of_no_use);
        }
    }
    check(&with("none", ""), &[], &[], "give one of HS256, HS384, HS512, RS256, RS384, RS512, EdDSA");
    Ok(())
}

#[test]
fn what_may_come_must_fit_into_what_it_comes_in() {
    let low = "`limits.body_bytes` (default) must be at least `limits.payload_bytes` (postrider.toml:2)";
    check("[limits]\npayload_bytes = 8_000_000", &[], &[], low);
    let low = "`limits.batch_bytes` (POSTRIDER_LIMITS_BATCH_BYTES) must be at least `limits.body_bytes` (default)";
    check("", &[("POSTRIDER_LIMITS_BATCH_BYTES", "2000")], &[], low);
}

#[test]
fn a_certificate_needs_its_key() -> Result<(), Failed> {
    let needs = "`tls.cert_file` (postrider.toml:1) needs `tls.key_file`; set it, too";
    check("tls.cert_file = 'x'", &[], &[], needs);
    let needs = "`tls.key_file` (POSTRIDER_TLS_KEY_FILE) needs `tls.cert_file`; set it, too";
    check("", &[("POSTRIDER_TLS_KEY_FILE", "x")], &[], needs);
    load("tls.cert_file = 'x'", &[("POSTRIDER_TLS_KEY_FILE", "x")], &[])?;
    Ok(())
}

#[test]
fn only_https_and_public_targets_unless_dev() -> Result<(), Failed> {
    let config = load("", &[], &[])?.config;
    assert!(config.targets.https_only && config.targets.allow_targets.is_empty());

    let settings = load("", &[], &["dev=true"])?;
    assert!(!settings.config.targets.https_only);
    let networks = ["127.0.0.0/8".parse()?, "::1/128".parse()?];
    assert_eq!(settings.config.targets.allow_targets, networks);
    let printed = settings.print();
    assert!(printed.contains("https_only = false  # dev\n"), "{printed}");
    assert!(printed.contains("allow_targets = [\"127.0.0.0/8\", \"::1/128\"]  # dev\n"), "{printed}");

    let config = load("targets.https_only = true\ntargets.allow_targets = ['10.1.2.3']", &[], &["dev=true"])?.config;
    assert!(config.targets.https_only, "what somebody says is stronger than what dev brings along");
    assert_eq!(config.targets.allow_targets, ["10.1.2.3/32".parse()?, networks[0], networks[1]]);
    Ok(())
}

#[test]
fn a_list_in_a_variable_has_commas() -> Result<(), Failed> {
    let config = load("", &[("POSTRIDER_TARGETS_ALLOW_TARGETS", "10.0.0.0/8, fd00::/8")], &[])?.config;
    assert_eq!(config.targets.allow_targets, ["10.0.0.0/8".parse()?, "fd00::/8".parse()?]);
    let file = "targets.allow_targets = ['10.0.0.0/8']";
    let config = load(file, &[("POSTRIDER_TARGETS_ALLOW_TARGETS", "")], &[])?.config;
    assert_eq!(config.targets.allow_targets, []);
    Ok(())
}

/// A Deployment beside a Service called `postrider` did not start: the cluster sets variables that begin like ours.
#[test]
fn what_kubernetes_says_about_services_is_not_taken_for_settings() -> Result<(), Failed> {
    let variables = [
        ("POSTRIDER_SERVICE_HOST", "10.0.0.11"),
        ("POSTRIDER_SERVICE_PORT", "8071"),
        ("POSTRIDER_SERVICE_PORT_HTTP", "8071"),
        ("POSTRIDER_PORT", "tcp://10.0.0.11:8071"),
        ("POSTRIDER_PORT_8071_TCP", "tcp://10.0.0.11:8071"),
        ("POSTRIDER_PORT_8071_TCP_PROTO", "tcp"),
        ("POSTRIDER_PORT_8071_TCP_PORT", "8071"),
        ("POSTRIDER_PORT_8071_TCP_ADDR", "10.0.0.11"),
        ("POSTRIDER_METRICS_SERVICE_HOST", "10.0.0.12"),
        ("POSTRIDER_METRICS_PORT_9090_UDP", "udp://10.0.0.12:9090"),
        ("SOMETHING_ELSE", "x"),
    ];
    load("", &variables, &[])?;
    check("", &[("POSTRIDER_PORT", "8071")], &[], "POSTRIDER_PORT: unknown variable");
    Ok(())
}

#[test]
fn the_reference_is_a_file_of_the_defaults() -> Result<(), Failed> {
    let defaults = load("", &[], &[])?;
    let again = load(&reference(), &[], &[])?;
    assert_eq!(format!("{:?}", defaults.config), format!("{:?}", again.config));
    for key in Key::all() {
        assert!(reference().contains(&key.variable()), "{} in the reference", key.variable());
    }
    Ok(())
}

#[test]
fn what_is_printed_can_be_read_again() -> Result<(), Failed> {
    let settings =
        load("data = 'a \"quoted\" \\ path'\nmetrics.listen = '[::1]:9'\nhttp.ca_file = 'ca'", &[], &["dev=true"])?;
    let again = load(&settings.print(), &[], &[])?;
    assert_eq!(format!("{:?}", again.config), format!("{:?}", settings.config));
    Ok(())
}

#[test]
fn the_api_is_reached_at_a_url_without_a_query() -> Result<(), Failed> {
    for good in ["https://hooks.example.com", "https://hooks.example.com/", "http://127.0.0.1:8071"] {
        let settings = load(&format!("public_url = '{good}'"), &[], &[])?;
        let address = settings.config.general.public_url.and_then(|url| url.join("/api"));
        assert_eq!(address.map(|url| url.to_string()), Some(format!("{}/api", good.trim_end_matches('/'))));
    }
    let below = load("public_url = 'https://example.com/hooks/'", &[], &[])?.config.general.public_url;
    let address = below.and_then(|url| url.join("/api")).map(|url| url.to_string());
    assert_eq!(address.as_deref(), Some("https://example.com/hooks/api"));
    for wrong in ["hooks.example.com", "ftp://a", "/path", "https://a?b", "https://a/#b", "https://me@a", ""] {
        let refused = "a URL, such as https://hooks.example.com";
        check(&format!("public_url = '{wrong}'"), &[], &[], refused);
    }
    Ok(())
}

#[test]
fn every_key_has_a_doc_and_every_number_a_unit_and_a_range() {
    const UNITS: [&str; 15] = [
        "_bytes",
        "_requests",
        "_seconds",
        "_days",
        "_deliveries",
        "_endpoints",
        "_applications",
        "_event_types",
        "_requests_per_second",
        "_hours",
        "_in_flight",
        "_queued",
        "_failures",
        "_attempts",
        "_percent",
    ];
    let mut variables = BTreeSet::new();
    Config::default().visit(&mut |key, value: &mut dyn Value| {
        let name = key.name();
        assert!(key.doc_lines().all(|line| line.len() > 10), "{name} has a doc");
        assert!(variables.insert(key.variable()), "{} means one key", key.variable());
        let takes = value.takes(key);
        if takes.starts_with("a whole number") {
            assert!(UNITS.iter().any(|unit| key.field.ends_with(unit)), "{name} says what it counts");
            assert!(key.range.is_some(), "{name} has a range");
        } else {
            assert!(key.range.is_none(), "{name} has a range and is no number");
        }
    });
}

fn load(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Settings, Failed> {
    Ok(try_load(file, variables, flags)?)
}

#[track_caller]
fn check(file: &str, variables: &[(&str, &str)], flags: &[&str], expected: &str) {
    let told = failure(file, variables, flags);
    assert!(told.contains(expected), "{told}\nshould say\n{expected}");
}

#[track_caller]
fn failure(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> String {
    match try_load(file, variables, flags) {
        Err(mistakes) => mistakes.to_string(),
        Ok(settings) => panic!("took {file} {variables:?} {flags:?} as\n{}", settings.print()),
    }
}

fn try_load(file: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Settings, Mistakes> {
    let environment = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    let flags = flags.iter().map(|flag| Flag::Set((*flag).to_owned())).collect();
    Layers { file: None, environment, flags }.over_file("postrider.toml".as_ref(), file)
}
