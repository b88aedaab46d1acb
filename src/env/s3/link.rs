//! The connection: made at the first call, made anew when the bucket turns out to live elsewhere or the credentials were
//! refused.

use super::body::Sending;
use super::errors::Fault;
use super::{Options, S3, with_user};
use crate::env::sockets;
use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_types::service_config::ServiceConfigKey;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// The slowest line that is still waited for, in bytes per second and body.
const SLOWEST: u64 = 8 << 10;
/// How long a TCP connection may take to come up.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a body may stand still.
const STALL: Duration = Duration::from_secs(20);
/// Tries of the SDK within one call.
const ATTEMPTS: u32 = 3;
/// The region that knows where every bucket is.
const HOME: &str = "us-east-1";

/// A client, and what it is connected to.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    /// Whether the server is another than Amazon's.
    pub(super) foreign: bool,
    region: String,
    /// For messages.
    pub(super) endpoint: Arc<str>,
    pub(super) credentials: Option<SharedCredentialsProvider>,
}

/// The state of the connection.
#[derive(Default)]
pub(super) struct Connection(Mutex<State>);

#[derive(Default)]
struct State {
    link: Option<Link>,
    /// Where the bucket turned out to be.
    found: Option<String>,
}

impl S3 {
    /// The connection, made now if there is none.
    pub(super) async fn link(&self) -> Result<Link, Fault> {
        let mut state = self.connection.0.lock().await;
        if let Some(link) = &state.link {
            return Ok(link.clone());
        }
        let known = match &state.found {
            Some(region) => Some(region.clone()),
            None => configured_region(&self.options).await,
        };
        let mut link = connect(&self.options, known.clone()).await?;
        if known.is_none() && !link.foreign {
            match self.discover(&link).await? {
                Some(region) if region != link.region => {
                    link = connect(&self.options, Some(region.clone())).await?;
                    state.found = Some(region);
                }
                region => state.found = region,
            }
        }
        state.link = Some(link.clone());
        Ok(link)
    }

    /// Sends a request, if need be again to the region where the bucket is. `body` is what it sends.
    pub(super) async fn call<T, E, Fut>(&self, body: Option<&Sending>, send: impl Fn(Client) -> Fut) -> Result<T, Fault>
    where
        Fut: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let mut link = self.link().await?;
        let mut fault = match self.send(body, send(link.client.clone())).await {
            Err(fault) => fault,
            done => return done,
        };
        if fault.is_elsewhere()
            && let Some(moved) = self.relocate(&link, &fault).await
        {
            link = moved;
            fault = match self.send(body, send(link.client.clone())).await {
                Err(fault) => fault,
                done => return done,
            };
        }
        if fault.is_denial() {
            // The files that gave the credentials may be mended meanwhile: read them again the next time.
            self.connection.0.lock().await.link = None;
        }
        Err(fault.at(&link.endpoint))
    }

    async fn send<T, E, Fut>(&self, body: Option<&Sending>, request: Fut) -> Result<T, Fault>
    where
        Fut: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let patience = self.options.patience;
        let Some(body) = body else { return request.await.map_err(|e| Fault::of(&e)) };
        let answer = tokio::select! {
            answer = request => answer.map_err(|e| Fault::of(&e)),
            () = body.silence(patience) => {
                Err(Fault::Lost(format!("the server took nothing and said nothing for {patience:?}")))
            }
        };
        if matches!(answer, Err(Fault::Lost(_))) {
            sockets::limit_silence(patience);
        }
        answer
    }

    /// A connection to where the bucket is, if that is elsewhere.
    async fn relocate(&self, from: &Link, fault: &Fault) -> Option<Link> {
        let region = match fault.region() {
            Some(region) => region,
            None => self.discover(from).await.ok()??,
        };
        if region == from.region {
            return None;
        }
        tracing::info!("{}: the bucket is in {region}, not in {}", self.name, from.region);
        let link = connect(&self.options, Some(region.clone())).await.ok()?;
        let mut state = self.connection.0.lock().await;
        state.found = Some(region);
        state.link = Some(link.clone());
        Some(link)
    }

    /// Asks where the bucket is; every region answers that, also with a refusal.
    async fn discover(&self, link: &Link) -> Result<Option<String>, Fault> {
        let request = link.client.head_bucket().bucket(&self.options.bucket).customize();
        match request.config_override(self.limits(0, Duration::ZERO)).send().await {
            Ok(output) => Ok(output.bucket_region),
            Err(e) => match Fault::of(&e) {
                Fault::Answer(answer) => Ok(answer.region),
                other => Err(other.at(&link.endpoint)),
            },
        }
    }

    /// The time that a request with a body of `len` bytes may take, plus what the server needs to think.
    pub(super) fn limits(&self, len: u64, think: Duration) -> Builder {
        let limited = self.bandwidth.as_ref().map(|line| line.time(len) * 4 * self.options.concurrency.max(1) as u32);
        let body = Duration::from_secs(len / SLOWEST).max(limited.unwrap_or_default());
        let attempt = self.options.patience + think + body;
        Builder::new().timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT)
                .operation_attempt_timeout(attempt)
                .operation_timeout(attempt * (ATTEMPTS + 1))
                .build(),
        )
    }
}

