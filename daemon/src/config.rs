//! Every setting of the daemon: one typed table, with what each means, its default and its range.
//!
//! The table below is the only place that lists them. The structs, the names of environment variables, the reference
//! that `postrider config --reference` prints and the search for the nearest known key all come from it. A setting
//! that counts or measures has its unit in its name.

mod combinations;
mod hidden;
mod key;
mod layers;
mod mistake;
mod print;
mod values;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;

pub(crate) use self::{
    hidden::Secret,
    layers::{Flag, Layers, Settings},
    mistake::Mistakes,
    print::reference,
    values::{
        HeaderPrefix, HostName, LogFormat, LogLevel, OnExhausted, Ordering, PublicUrl, RetryOn, Schedule, SecretType,
        SignatureStyle, Storage, TokenAlgorithm, WhenFull,
    },
};
use self::{
    key::{Key, Value},
    values::Given,
};

const MIB: u64 = 1 << 20;

/// Declares sections of settings, and the walk over all of them.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $section:ident: $Section:ident = $prefix:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:expr $(, in $range:expr)?;
            )+
        }
    )+) => {
        /// Everything that can be set.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Config {
            $( $(#[doc = $section_doc])+ pub(crate) $section: $Section, )+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug)]
            pub(crate) struct $Section {
                $( $(#[doc = $doc])+ pub(crate) $field: $type, )+
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $field: $default, )+ }
                }
            }
        )+

        impl Config {
            /// Shows each setting, in the order of the table.
            fn visit(&mut self, each: &mut dyn FnMut(&Key, &mut dyn Value)) {
                $(
                let (section, section_doc) = ($prefix, concat!($($section_doc, "\n"),+));
                $(
                    let key = Key {
                        section,
                        section_doc,
                        field: stringify!($field),
                        doc: concat!($($doc, "\n"),+),
                        range: settings!(@range $($range)?),
                    };
                    each(&key, &mut self.$section.$field);
                )+
                )+
            }
        }
    };
    (@range) => { None };
    (@range $range:expr) => { Some($range) };
}

