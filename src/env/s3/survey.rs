//! A look at the way to a bucket, one stage after the other, for who wants to know where it ends.

use super::S3;
use super::errors::Fault;
use crate::error::{Error, Kind, Result};
use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, ProvideCredentials, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use chrono::{DateTime, Utc};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where requests go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// Whether by TLS.
    pub is_tls: bool,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Where credentials came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// In words.
    pub from: &'static str,
    /// When they expire, if they do.
    pub expires: Option<DateTime<Utc>>,
}

/// What a server says when it is asked for the bucket.
#[derive(Clone, Debug, Default)]
pub struct Greeting {
    /// Where it was asked.
    pub address: Address,
    /// HTTP status; none: there was no answer.
    pub status: Option<u16>,
    /// The server's clock, to the second (RFC 9110, 6.6.1).
    pub date: Option<DateTime<Utc>>,
    /// The bucket's region, if it is told.
    pub region: Option<String>,
    /// What it refused, or why there was no answer.
    pub failed: Option<Error>,
}

impl S3 {
    /// Where the credentials come from. Asks for them, also over the network.
    ///
    /// # Errors
    /// There are none, or none could be had.
    pub async fn credentials(&self) -> Result<Source> {
        let link = self.link().await.map_err(|e| self.error("reach", &self.options.bucket, &e))?;
        let nobody = || Fault::Credentials("no credentials are set".to_owned());
        let had = match &link.credentials {
            None => Err(nobody()),
            Some(provider) => provider
                .provide_credentials()
                .await
                .map_err(|e| Fault::Credentials(aws_sdk_s3::error::DisplayErrorContext(e).to_string())),
        };
        let had = had.map_err(|e| self.error("get credentials for", &self.options.bucket, &e))?;
        let features = had.get_property::<Vec<Feature>>().map(Vec::as_slice).unwrap_or_default();
        let from = features.iter().rev().find_map(source).unwrap_or("the default chain of the AWS settings");
        Ok(Source { from, expires: had.expiry().map(DateTime::from) })
    }

    /// Asks the server for the bucket, and listens to how it answers.
    pub async fn greet(&self) -> Greeting {
        let heard = Heard::default();
        let link = match self.link().await {
            Ok(link) => link,
            Err(e) => return Greeting { failed: Some(self.error("reach", &self.options.bucket, &e)), ..heard.told() },
        };
        let ask = link.client.head_bucket().bucket(&self.options.bucket).customize();
        let answer = ask.interceptor(heard.clone()).config_override(self.limits(0, Duration::ZERO)).send().await;
        let mut greeting = heard.told();
        match answer {
            Ok(output) => greeting.region = output.bucket_region.or(greeting.region),
            Err(e) => {
                greeting.failed = Some(self.error("look at", &self.options.bucket, &Fault::of(&e).at(&link.endpoint)));
            }
        }
        greeting
    }
}

/// The addresses of a host.
///
/// # Errors
/// Its name is not known.
pub async fn resolve(address: &Address) -> Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((address.host.trim_matches(['[', ']']), address.port)).await;
    let found = found.map_err(|e| Error::retry("resolve", &address.host, Kind::Unreachable, e))?;
    Ok(found.map(|socket| socket.ip()).collect())
}

fn source(feature: &Feature) -> Option<&'static str> {
    Some(match feature {
        Feature::CredentialsEnvVars => "the environment (AWS_ACCESS_KEY_ID)",
        Feature::CredentialsEnvVarsStsWebIdToken => "a web identity token (AWS_WEB_IDENTITY_TOKEN_FILE)",
        Feature::CredentialsStsAssumeRole => "an assumed role",
        Feature::CredentialsStsAssumeRoleWebId => "an assumed role, by a web identity token",
        Feature::CredentialsProfile | Feature::CredentialsProfileSourceProfile => "a profile in the AWS files",
        Feature::CredentialsProfileNamedProvider => "a provider that a profile names",
        Feature::CredentialsProfileStsWebIdToken => "a web identity token that a profile names",
        Feature::CredentialsProfileSso | Feature::CredentialsSso => "IAM Identity Center",
        Feature::CredentialsProfileProcess | Feature::CredentialsProcess => "a program (credential_process)",
        Feature::CredentialsHttp => "the container's endpoint",
        Feature::CredentialsImds => "the instance metadata (IMDS)",
        _ => return None,
    })
}

/// Hears what goes over the line of one call.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Greeting>>);

impl Heard {
    fn told(&self) -> Greeting {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Intercept for Heard {
    fn name(&self) -> &'static str {
        "survey"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).address = address(context.request().uri());
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, headers) = (context.response().status(), context.response().headers());
        heard.status = Some(status.as_u16());
        heard.date = headers.get("date").and_then(|date| Some(DateTime::parse_from_rfc2822(date).ok()?.to_utc()));
        heard.region = headers.get("x-amz-bucket-region").map(str::to_owned);
        Ok(())
    }
}

/// The host and port of a URL that the SDK made.
fn address(url: &str) -> Address {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let is_tls = scheme == "https";
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let behind = authority.rfind(']').unwrap_or_default();
    let (host, port) = match authority[behind..].rfind(':') {
        Some(at) => (&authority[..behind + at], authority[behind + at + 1..].parse().ok()),
        None => (authority, None),
    };
    Address { is_tls, host: host.to_owned(), port: port.unwrap_or(if is_tls { 443 } else { 80 }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_that_of_the_url() {
        let tell = |url: &str| {
            let Address { is_tls, host, port } = address(url);
            (is_tls, host, port)
        };
        assert_eq!(
            tell("https://b.s3.eu-west-1.amazonaws.com/?x=1"),
            (true, "b.s3.eu-west-1.amazonaws.com".into(), 443)
        );
        assert_eq!(tell("http://127.0.0.1:9000/logs"), (false, "127.0.0.1".into(), 9000));
        assert_eq!(tell("http://[::1]:81/logs"), (false, "[::1]".into(), 81));
        assert_eq!(tell("http://[::1]/"), (false, "[::1]".into(), 80));
    }
}
