//! Credentials that are missing are missed soon.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::{BackoffConfig, CredentialProvider, Result, RetryConfig};

type Provider<C> = Arc<dyn CredentialProvider<Credential = C>>;

/// Asks for the first credential with little patience: outside the cloud nobody answers at the address of the
/// instance's credentials, and a user without any would wait for minutes. Once there has been one, later ones
/// (a token's renewal) are worth as much waiting as the data.
pub(super) struct SoonFirst<C> {
    platform: &'static str,
    soon: Provider<C>,
    patient: Provider<C>,
    had_one: AtomicBool,
}

impl SoonFirst<()> {
    /// Patience with the first credential: a few seconds.
    pub(super) fn retry() -> RetryConfig {
        RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: 3,
            retry_timeout: Duration::from_secs(10),
        }
    }
}

impl<C: Send + Sync + 'static> SoonFirst<C> {
    /// Returns the provider; `platform` is for its error.
    #[expect(
        clippy::new_ret_no_self,
        reason = "callers want the provider and nothing else"
    )]
    pub(super) fn new(platform: &'static str, soon: &Provider<C>, patient: &Provider<C>) -> Provider<C> {
        Arc::new(Self {
            platform,
            soon: Arc::clone(soon),
            patient: Arc::clone(patient),
            had_one: AtomicBool::new(false),
        })
    }
}

/// Without the providers: not every one of them hides its secret.
impl<C> fmt::Debug for SoonFirst<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoonFirst({})", self.platform)
    }
}

#[async_trait]
impl<C: Send + Sync + 'static> CredentialProvider for SoonFirst<C> {
    type Credential = C;

    async fn get_credential(&self) -> Result<Arc<C>> {
        if self.had_one.load(Ordering::Relaxed) {
            return self.patient.get_credential().await;
        }
        let first = self.soon.get_credential().await;
        let credential = first.map_err(|error| object_store::Error::Unauthenticated {
            path: "credentials".to_owned(),
            source: format!(
                "expected {} credentials in the environment, a profile or from the platform, found none: {error}",
                self.platform
            )
            .into(),
        })?;
        self.had_one.store(true, Ordering::Relaxed);
        Ok(credential)
    }
}