settings! {
    /// The daemon as a whole.
    general: General = "" {
        /// Address and port where the API listens. Port 0 takes a free one. Only this machine reaches the default; in a
        /// container give 0.0.0.0 and the port.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8071));
        /// Folder of everything that is stored. It is made if it does not exist. Not used with storage = "memory".
        data: PathBuf = PathBuf::from("postrider-data");
        /// Where the API is reached from outside, such as "https://hooks.example.com". The url of portal access begins so;
        /// unless it is set, with the address that the client called. Receivers with proof = "cloudEvents" are told of an
        /// address below it, at which they may grant later. Unless it is set, they are not.
        public_url: Option<PublicUrl> = None;
        /// Refuse requests whose body has a field that is not known, with status 422. Unless it is set, the field is
        /// ignored, and the answer carries a warning that names it.
        refuse_unknown_fields: bool = false;
        /// Where events are kept: "fjall" survives a power cut; "sled" survives a crash of the process, not a power cut;
        /// "memory" forgets everything when the daemon stops.
        storage: Storage = Storage::Fjall;
        /// For trying things out on one machine: allows plain http and loopback targets, makes a signing secret where
        /// none is set, and prints an organisation token at the start.
        dev: bool = false;
        /// Secret that signs the tokens of the API, at least 32 bytes. `postrider token secret` makes one. Whoever knows
        /// it can do everything. Prefer jwt_secret_file, or the environment.
        jwt_secret: Option<Secret> = None;
        /// File that holds the signing secret, as secret stores mount it. A line end after it is dropped.
        jwt_secret_file: Option<PathBuf> = None;
        /// File that held the signing secret before: what it signed is good until it expires, and it signs nothing more. To
        /// change the secret, name the old file here and put the new one in jwt_secret_file; both are read again when
        /// they have changed, without a restart.
        jwt_previous_secret_file: Option<PathBuf> = None;
        /// How long the daemon may take to stop: requests to it and attempts in flight end within this time, or are
        /// made again after the next start. Whoever stops the daemon must wait a little longer before killing it.
        grace_seconds: u64 = 25, in 1..=3600;
        /// How long the API goes on answering before it stops: it says that it is not ready (/api/v1/health), and each
        /// answer asks its client to close the connection, so that no request is cut off. Comes before the grace_seconds.
        drain_seconds: u64 = 1, in 0..=3600;
    }
    /// TLS of the API's listener. Without it the listener speaks http in the clear.
    tls: Tls = "tls" {
        /// File of the certificate (PEM), and of those between it and the root after it. It is read again when it has
        /// changed, without a restart; if the new one cannot be used, the old one stays in use and a warning is logged.
        cert_file: Option<PathBuf> = None;
        /// File of the certificate's private key (PEM, without a password). Needed with cert_file.
        key_file: Option<PathBuf> = None;
    }
    /// How the tokens of the API are signed.
    tokens: Tokens = "tokens" {
        /// "HS256", "HS384" or "HS512" sign and verify with the signing secret, which has at least 32, 48 or 64 bytes.
        /// "RS256", "RS384", "RS512" or "EdDSA" verify with public_key_file. A token of another algorithm is refused.
        algorithm: TokenAlgorithm = TokenAlgorithm::Hs256;
        /// File of the public key (PEM) that verifies tokens. Needed with "RS256", "RS384", "RS512" and "EdDSA".
        public_key_file: Option<PathBuf> = None;
        /// File of the private key (PEM, without a password) that signs tokens. Without it the daemon only verifies:
        /// `postrider token create` and portal access are refused, and tokens are signed where the key is kept.
        private_key_file: Option<PathBuf> = None;
        /// File of a public key (PEM) that verified tokens before: they are good until they expire.
        previous_public_key_file: Option<PathBuf> = None;
        /// Refuse tokens that say no end (`exp`). The daemon's own always do.
        require_expiry: bool = false;
    }
    /// What the daemon writes to standard error.
    log: Log = "log" {
        /// "error", "warn", "info", "debug" or "trace", or a list by module, such as "info,postrider=debug".
        level: LogLevel = LogLevel::default();
        /// "text" for people, "json" for machines: one object a line.
        format: LogFormat = LogFormat::Text;
    }
    /// Bounds of the engine.
    limits: Limits = "limits" {
        /// Largest payload of an event. Larger ones are refused.
        payload_bytes: u64 = 2 * MIB, in 1..=64 * MIB;
        /// Largest body of a request to the API, unpacked. Larger ones are refused. A payload takes more of it than it has
        /// bytes: what is around it, and escapes or base64.
        body_bytes: u64 = 4 * MIB, in 1024..=256 * MIB;
        /// The same of one with many messages.
        batch_bytes: u64 = 32 * MIB, in 1024..=1024 * MIB;
        /// Memory for bodies of requests that are read and worked on, and as much again for answers that wait for their
        /// clients. An organisation has half of it at most, and an application a third; more is refused, to be sent again.
        request_memory_bytes: u64 = 512 * MIB, in MIB..=1024 * 1024 * MIB;
        /// Endpoints of one application: to so many one event may go. More are refused.
        application_endpoints: u64 = 10_000, in 1..=100_000;
        /// Applications of one organisation. More are refused. 0 is any number.
        organisation_applications: u64 = 0, in 0..=1_000_000_000;
        /// Event types of one organisation, archived ones with them. More are refused.
        organisation_event_types: u64 = 10_000, in 1..=1_000_000;
        /// Requests to endpoints in flight at once, to all endpoints together.
        in_flight_requests: u64 = 4096, in 1..=100_000;
        /// Requests of one application that may wait to be stored. More are refused, to be sent again.
        waiting_requests: u64 = 1024, in 1..=1_000_000;
        /// Deliveries that may wait for all endpoints of one application together, to within some thousands. Beyond it
        /// its events are refused, to be sent again. 0 is any number.
        application_pending_deliveries: u64 = 10_000_000, in 0..=1_000_000_000_000;
        /// Requests per second that name one application, by its organisation and its own people together. More are
        /// refused, to be sent again. 0 is any number.
        application_requests_per_second: u64 = 0, in 0..=1_000_000;
        /// Requests that are stored together, with one sync of the disk.
        group_requests: u64 = 512, in 1..=65_536;
        /// Payload that is stored together, with one sync of the disk.
        group_bytes: u64 = MIB, in 1024..=64 * MIB;
        /// While the disk of the data folder has fewer bytes free, events are refused, to be sent again: so that what
        /// becomes of those accepted can still be stored. 0 never refuses.
        min_free_bytes: u64 = 256 * MIB, in 0..=1 << 50;
        /// How many days events and what was tried for them are kept, to the week, and tasks after their end. Dead letters
        /// keep their payload until they are redriven or purged.
        retention_days: u64 = 90, in 8..=36_500;
    }
    /// Where webhooks may be sent.
    targets: Targets = "targets" {
        /// Refuse endpoints with plain http.
        https_only: bool = true;
        /// Networks to allow, though they are private, loopback, link-local or otherwise blocked: "10.1.0.0/16",
        /// "fd00::/8". An address alone is a network of one.
        allow_targets: Vec<IpNet> = Vec::new();
    }
    /// What holds for endpoints that do not say otherwise.
    delivery: Delivery = "delivery" {
        /// Headers of the signature: "standard" (webhook-id, webhook-timestamp, webhook-signature), "svix" (the same
        /// as svix-…), "stripe" or "github".
        signature_style: SignatureStyle = SignatureStyle::Standard;
        /// Secrets that are made for new endpoints: "hmac" (shared with the receiver) or "ed25519" (the receiver gets a
        /// public key).
        secret_type: SecretType = SecretType::Hmac;
        /// Which deliveries to an endpoint wait for which: "concurrent" (none), "perKey" (those with one ordering key go
        /// one after another) or "fifo" (all do).
        ordering: Ordering = Ordering::Concurrent;
        /// With "perKey" and "fifo": whether what is behind a delivery that is given up goes on ("continue") or waits for
        /// a person ("hold").
        on_exhausted: OnExhausted = OnExhausted::Continue;
        /// Seconds before each attempt after the first. None is one attempt.
        retry_schedule_seconds: Schedule = Schedule::default();
        /// Failures that use the whole schedule: "default" (what may pass), "anyFailure" or "serverErrors".
        retry_on: RetryOn = RetryOn::Default;
        /// Attempts to one endpoint at once.
        max_in_flight: u64 = 16, in 1..=1_000;
        /// How long an endpoint may take to answer.
        timeout_seconds: u64 = 30, in 1..=300;
        /// Deliveries that may wait for one endpoint.
        max_queued: u64 = 1_000_000, in 1..=2_147_483_647;
        /// What becomes of an event for an endpoint for which so many wait: "deadLetter" (it is accepted, and given up there)
        /// or "refuse" (it is refused for all endpoints, to be sent again).
        when_full: WhenFull = WhenFull::DeadLetter;
        /// Stop attempts to an endpoint that keeps failing, and try it now and then until it answers.
        breaker: bool = true;
        /// Failures in a row after which attempts stop.
        breaker_consecutive_failures: u64 = 5, in 1..=2_147_483_647;
        /// Percent of failed attempts at which attempts stop.
        breaker_failure_percent: u64 = 50, in 1..=100;
        /// Fewer attempts in breaker_window_seconds have no percentage.
        breaker_min_attempts: u64 = 20, in 1..=2_147_483_647;
        /// What the percentage is taken over.
        breaker_window_seconds: u64 = 60, in 1..=3_600;
        /// How long attempts stop at first. It doubles each time that the endpoint fails again.
        breaker_cooldown_seconds: u64 = 10, in 1..=86_400;
        /// How long attempts stop at most.
        breaker_max_cooldown_seconds: u64 = 600, in 1..=86_400;
        /// An endpoint that only fails for so many hours is disabled. 0 never disables.
        disable_after_hours: u64 = 120, in 0..=87_600;
        /// Beginnings of header names that endpoints may not set, beside those that are always reserved: "x-acme-", in
        /// whatever case.
        reserved_header_prefixes: Vec<HeaderPrefix> = Vec::new();
    }
    /// How webhooks are sent.
    http: Http = "http" {
        /// How long connecting to an endpoint may take, with name resolution and TLS.
        connect_timeout_seconds: u64 = 10, in 1..=300;
        /// How long one connection is used for requests, however many there are. Where a name points is looked up for a
        /// new connection only. Those without a request are closed after 4 seconds.
        connection_life_seconds: u64 = 90, in 0..=86_400;
        /// DNS name that the daemon is known by, for receivers that grant origins (proof = "cloudEvents").
        origin: HostName = HostName::default();
        /// File of certificates (PEM) to trust, beside those that the system trusts.
        ca_file: Option<PathBuf> = None;
    }
    /// For load balancers.
    health: Health = "health" {
        /// Address and port where /health and /health/ping listen by themselves, without tokens and in the clear, so that
        /// clients that fill the API's listener keep no balancer from asking. The API's listener answers them, too.
        listen: Option<SocketAddr> = None;
    }
    /// Numbers for monitoring.
    metrics: Metrics = "metrics" {
        /// Address and port where /metrics listens, without tokens and in the clear. Unless it is set, the API's listener answers it.
        listen: Option<SocketAddr> = None;
    }
}

#[cfg(test)]
mod tests;
