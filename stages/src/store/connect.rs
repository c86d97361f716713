//! From a URL to a client of its store.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig, StaticCredentialProvider,
};
use serde::{Deserialize, Serialize};
use url::{Position, Url};

use super::StoreError;
use super::credentials::SoonFirst;
use super::profile::{Files, Profile, profile};
use super::read_only::ReadOnly;

/// Section `[store]`: how long a store may keep us waiting. A request as a whole has no limit, so that a slow but
/// steady download of any size comes to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConf {
    /// Longest time until a connection stands, in seconds.
    pub connect_timeout_s: NonZeroU64,
    /// Longest silence of a store, in seconds; the request itself must be sent within it (at most 8 MiB of an object,
    /// but a create-only put whole).
    pub read_timeout_s: NonZeroU64,
    /// Longest time over which a request is tried again, in seconds. Not above 300: a signature is not renewed.
    pub retry_timeout_s: u64,
    /// Most times that a request is tried again, at most 10 seconds apart.
    pub max_retries: usize,
}

impl Default for StoreConf {
    fn default() -> Self {
        const TEN: NonZeroU64 = NonZeroU64::new(10).expect("not zero");
        const SIXTY: NonZeroU64 = NonZeroU64::new(60).expect("not zero");
        Self {
            connect_timeout_s: TEN,
            read_timeout_s: SIXTY,
            retry_timeout_s: 240,
            max_retries: 40,
        }
    }
}

impl StoreConf {
    /// Waits of 0.25 to 10 s. object_store draws each wait between the first and `base` times the last; with its own
    /// base of 2 waits hardly grow, and its ten tries are over after some 3 s. With 6 forty tries last 219 s in 999 of
    /// 1000 cases (simulated), so that `retry_timeout_s` decides.
    fn retry(&self) -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(250),
                max_backoff: Duration::from_secs(10),
                base: 6.0,
            },
            max_retries: self.max_retries,
            retry_timeout: Duration::from_secs(self.retry_timeout_s),
        }
    }

    /// What a setting of the environment says (`AWS_PROXY_URL`, …) goes before ours.
    fn client(&self, prefix: &str, variables: impl Iterator<Item = (String, String)>) -> ClientOptions {
        let ours = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(Duration::from_secs(self.connect_timeout_s.get()))
            .with_read_timeout(Duration::from_secs(self.read_timeout_s.get()));
        variables.fold(ours, |options, (name, value)| {
            let key = name.strip_prefix(prefix).map(str::to_ascii_lowercase);
            match key.and_then(|key| key.parse::<ClientConfigKey>().ok()) {
                Some(key) => options.with_config(key, value),
                None => options,
            }
        })
    }
}

/// Refuses what would otherwise be dropped silently, or kept where a URL is kept: parts of a URL that carry
/// credentials. The error names the part, never the URL.
pub(super) fn check(url: &Url) -> Result<(), StoreError> {
    // abfss://container@account.dfs.core.windows.net/: the name before the '@' is a container's
    let may_name_container = matches!(url.scheme(), "az" | "abfs" | "abfss");
    if url.password().is_some() || (!url.username().is_empty() && !may_name_container) {
        return Err(StoreError::Part("a user name or password"));
    }
    if url.query().is_some() {
        return Err(StoreError::Part("a query"));
    }
    if url.fragment().is_some() {
        return Err(StoreError::Part("a fragment"));
    }
    Ok(())
}

/// Credentials come from the environment, an AWS profile or the platform's chain only.
pub(super) fn connect(url: &Url, conf: &StoreConf) -> Result<Arc<dyn ObjectStore>, StoreError> {
    match url.scheme() {
        "file" => Ok(Arc::new(LocalFileSystem::new())),
        "memory" => Ok(Arc::new(InMemory::new())),
        "s3" | "s3a" => s3(url, conf),
        "gs" => gcs(url, conf),
        "az" | "azure" | "abfs" | "abfss" => azure(url, conf),
        "http" | "https" => http(url, conf),
        scheme => Err(StoreError::Url(format!("scheme {scheme}"))),
    }
}

fn s3(url: &Url, conf: &StoreConf) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let added = profile(&Files::read(&environment)?, &environment)?;
    let builder = AmazonS3Builder::from_env()
        .with_url(url.as_str())
        .with_client_options(conf.client("AWS_", variables()));
    let builder = finish_s3(builder, added, url.host_str().unwrap_or_default())?;
    let soon = builder.clone().with_retry(SoonFirst::retry()).build()?;
    let builder = builder.with_retry(conf.retry());
    let patient = builder.clone().build()?;
    let credentials = SoonFirst::new("AWS", soon.credentials(), patient.credentials());
    Ok(Arc::new(builder.with_credentials(credentials).build()?))
}

/// Adds the profile and what object_store leaves to its callers: the bucket in an endpoint of virtual-hosted style,
/// and a word on plain http.
fn finish_s3(
    mut builder: AmazonS3Builder,
    added: Profile,
    bucket: &str,
) -> Result<AmazonS3Builder, StoreError> {
    if let Some(credential) = added.credential {
        builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(credential)));
    }
    if let Some(region) = added.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = added.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let endpoint = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint]
        .iter()
        .find_map(|key| builder.get_config_value(key));
    let Some(endpoint) = endpoint else {
        return Ok(builder);
    };
    let no_url = || setup("expected an absolute URL as endpoint of S3, found another text");
    let mut endpoint = Url::parse(&endpoint).map_err(|_| no_url())?;
    let says_yes = |key| builder.get_config_value(&key).is_some_and(|value| is_yes(&value));
    if endpoint.scheme() == "http" && !says_yes(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)) {
        return Err(setup(
            "expected AWS_ALLOW_HTTP=true beside an endpoint of plain http, found the endpoint alone",
        ));
    }
    if says_yes(AmazonS3ConfigKey::VirtualHostedStyleRequest) {
        let host = endpoint.host_str().ok_or_else(no_url)?;
        if !host.starts_with(&format!("{bucket}.")) {
            let host = format!("{bucket}.{host}");
            endpoint.set_host(Some(&host)).map_err(|_| {
                setup("expected an endpoint with a host name for virtual-hosted style, found an address")
            })?;
            let endpoint = endpoint.as_str().trim_end_matches('/');
            builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
        }
    }
    Ok(builder)
}

