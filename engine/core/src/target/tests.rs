//! Targets as people and attackers write them.

use proptest::prelude::*;

use super::*;

fn url(text: &str) -> Url {
    parse_target(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("is an address")
}

fn range(text: &str) -> AddressRange {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn check_address(text: &str, kind: Option<&str>) {
    let found = match TargetRules::public().check_address(address(text)) {
        Ok(()) => None,
        Err(TargetRefused::Address { kind, .. }) => Some(kind),
        Err(other) => panic!("{text}: {other}"),
    };
    assert_eq!(found, kind, "{text}");
}

// Case 105, and the rest of IANA's registries.
#[test]
fn what_is_not_globally_reachable_is_blocked() {
    for (text, kind) in [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("10.255.255.255", "private"),
        ("100.64.0.1", "shared"),
        ("100.100.100.200", "shared"),
        ("100.127.255.255", "shared"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("169.254.169.254", "link-local"),
        ("169.254.170.2", "link-local"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.1", "reserved"),
        ("192.0.0.192", "reserved"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "reserved"),
        ("192.168.1.1", "private"),
        ("198.18.0.1", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.1", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("168.63.129.16", "metadata"),
        ("::", "reserved"),
        ("::1", "loopback"),
        ("::127.0.0.1", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::ffff:0:7f00:1", "reserved"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b:1::1", "reserved"),
        ("64:ff9b::1:7f00:1", "reserved"),
        ("100::1", "reserved"),
        ("2001::1", "reserved"),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", "reserved"),
        ("2001:10::1", "reserved"),
        ("2001:db8::1", "documentation"),
        ("2002:7f00:1::1", "6to4"),
        ("2002:808:808::1", "6to4"),
        ("3fff::1", "documentation"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("fec0::1", "reserved"),
        ("ff02::1", "multicast"),
    ] {
        check_address(text, Some(kind));
    }
}

#[test]
fn public_addresses_are_called_up_to_the_edge_of_blocked_ranges() {
    for text in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2a00:1450:4001:801::200e",
    ] {
        check_address(text, None);
    }
}

// Cases 98 and 105: every spelling of a blocked address is that address.
#[test]
fn addresses_are_blocked_in_every_spelling() {
    let rules = TargetRules { https_only: false, ..TargetRules::public() };
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "0.0.0.0",
        "127.0.0.1.",
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "%31%32%37.0.0.1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "user:password@127.0.0.1",
        "169.254.169.254",
        "0xa9fea9fe",
        "100.64.0.1",
        "[fe80::1]",
        "[fc00::1]",
        "[ff02::1]",
        "[2001:db8::1]",
    ] {
        for scheme in ["http", "https"] {
            let target = url(&format!("{scheme}://{host}:8080/ok"));
            let refused = rules.check_url(&target);
            assert!(matches!(refused, Err(TargetRefused::Address { .. })), "{target}: {refused:?}");
        }
    }
}

#[test]
fn localhost_is_blocked_by_name_unless_loopback_is_allowed() {
    for host in ["localhost", "LOCALHOST", "localhost.", "a.b.localhost", "ｌocalhost", "localhost:8443"] {
        let target = url(&format!("https://{host}/ok"));
        assert_eq!(TargetRules::public().check_url(&target), Err(TargetRefused::LocalName), "{target}");
        assert_eq!(TargetRules::dev().check_url(&target), Ok(()), "{target}");
    }
    for host in ["localhost.example.com", "notlocalhost", "example.com"] {
        assert_eq!(TargetRules::public().check_url(&url(&format!("https://{host}/"))), Ok(()), "{host}");
    }
}

#[test]
fn plain_http_needs_leave() {
    let target = url("http://example.com/hook");
    assert_eq!(TargetRules::public().check_url(&target), Err(TargetRefused::HttpsOnly));
    assert_eq!(TargetRules::dev().check_url(&target), Ok(()));
    assert_eq!(TargetRules::default().check_url(&url("https://user:pass@example.com:8443/hook")), Ok(()));
}

#[test]
fn urls_that_did_not_come_through_parsing_are_checked_all_the_same() {
    let check = |text: &str, expected: TargetRefused| {
        let target = Url::parse(text).expect("is a url");
        assert_eq!(TargetRules::dev().check_url(&target), Err(expected), "{text}");
    };
    check("ftp://example.com/", TargetRefused::Scheme);
    check("file:///etc/passwd", TargetRefused::Scheme);
    check("javascript:alert(1)", TargetRefused::Scheme);
    check("https://example.com:0/", TargetRefused::Port);
}

// Cases 101 and 106: what was blocked works once its range is listed, and nothing else does.
#[test]
fn listed_ranges_may_be_called() {
    let rules =
        TargetRules { https_only: true, allow: vec![range("10.1.0.0/16"), range("fd00::/8"), range("127.0.0.9")] };
    for text in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd12::1", "127.0.0.9", "8.8.8.8"] {
        assert_eq!(rules.check_address(address(text)), Ok(()), "{text}");
    }
    for text in ["10.2.0.1", "::ffff:10.2.0.1", "64:ff9b::10.2.0.1", "fc00::1", "127.0.0.1", "::1"] {
        assert!(rules.check_address(address(text)).is_err(), "{text}");
    }
    for text in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(TargetRules::dev().check_address(address(text)), Ok(()), "{text}");
    }
    assert!(TargetRules::dev().check_address(address("10.0.0.1")).is_err());
}

#[test]
fn refusals_say_why_and_keep_what_a_name_resolved_to() {
    let error = TargetRules::public().check_address(address("10.9.8.7")).expect_err("is private");
    assert_eq!(error.to_string(), "private addresses are blocked unless allow_targets lists their range");
}

#[test]
fn ranges_are_written_as_in_the_configuration() {
    let check = |text: &str, shown: &str| {
        assert_eq!(range(text).to_string(), shown);
        let stored = postcard::to_stdvec(&range(text)).expect("ranges can be stored");
        assert_eq!(postcard::from_bytes(&stored), Ok(range(text)));
    };
    check("10.0.0.0/8", "10.0.0.0/8");
    check("10.1.2.3/8", "10.0.0.0/8");
    check("10.1.2.3", "10.1.2.3/32");
    check("fd00::/8", "fd00::/8");
    check("::1", "::1/128");
    for text in ["", "10", "10.0.0.0/33", "10.0.0.0/", "fd00::/129", "localhost", "10.0.0.0-10.0.0.9"] {
        assert!(text.parse::<AddressRange>().is_err(), "{text}");
    }
}

// Cases 41, 42, 50 and 51.
#[test]
fn targets_are_kept_as_given() {
    let check = |text: &str, expected: &str| assert_eq!(url(text).as_str(), expected);
    check("https://example.com/ok?token=%22abc%22&u=%7B1%7D", "https://example.com/ok?token=%22abc%22&u=%7B1%7D");
    check("https://example.com/ok/my endpoint", "https://example.com/ok/my%20endpoint");
    check("https://example.com/ok/my%20endpoint", "https://example.com/ok/my%20endpoint");
    check("https://example.com/ok?x=1#frag", "https://example.com/ok?x=1");
    check("https://example.com/ok#", "https://example.com/ok");
    check("HTTP://LOCALHOST:8080/Ok", "http://localhost:8080/Ok");
    check("https://example.com:443/ok", "https://example.com/ok");
    check("https://user:pa%20ss@example.com/ok", "https://user:pa%20ss@example.com/ok");
    check("https://example.com/?to=c:\\x", "https://example.com/?to=c:\\x");
    check("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4");
}

// Cases 45 and 50.
#[test]
fn what_is_no_target_is_refused_and_not_repaired() {
    let check = |text: &str, expected: InvalidTarget| assert_eq!(parse_target(text), Err(expected), "{text:?}");
    for text in ["", "example.com/ok", "//host/x", "/ok", "http:/x", "http:x", "http:\\\\x", "http"] {
        check(text, InvalidTarget::Scheme);
    }
    for text in ["ftp://x/", "file:///etc/passwd", "javascript://x/", "javascript:alert(1)", "ws://x/", "h ttp://x/"] {
        check(text, InvalidTarget::Scheme);
    }
    for text in ["http://", "https://", "http:///x", "https://?x", "https://#x", "https://:80/", "http://\\x"] {
        check(text, InvalidTarget::Host);
    }
    for text in [" https://x/", "https://x/ ", "\u{a0}https://x/", "https://x/\u{3000}"] {
        check(text, InvalidTarget::Blank);
    }
    for text in ["https://x/\n", "\thttps://x/", "https://x/a\tb", "ht\ntps://x/", "https://x/\0", "https://x/\u{85}"] {
        check(text, InvalidTarget::Invisible);
    }
    for text in ["\u{200b}https://x/", "https://x/\u{200b}", "https://ex\u{ad}ample.com/", "\u{feff}https://x/"] {
        check(text, InvalidTarget::Invisible);
    }
    check("https://x/\u{202e}gpj.exe", InvalidTarget::Invisible);
    check("https://x\\@example.com/", InvalidTarget::Backslash);
    check("https://x:0/", InvalidTarget::Port);
    check("https://x:70000/", InvalidTarget::Url(url::ParseError::InvalidPort));
    check("https://x:8o/", InvalidTarget::Url(url::ParseError::InvalidPort));
    check("https://user@/", InvalidTarget::Url(url::ParseError::EmptyHost));
    check("https://256.0.0.1/", InvalidTarget::Url(url::ParseError::InvalidIpv4Address));
    check("https://[::1/", InvalidTarget::Url(url::ParseError::InvalidIpv6Address));
    for text in ["https://a b/", "https://a%00b/", "https://a<b/", "https://a%2fb/"] {
        assert!(matches!(parse_target(text), Err(InvalidTarget::Url(_))), "{text:?}");
    }
    let long = format!("https://x/{}", "a".repeat(TARGET_BYTES_MAX));
    check(&long, InvalidTarget::TooLong { bytes: TARGET_BYTES_MAX + 10 });
}

proptest! {
    #[test]
    fn an_embedded_address_is_blocked_just_where_its_own_is(bits: u32) {
        let rules = TargetRules::public();
        let v4 = Ipv4Addr::from(bits);
        let blocked = rules.check_address(v4.into()).is_err();
        let [a, b, c, d] = v4.octets().map(u16::from);
        let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d);
        prop_assert_eq!(rules.check_address(v4.to_ipv6_mapped().into()).is_err(), blocked);
        prop_assert_eq!(rules.check_address(nat64.into()).is_err(), blocked);
        for carrier in [
            Ipv6Addr::new(0x2002, a << 8 | b, c << 8 | d, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, a << 8 | b, c << 8 | d, 0, 0, 0, 0),
            Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, !(a << 8 | b), !(c << 8 | d)),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, a << 8 | b, c << 8 | d),
        ] {
            prop_assert!(rules.check_address(carrier.into()).is_err());
        }
    }

    // The standard library knows some of the kinds; whatever it calls private must be blocked.
    #[test]
    fn what_the_standard_library_calls_private_is_blocked(bits: u32, more: u128) {
        let (v4, v6) = (Ipv4Addr::from(bits), Ipv6Addr::from(more));
        let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast()
            || v4.is_documentation() || v4.is_unspecified() || v4.is_broadcast();
        prop_assert!(!special || TargetRules::public().check_address(v4.into()).is_err(), "{}", v4);
        let special = v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || v6.is_unique_local()
            || v6.is_unicast_link_local();
        prop_assert!(!special || TargetRules::public().check_address(v6.into()).is_err(), "{}", v6);
    }

    #[test]
    fn no_text_makes_parsing_panic_and_what_parses_is_stable(text in "(https?://)?.{0,60}") {
        if let Ok(target) = parse_target(&text) {
            prop_assert_eq!(target.fragment(), None);
            prop_assert!(target.has_host());
            let _either = TargetRules::public().check_url(&target);
            prop_assert_eq!(parse_target(target.as_str()).map(String::from), Ok(String::from(target)));
        }
    }
}

/// A URL was shown as it was given, and called otherwise.
#[test]
fn a_url_is_shown_as_it_is_called() {
    for same in [
        "https://a.example",
        "https://A.example/",
        "https://a.example:443/x?y=z",
        "https://a.example?y=1",
        "https://a.example/it's/%60?a=b+c#part",
        "https://u:p@a.example/x",
    ] {
        assert_eq!(as_called(same, &url(same)), same);
    }
    for (given, called) in [
        ("https://a.example/`x", "https://a.example/%60x"),
        ("https://a.example/x?y='z", "https://a.example/x?y=%27z"),
        ("https://a.example/x/../y", "https://a.example/y"),
        ("https://a.example/x/%2e%2E/y", "https://a.example/y"),
        ("https://a.example/ü", "https://a.example/%C3%BC"),
    ] {
        assert_eq!(as_called(given, &url(given)), called);
        assert_eq!(as_called(called, &url(called)), called);
    }
}
