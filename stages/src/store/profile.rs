//! AWS profiles: object_store knows the environment and the platform's credentials, but not the files of the AWS
//! command line. Of what a profile may hold, static keys, region and endpoint are taken.

use std::collections::HashMap;
use std::path::PathBuf;

use configparser::ini::Ini;
use object_store::aws::AwsCredential;

use super::StoreError;
use super::connect::is_yes;

/// What a profile adds to the environment: nothing that the environment says already.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) credential: Option<AwsCredential>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

/// Texts of the two files, as far as they are there.
#[derive(Default)]
pub(super) struct Files {
    pub(super) credentials: Option<String>,
    pub(super) config: Option<String>,
}

impl Files {
    /// Reads both files from where the environment says, else from `~/.aws`.
    ///
    /// # Errors
    /// A file, or a profile, that was asked for by name and cannot be read.
    pub(super) fn read(environment: &impl Fn(&str) -> Option<String>) -> Result<Self, StoreError> {
        let read = |variable: &str, name: &str| {
            let named = environment(variable);
            let asked_for = named.is_some() || environment("AWS_PROFILE").is_some();
            let home = environment("HOME");
            let Some(path) = place(named, home, name) else {
                return Ok(None);
            };
            match std::fs::read_to_string(path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if asked_for && error.kind() != std::io::ErrorKind::NotFound => Err(setup(
                    &format!("expected a readable file of AWS profiles ({variable}), found {error}"),
                )),
                Err(_) => Ok(None),
            }
        };
        Ok(Self {
            credentials: read("AWS_SHARED_CREDENTIALS_FILE", "credentials")?,
            config: read("AWS_CONFIG_FILE", "config")?,
        })
    }
}

fn place(named: Option<String>, home: Option<String>, name: &str) -> Option<PathBuf> {
    let Some(named) = named else {
        return Some(PathBuf::from(home?).join(".aws").join(name));
    };
    match named.strip_prefix("~/") {
        Some(below) => Some(PathBuf::from(home?).join(below)),
        None => Some(PathBuf::from(named)),
    }
}

/// Variables that name where credentials come from, if not from a key.
const PLATFORM: [&str; 3] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Returns what the profile of `AWS_PROFILE`, else `default`, adds to the environment.
///
/// As in the AWS tools, a key in the environment goes before the profile's; a profile asked for by name goes before
/// the platform's credentials, and the default profile after them.
///
/// # Errors
/// A profile asked for that is not there, half a key, or credentials of a kind that is not resolved here.
pub(super) fn profile(
    files: &Files,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<Profile, StoreError> {
    let asked_for = environment("AWS_PROFILE");
    let name = asked_for.as_deref().unwrap_or("default");
    let credentials = sections(files.credentials.as_deref())?;
    let config = sections(files.config.as_deref())?;
    let in_config = config
        .get(&format!("profile {name}"))
        .or_else(|| config.get(name).filter(|_| name == "default"));
    let settings = Settings {
        credentials: credentials.get(name),
        config: in_config,
    };
    let any_of = |variables: &[&str]| variables.iter().any(|variable| environment(variable).is_some());
    let says_yes = |variable| environment(variable).is_some_and(|value| is_yes(&value));
    let key_at_hand = any_of(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]);
    if settings.credentials.is_none() && settings.config.is_none() {
        if asked_for.is_some() && !key_at_hand {
            return Err(setup(&format!(
                "expected AWS profile {name} (AWS_PROFILE), found none of that name in credentials or config"
            )));
        }
        return Ok(Profile::default());
    }
    let platforms = any_of(&PLATFORM) || says_yes("AWS_SKIP_SIGNATURE");
    let credential = if key_at_hand || (platforms && asked_for.is_none()) {
        None
    } else {
        settings.credential(name)?
    };
    let region = if any_of(&["AWS_REGION", "AWS_DEFAULT_REGION"]) {
        None
    } else {
        settings.get("region")
    };
    let endpoint_at_hand = any_of(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]);
    let endpoint = if endpoint_at_hand || says_yes("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
        None
    } else {
        settings.endpoint(&config)
    };
    Ok(Profile {
        credential,
        region: region.map(str::to_owned),
        endpoint: endpoint.map(str::to_owned),
    })
}

type Section = HashMap<String, Option<String>>;

/// The two sections of a profile.
struct Settings<'a> {
    credentials: Option<&'a Section>,
    config: Option<&'a Section>,
}

impl<'a> Settings<'a> {
    /// The credentials file goes before the other.
    fn get(&self, key: &str) -> Option<&'a str> {
        [self.credentials, self.config]
            .into_iter()
            .flatten()
            .find_map(|section| value(section, key))
    }

    fn credential(&self, name: &str) -> Result<Option<AwsCredential>, StoreError> {
        const INDIRECT: [&str; 6] = [
            "role_arn",
            "sso_session",
            "sso_start_url",
            "sso_account_id",
            "credential_process",
            "login_session",
        ];
        let keys = (self.get("aws_access_key_id"), self.get("aws_secret_access_key"));
        let indirect = INDIRECT.iter().find(|key| self.get(key).is_some());
        match (keys, indirect) {
            // a role goes before keys, in the AWS tools too: the keys are then its source's
            ((Some(key_id), Some(secret_key)), found) if found != Some(&"role_arn") => {
                Ok(Some(AwsCredential {
                    key_id: key_id.to_owned(),
                    secret_key: secret_key.to_owned(),
                    token: self.get("aws_session_token").map(str::to_owned),
                }))
            }
            (_, Some(found)) => Err(setup(&format!(
                "expected static keys in AWS profile {name}, found {found}, which is not resolved here: \
                 set the variables that `aws configure export-credentials --profile {name} --format env` prints"
            ))),
            ((None, None), None) => Ok(None),
            _ => Err(setup(&format!(
                "expected aws_access_key_id and aws_secret_access_key in AWS profile {name}, found one of them"
            ))),
        }
    }

    /// The endpoint of S3 in the profile's section of services goes before the profile's for all services.
    fn endpoint(&self, config: &'a HashMap<String, Section>) -> Option<&'a str> {
        let of_service = || {
            let services = config.get(&format!("services {}", self.get("services")?))?;
            value(services, "s3")?.lines().find_map(|line| {
                let (key, url) = line.split_once('=')?;
                (key.trim() == "endpoint_url").then(|| url.trim())
            })
        };
        of_service().or_else(|| self.get("endpoint_url"))
    }
}

fn value<'a>(section: &'a Section, key: &str) -> Option<&'a str> {
    let (_, value) = section.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
    value.as_deref().filter(|value| !value.is_empty())
}

/// Sections as the AWS tools read them: names with their case, `#` and `;` only at the start of a line, deeper lines
/// as part of the value above.
fn sections(text: Option<&str>) -> Result<HashMap<String, Section>, StoreError> {
    let mut ini = Ini::new_cs();
    ini.set_inline_comment_symbols(Some(&[]));
    ini.set_multiline(true);
    // the parser's own message may hold a line of the file
    ini.read(text.unwrap_or_default().to_owned()).map_err(|_| {
        setup("expected an INI file of AWS profiles, found a line that is neither section nor key")
    })
}

fn setup(message: &str) -> StoreError {
    StoreError::Setup(message.to_owned())
}

#[cfg(test)]
mod tests;