fn gcs(url: &Url, conf: &StoreConf) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let builder = GoogleCloudStorageBuilder::from_env()
        .with_url(url.as_str())
        .with_client_options(conf.client("GOOGLE_", variables()));
    let soon = builder.clone().with_retry(SoonFirst::retry()).build()?;
    let builder = builder.with_retry(conf.retry());
    let patient = builder.clone().build()?;
    let credentials = SoonFirst::new("Google Cloud", soon.credentials(), patient.credentials());
    Ok(Arc::new(builder.with_credentials(credentials).build()?))
}

fn azure(url: &Url, conf: &StoreConf) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let builder = MicrosoftAzureBuilder::from_env()
        .with_url(url.as_str())
        .with_client_options(conf.client("AZURE_", variables()));
    let soon = builder.clone().with_retry(SoonFirst::retry()).build()?;
    let builder = builder.with_retry(conf.retry());
    let patient = builder.clone().build()?;
    let credentials = SoonFirst::new("Azure", soon.credentials(), patient.credentials());
    Ok(Arc::new(builder.with_credentials(credentials).build()?))
}

/// An http URL in a manifest is explicit by itself: what it names is public to whoever sees the line.
fn http(url: &Url, conf: &StoreConf) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let options = conf
        .client("", std::iter::empty())
        .with_allow_http(url.scheme() == "http");
    let store = HttpBuilder::new()
        .with_url(&url[..Position::BeforePath])
        .with_client_options(options)
        .with_retry(conf.retry())
        .build()?;
    Ok(Arc::new(ReadOnly(store)))
}

/// Every variable of the environment that is text: `vars` panics on the others.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// As object_store reads its switches.
pub(super) fn is_yes(text: &str) -> bool {
    ["1", "true", "on", "yes", "y"].contains(&text.to_ascii_lowercase().as_str())
}

fn setup(message: &str) -> StoreError {
    StoreError::Setup(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3_with(settings: &[(AmazonS3ConfigKey, &str)]) -> Result<AmazonS3Builder, StoreError> {
        let builder = settings.iter().fold(
            AmazonS3Builder::new().with_url("s3://masks"),
            |builder, (key, value)| builder.with_config(*key, *value),
        );
        finish_s3(builder, Profile::default(), "masks")
    }

    #[test]
    fn plain_http_needs_a_word_beside_the_endpoint() {
        let endpoint = (AmazonS3ConfigKey::Endpoint, "http://127.0.0.1:1");
        let error = s3_with(&[endpoint]).expect_err("refused").to_string();
        assert!(error.contains("AWS_ALLOW_HTTP=true"), "{error}");
        let allowed = (AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp), "true");
        assert!(s3_with(&[endpoint, allowed]).is_ok());
        assert!(s3_with(&[(AmazonS3ConfigKey::Endpoint, "https://s3.example")]).is_ok());
        assert!(s3_with(&[(AmazonS3ConfigKey::Endpoint, "s3.example")]).is_err());
        let store = s3_with(&[]).expect("settings").build().expect("store");
        assert_eq!(store.to_string(), "AmazonS3(masks)");
    }

    #[test]
    fn virtual_hosted_style_puts_the_bucket_before_the_endpoints_host() {
        let style = (AmazonS3ConfigKey::VirtualHostedStyleRequest, "true");
        let endpoint_of = |endpoint| {
            let builder = s3_with(&[style, (AmazonS3ConfigKey::Endpoint, endpoint)])?;
            let key = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
            Ok(key.iter().find_map(|key| builder.get_config_value(key)))
        };
        let endpoint_of = |endpoint| endpoint_of(endpoint).map_err(|error: StoreError| error.to_string());
        let expected = Ok(Some("https://masks.s3.example".to_owned()));
        assert_eq!(endpoint_of("https://s3.example"), expected);
        assert_eq!(endpoint_of("https://masks.s3.example"), expected);
        assert!(endpoint_of("https://127.0.0.1:9000").is_err());
    }

    #[test]
    fn a_request_has_no_limit_as_a_whole_and_the_environment_goes_first() {
        let conf = StoreConf::default();
        let value = |options: &ClientOptions, key| options.get_config_value(&key);
        let options = conf.client("AWS_", std::iter::empty());
        assert_eq!(value(&options, ClientConfigKey::Timeout), None);
        assert_eq!(
            value(&options, ClientConfigKey::ReadTimeout).as_deref(),
            Some("1m")
        );
        let variables = [
            ("AWS_PROXY_URL", "http://proxy"),
            ("AWS_READ_TIMEOUT", "5s"),
            ("READ_TIMEOUT", "6s"),
        ];
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = conf.client("AWS_", variables);
        assert_eq!(
            value(&options, ClientConfigKey::ProxyUrl).as_deref(),
            Some("http://proxy")
        );
        assert_eq!(
            value(&options, ClientConfigKey::ReadTimeout).as_deref(),
            Some("5s")
        );
    }
}
