//! Signatures as other implementations know them, and secrets as people paste them.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// 2021-02-25T15:02:10Z, the time of the published examples.
const WALL: Timestamp = Timestamp::from_nanos(1_614_265_330_987_654_321);
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SYMMETRIC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PRIVATE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

fn secret(text: &str) -> Secret {
    Secret::parse(text).expect("is a secret")
}

fn event() -> SignedEvent<'static> {
    SignedEvent { id: "msg_0ujtsYcgvSTl8PAuAdqWYSMnLOv".parse().expect("is an id"), event_type: "invoice.paid" }
}

fn headers(style: SignatureStyle, secrets: &[&str]) -> Vec<(&'static str, String)> {
    let secrets: Vec<_> = secrets.iter().map(|text| secret(text)).collect();
    sign(style, &secrets.iter().collect::<Vec<_>>(), &event(), WALL, BODY)
}

#[test]
fn signs_the_published_examples_as_published() {
    let check = |text: &str, expected: &str| {
        assert_eq!(standard_signature(&secret(text), ID, "1614265330", BODY), expected);
    };
    check(SYMMETRIC, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    check(PRIVATE, "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==");
    // GitHub's example for `X-Hub-Signature-256`.
    let github = hmac(b"It's a Secret to Everybody", &[b"Hello, World!"]).finalize().into_bytes();
    assert_eq!(hex(&github), "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}

// Case 28.
#[test]
fn standard_headers_are_exactly_three_with_one_entry_a_secret() {
    let [id, timestamp, signature] =
        headers(SignatureStyle::Standard, &[SYMMETRIC, OTHER, PRIVATE]).try_into().expect("are three headers");
    assert_eq!(id, ("webhook-id", "msg_0ujtsYcgvSTl8PAuAdqWYSMnLOv".to_owned()));
    assert_eq!(timestamp, ("webhook-timestamp", "1614265330".to_owned()));
    assert_eq!(signature.0, "webhook-signature");
    let versions: Vec<_> = signature.1.split(' ').filter_map(|entry| Some(entry.split_once(',')?.0)).collect();
    assert_eq!(versions, ["v1", "v1", "v1a"]);
}

#[test]
fn svix_headers_differ_by_name_only() {
    let values = |style| headers(style, &[SYMMETRIC]).into_iter().map(|(_, value)| value).collect::<Vec<_>>();
    assert_eq!(values(SignatureStyle::Svix), values(SignatureStyle::Standard));
    let names: Vec<_> = headers(SignatureStyle::Svix, &[SYMMETRIC]).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["svix-id", "svix-timestamp", "svix-signature"]);
}

#[test]
fn github_headers_are_signed_by_the_newest_secret_as_printed() {
    let expected = [
        ("x-github-event", "invoice.paid"),
        ("x-github-delivery", "msg_0ujtsYcgvSTl8PAuAdqWYSMnLOv"),
        ("webhook-id", "msg_0ujtsYcgvSTl8PAuAdqWYSMnLOv"),
        ("x-hub-signature-256", "sha256=80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c"),
    ];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(headers(SignatureStyle::GitHub, &[SYMMETRIC, OTHER]), expected);
    assert_eq!(headers(SignatureStyle::GitHub, &[PRIVATE, SYMMETRIC]), expected, "a private key cannot");
}

#[test]
fn stripe_headers_carry_every_secret_as_printed() {
    let signatures = "t=1614265330,\
        v1=2e37df5d4a028c51a7f3133d64ae1e300d2c2c900f1b1d49d4369ad2530f8964,\
        v1=8dbc842b6599c1be049900723cebba01cdec937f060d8d59fd18e8efade1dbb7";
    let expected = [("webhook-id", "msg_0ujtsYcgvSTl8PAuAdqWYSMnLOv"), ("stripe-signature", signatures)];
    let expected = expected.map(|(name, value)| (name, value.to_owned()));
    assert_eq!(headers(SignatureStyle::Stripe, &[SYMMETRIC, PRIVATE, OTHER]), expected);
}

// Case 26: no secret must not become a signature with an empty key.
#[test]
fn without_a_secret_there_is_no_signature() {
    let styles = [SignatureStyle::Standard, SignatureStyle::Svix, SignatureStyle::GitHub, SignatureStyle::Stripe];
    for style in styles {
        let names: Vec<_> = headers(style, &[]).into_iter().map(|(name, _)| name).collect();
        assert!(!names.is_empty() && !names.iter().any(|name| name.contains("signature")), "{names:?}");
    }
    assert!(headers(SignatureStyle::Stripe, &[PRIVATE]).iter().all(|(name, _)| *name != "stripe-signature"));
    assert!(!SignatureStyle::GitHub.can_use(&secret(PRIVATE)) && SignatureStyle::Svix.can_use(&secret(PRIVATE)));
}

// Case 34: one casing, always, and each name once.
#[test]
fn header_names_are_in_lower_case_and_unique() {
    let styles = [SignatureStyle::Standard, SignatureStyle::Svix, SignatureStyle::GitHub, SignatureStyle::Stripe];
    for style in styles {
        let mut names: Vec<_> = headers(style, &[SYMMETRIC]).into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| !byte.is_ascii_uppercase())), "{names:?}");
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

// Cases 23, 24 and 26.
#[test]
fn only_what_looks_like_a_secret_is_one() {
    let accepts = |text: &str, printed: &str, verifying: &str| {
        let secret = secret(text);
        assert_eq!(secret.reveal(), printed);
        assert_eq!(secret.verifying(), verifying);
    };
    accepts(SYMMETRIC, SYMMETRIC, SYMMETRIC);
    accepts("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SYMMETRIC, SYMMETRIC);
    accepts(OTHER.trim_end_matches('='), OTHER, OTHER);
    accepts(PRIVATE, PRIVATE, PUBLIC);
    accepts("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=", PRIVATE, PUBLIC);

    let refuses = |text: &str, expected: InvalidSecret| {
        assert_eq!(Secret::parse(text), Err(expected), "{text:?}");
        assert!(expected.to_string().contains("`whs"), "says what a secret looks like: {expected}");
        let payload = text.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        assert!(payload.len() < 8 || !expected.to_string().contains(payload), "shows nothing: {expected}");
    };
    refuses("", InvalidSecret::Empty);
    refuses("whsec_", InvalidSecret::Empty);
    refuses(&format!("v1,{SYMMETRIC}"), InvalidSecret::Form);
    refuses(&format!("\"{SYMMETRIC}\""), InvalidSecret::Form);
    refuses(&format!("{SYMMETRIC}\n"), InvalidSecret::Form);
    refuses(&format!(" {SYMMETRIC}"), InvalidSecret::Form);
    refuses("whsec_MfKQ9r8GKYqr TwjUPD8ILPZIo2LaLaSw", InvalidSecret::Form);
    refuses("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", InvalidSecret::Form);
    refuses("my very secret password, honestly", InvalidSecret::Form);
    refuses("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY", InvalidSecret::Length { bytes: 23 });
    refuses(&format!("whsec_{}", "AAAA".repeat(22)), InvalidSecret::Length { bytes: 66 });
    refuses("whsk_", InvalidSecret::PrivateKey);
    refuses("whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", InvalidSecret::PrivateKey);
    let mismatched = PRIVATE.replace("Kvg==", "Kvw==");
    refuses(&mismatched, InvalidSecret::PrivateKey);
    refuses(PUBLIC, InvalidSecret::Public);
}

#[test]
fn debug_shows_nothing_of_a_secret() {
    let shown = format!("{:?} {:?} {:?}", secret(SYMMETRIC), secret(PRIVATE), Verifier::of(&secret(SYMMETRIC)));
    assert_eq!(shown, "Secret(..) Secret(..) Verifier(..)");
}

#[test]
fn a_secret_is_stored_as_printed() {
    for text in [SYMMETRIC, OTHER, PRIVATE] {
        let stored = postcard::to_stdvec(&secret(text)).expect("secrets can be stored");
        assert_eq!(stored[1..], *text.as_bytes());
        assert_eq!(postcard::from_bytes(&stored), Ok(secret(text)));
    }
    let garbage = postcard::to_stdvec("whsec_?").expect("text can be stored");
    assert!(postcard::from_bytes::<Secret>(&garbage).is_err());
}

/// Verifies the published examples with something about them changed.
fn check_verify<'a>(
    change: impl FnOnce(&mut Received<'a>, &mut Vec<u8>, &mut Timestamp),
    expected: Result<(), Unverified>,
) {
    let mut received = Received {
        id: ID,
        timestamp: "1614265330",
        signature: "v1a,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v9,xyz",
    };
    let (mut body, mut wall) = (BODY.to_vec(), WALL);
    change(&mut received, &mut body, &mut wall);
    let verifiers = [OTHER, PUBLIC, SYMMETRIC].map(|text| Verifier::parse(text).expect("can verify"));
    assert_eq!(verify(&verifiers, &received, &body, wall), expected);
}

#[test]
fn verifies_what_was_signed_and_nothing_else() {
    let ed25519 = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
    check_verify(|_, _, _| {}, Ok(()));
    check_verify(|received, _, _| received.signature = ed25519, Ok(()));
    check_verify(|_, body, _| body.push(b'\n'), Err(Unverified::Signature));
    check_verify(|received, _, _| received.id = "msg_other", Err(Unverified::Signature));
    check_verify(|received, _, _| received.timestamp = "1614265331", Err(Unverified::Signature));
    for signature in ["", " ", "v1,", "v1", "v1a,AAAA", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1Oc="] {
        check_verify(|received, _, _| received.signature = signature, Err(Unverified::Signature));
    }
    let swapped = ed25519.replace("v1a,", "v1,");
    check_verify(|received, _, _| received.signature = &swapped, Err(Unverified::Signature));
    let long = "v1,AAAA ".repeat(40) + ed25519;
    check_verify(|received, _, _| received.signature = &long, Err(Unverified::Signature));
}

#[test]
fn verifies_within_five_minutes_only() {
    let earlier = |secs: u64| Timestamp::from_nanos(WALL.as_nanos() - secs * 1_000_000_000);
    check_verify(|_, _, wall| *wall = WALL + Duration::from_secs(300), Ok(()));
    check_verify(|_, _, wall| *wall = WALL + Duration::from_secs(301), Err(Unverified::TooFarOff));
    check_verify(|_, _, wall| *wall = earlier(300), Ok(()));
    check_verify(|_, _, wall| *wall = earlier(301), Err(Unverified::TooFarOff));
    for timestamp in ["", "now", "-1614265330", "+1614265330", "1614265330.0", "99999999999999999999"] {
        check_verify(|received, _, _| received.timestamp = timestamp, Err(Unverified::Timestamp));
    }
}

proptest! {
    // Elliptic curves are slow without optimisation.
    #![proptest_config(ProptestConfig::with_cases(16))]

    // S1, and case 20: during a rotation either secret verifies.
    #[test]
    fn what_is_signed_verifies_with_each_of_its_secrets(
        one: [u8; 32],
        seed: [u8; 32],
        stranger: [u8; 32],
        body: Vec<u8>,
        nanos in 0..4_000_000_000_000_000_000_u64,
    ) {
        let wall = Timestamp::from_nanos(nanos);
        let one = Secret::from_random(one);
        let other = Secret::parse(&format!("whsk_{}", BASE64.encode(seed))).expect("is a private key");
        let headers = sign(SignatureStyle::Standard, &[&one, &other], &event(), wall, &body);
        let value = |name| headers.iter().find(|(header, _)| *header == name).map_or("", |(_, value)| value.as_str());
        let received = Received {
            id: value("webhook-id"),
            timestamp: value("webhook-timestamp"),
            signature: value("webhook-signature"),
        };
        for secret in [&one, &other] {
            let verifier = Verifier::parse(&secret.verifying()).expect("can verify");
            prop_assert_eq!(verify(&[verifier], &received, &body, wall), Ok(()));
        }
        let stranger = Verifier::of(&Secret::from_random(stranger));
        prop_assert_eq!(verify(&[stranger], &received, &body, wall), Err(Unverified::Signature));
    }

}

proptest! {
    #[test]
    fn no_text_makes_parsing_panic(text in ".{0,120}") {
        let _either = Secret::parse(&text);
        let _either = Verifier::parse(&text);
        let _either = Secret::parse(&format!("whsk_{text}"));
    }
}