/// The region that the settings or the environment name; an empty one is none.
async fn configured_region(options: &Options) -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let given = options.region.clone().filter(|region| !region.is_empty());
    if let Some(region) = given.or_else(|| set("AWS_REGION")).or_else(|| set("AWS_DEFAULT_REGION")) {
        return Some(region);
    }
    let mut provider = ProfileFileRegionProvider::builder();
    if let Some(profile) = &options.profile {
        provider = provider.profile_name(profile);
    }
    provider.build().region().await.map(|region| region.to_string()).filter(|region| !region.is_empty())
}

async fn connect(options: &Options, region: Option<String>) -> Result<Link, Fault> {
    let region = region.unwrap_or_else(|| HOME.to_owned());
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.clone()))
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL).build());
    if let Some(profile) = &options.profile {
        // The credentials of a profile that is asked for come before those in the environment, as with the AWS CLI.
        let doors = ProviderConfig::default().with_region(Some(Region::new(region.clone())));
        // Made twice: one that failed tells why only once.
        let asked = || ProfileFileCredentialsProvider::builder().configure(&doors).profile_name(profile).build();
        loader = loader.profile_name(profile);
        loader = match asked().provide_credentials().await {
            // There is such a profile, for the region, say, but without credentials.
            Err(e) if !is_unknown_profile(&e) => {
                let others = DefaultCredentialsChain::builder().configure(doors.clone()).profile_name(profile);
                loader.credentials_provider(others.build().await)
            }
            _ => loader.credentials_provider(asked()),
        };
    }
    if let Some(url) = &options.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    let shared = loader.load().await;
    let endpoint = endpoint(options, &shared)?;
    let path_style = options.path_style || endpoint.as_deref().is_some_and(lacks_domain);
    let config = Builder::from(&shared)
        .force_path_style(path_style)
        // Checksums travel as headers that this program computes; see `digest`.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Ok(Link {
        client: Client::from_conf(config),
        foreign: endpoint.is_some(),
        endpoint: endpoint.unwrap_or_else(|| format!("Amazon S3 in {region}")).into(),
        region,
        credentials: shared.credentials_provider(),
    })
}

/// The URL of a server other than Amazon's.
fn endpoint(options: &Options, shared: &SdkConfig) -> Result<Option<String>, Fault> {
    // AWS_ENDPOINT_URL_S3, or what the profile's `services` section says, as the SDK itself looks it up.
    let of_s3 = || {
        let key = ServiceConfigKey::builder().service_id("S3").env("AWS_ENDPOINT_URL").profile("endpoint_url");
        shared.service_config()?.load_config(key.build().ok()?).filter(|url| !url.is_empty())
    };
    let url = options.endpoint_url.clone().or_else(of_s3).or_else(|| shared.endpoint_url().map(str::to_owned));
    match url {
        // What is not in a file was looked at before.
        Some(url) if url.contains('@') && options.endpoint_url.is_none() => {
            let profile = options.profile.clone().or_else(|| std::env::var("AWS_PROFILE").ok());
            let profile = profile.as_deref().unwrap_or("default");
            Err(Fault::Local(with_user(format!("endpoint_url of the profile {profile}"))))
        }
        url => Ok(url.filter(|url| !url.contains(".amazonaws.com"))),
    }
}

/// A mistyped profile must not be passed over for other credentials.
fn is_unknown_profile(e: &dyn std::error::Error) -> bool {
    format!("{}", DisplayErrorContext(e)).contains("was not defined")
}

/// Whether `BUCKET.HOST` can't resolve, as for `localhost` or a bare name in a container network.
fn lacks_domain(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    !host.contains('.')
}

#[cfg(test)]
mod tests {
    use super::lacks_domain;

    #[test]
    fn a_server_without_a_domain_gets_the_bucket_in_the_path() {
        assert!(lacks_domain("http://localhost:9000"));
        assert!(lacks_domain("https://minio:9000/"));
        assert!(!lacks_domain("https://s3.example.com"));
        assert!(!lacks_domain("http://127.0.0.1:9000"));
    }
}
