//! Weights by name: what `model.weights = "champion"` means on the day of the run.

use std::collections::BTreeMap;

use bytes::Bytes;
use models::reconstructor::{LEARNED, SHIPPED};
use models::{ModelConf, Weights};
use stages::registry::{Registry, RegistryError, VersionRecord, WEIGHTS, is_name};
use stages::store::Stores;

use crate::RunEnd;
use crate::conf::Conf;
use crate::run::place;

/// Returns the registry's part of a method.
///
/// # Errors
/// `[registry] url` is not set, or no place.
pub fn registry(conf: &Conf, stores: &Stores, method: &str) -> Result<Registry, RunEnd> {
    if conf.registry.url.is_empty() {
        let message = "registry.url: expected the prefix that trained models are kept below, found nothing; set it to a \
                       path or URL ([registry] url, or --set registry.url=…)";
        return Err(RunEnd::Conf(message.to_owned()));
    }
    let root = place(stores, "registry.url", &conf.registry.url)?;
    Ok(Registry::new(&root, method))
}

/// Returns the configuration whose `model.weights` name versions where they named aliases. The run's id follows from it:
/// two nights' champions are two runs.
///
/// # Errors
/// There is no registry, no such alias or version; or the registry cannot be read.
pub async fn resolved(conf: &Conf, stores: &Stores) -> Result<Conf, RunEnd> {
    let weights = versions("model", &conf.model, conf, stores).await?;
    let mut resolved = conf.clone();
    resolved.model.weights = weights;
    Ok(resolved)
}

/// The same for the weights of every method of `[comparison]`.
///
/// # Errors
/// See [`resolved`].
pub async fn resolved_methods(conf: &Conf, stores: &Stores) -> Result<Conf, RunEnd> {
    let mut resolved = conf.clone();
    for method in &mut resolved.comparison.methods {
        let key = format!("comparison.methods, {}", method.name);
        method.model.weights = versions(&key, &method.model, conf, stores).await?;
    }
    Ok(resolved)
}

/// Returns a model's weights with versions in the place of aliases, in one form however they were written: each method of
/// the chain has its own part of the registry.
async fn versions(key: &str, model: &ModelConf, conf: &Conf, stores: &Stores) -> Result<Weights, RunEnd> {
    let named: BTreeMap<String, String> = match &model.weights {
        Weights::One(text) if is_name(text) => {
            let learned = model.chain.iter().filter(|name| is_learned(name));
            learned.map(|name| (name.clone(), text.clone())).collect()
        }
        Weights::Each(each) if each.values().any(|text| is_name(text)) => each.clone(),
        weights => return Ok(weights.clone()),
    };
    let mut each = BTreeMap::new();
    for (method, text) in named {
        // names that are none of the chain are refused where weights are read
        let is_one = is_name(&text) && is_learned(&method) && model.chain.contains(&method);
        let text = if is_one {
            let (_, record) = record(key, &method, &text, conf, stores).await?;
            let version = record.version.to_string();
            if text != version {
                tracing::info!("{key}.weights: {text} of {method} is {version}");
            }
            version
        } else {
            text
        };
        each.insert(method, text);
    }
    if each.is_empty() {
        // nothing in the chain learns, so there is nothing to look up
        return Ok(Weights::One(SHIPPED.to_owned()));
    }
    Ok(Weights::Each(each))
}

fn is_learned(name: &str) -> bool {
    LEARNED.contains(&name)
}

/// Reads the weights that a name of the registry stands for; they are as they were published.
///
/// # Errors
/// See [`resolved`]; or the weights are not those that the registry has recorded.
pub async fn weights(
    key: &str,
    method: &str,
    text: &str,
    conf: &Conf,
    stores: &Stores,
) -> Result<Bytes, RunEnd> {
    let (registry, record) = record(key, method, text, conf, stores).await?;
    let read = registry.read(&record, WEIGHTS).await;
    read.map_err(|error| ended(&format!("{key}.weights"), error))
}

async fn record(
    key: &str,
    method: &str,
    text: &str,
    conf: &Conf,
    stores: &Stores,
) -> Result<(Registry, VersionRecord), RunEnd> {
    if conf.registry.url.is_empty() {
        return Err(RunEnd::Conf(format!(
            "{key}.weights: expected registry.url to be set, below which {text:?} is looked up, found nothing; set it \
             ([registry] url), or write ./{text} if it is a file"
        )));
    }
    let registry = registry(conf, stores, method)?;
    let record = registry.resolve(text).await;
    let record = record.map_err(|error| ended(&format!("{key}.weights"), error))?;
    Ok((registry, record))
}

/// Returns how a verb ends that the registry has refused: to ask for what is not there is bad usage, anything else is
/// trouble with the registry.
pub fn ended(key: &str, error: RegistryError) -> RunEnd {
    let message = format!("{key}: {error}");
    match error {
        RegistryError::Name(_)
        | RegistryError::NoVersion { .. }
        | RegistryError::NoAlias { .. }
        | RegistryError::Draft(_) => RunEnd::Conf(message),
        RegistryError::NoFile { .. }
        | RegistryError::Damaged { .. }
        | RegistryError::Taken(_)
        | RegistryError::Store(_) => RunEnd::Unusable(message),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use stages::registry::{Alias, Draft, VersionName};

    use super::*;

    fn conf(settings: &[&str]) -> Conf {
        let places = [
            "run.manifest=m.csv",
            "run.output=out",
            "registry.url=memory:///registry",
        ];
        let all: Vec<String> = places
            .iter()
            .chain(settings)
            .map(|text| (*text).to_owned())
            .collect();
        Conf::read(None, std::iter::empty(), &all).expect("conf")
    }

    /// Publishes weights of a method under a name that ends with a letter, as champion.
    async fn crown(stores: &Stores, method: &str, letter: char) -> VersionName {
        let registry = registry(&conf(&[]), stores, method).expect("registry");
        let name = VersionName::on(SystemTime::UNIX_EPOCH, &format!("0000000{letter}")).expect("a name");
        let draft = Draft {
            name: name.clone(),
            files: vec![(WEIGHTS.to_owned(), letter.to_string().into())],
            parent: None,
            made_by: "a test".to_owned(),
            note: String::new(),
        };
        registry.publish(draft).await.expect("published");
        let last = registry.alias(Alias::Champion).await.expect("alias");
        let after = last.map_or(0, |entry| entry.number);
        let pointed = registry.point(Alias::Champion, &name, after, "a test", "").await;
        pointed.expect("pointed");
        name
    }

    async fn id(stores: &Stores, settings: &[&str]) -> String {
        let resolved = resolved(&conf(settings), stores).await.expect("resolved");
        resolved.run_id().expect("id")
    }

    #[tokio::test]
    async fn a_champion_becomes_the_version_it_is_and_another_champion_is_another_run() {
        let stores = Stores::default();
        let first = crown(&stores, "lsd_ebm", 'a').await;
        let champion = ["model.weights=champion"];
        let ours = id(&stores, &champion).await;
        let by_name = format!("model.weights={first}");
        assert_eq!(ours, id(&stores, &[&by_name]).await);
        assert_eq!(
            ours,
            id(&stores, &["model.weights={ lsd_ebm = \"champion\" }"]).await
        );
        assert_ne!(ours, id(&stores, &[]).await, "the shipped ones are another run");

        crown(&stores, "lsd_ebm", 'b').await;
        assert_ne!(ours, id(&stores, &champion).await);
        assert_eq!(
            ours,
            id(&stores, &[&by_name]).await,
            "named, a run goes on with the same weights"
        );
    }

    #[tokio::test]
    async fn each_method_of_a_chain_has_a_champion_of_its_own() {
        let stores = Stores::default();
        let first = crown(&stores, "reconnet", 'c').await;
        let second = crown(&stores, "lsd_ebm", 'd').await;
        let chain = "model.chain=[\"interpolate\", \"reconnet\", \"lsd_ebm\"]";
        let conf = conf(&[chain, "model.weights=champion"]);
        let resolved = resolved(&conf, &stores).await.expect("resolved");
        assert_eq!(resolved.model.weights.of("interpolate"), None);
        assert_eq!(resolved.model.weights.of("reconnet"), Some(first.as_str()));
        assert_eq!(resolved.model.weights.of("lsd_ebm"), Some(second.as_str()));
        let bytes = weights("model", "lsd_ebm", second.as_str(), &conf, &stores).await;
        assert_eq!(bytes.expect("weights"), "d");
    }

    #[tokio::test]
    async fn what_is_no_name_stays_as_it_is_and_a_chain_without_networks_needs_none() {
        let stores = Stores::default();
        for text in ["shipped", "./champion", "s3://bucket/champion"] {
            let conf = conf(&[&format!("model.weights={text}")]);
            assert_eq!(resolved(&conf, &stores).await.expect("resolved"), conf);
        }
        let plain = conf(&["model.chain=[\"interpolate\"]", "model.weights=champion"]);
        let plain = resolved(&plain, &stores).await.expect("resolved");
        assert_eq!(plain.model.weights, Weights::One(SHIPPED.to_owned()));
    }

    #[tokio::test]
    async fn without_a_registry_or_a_champion_the_configuration_is_at_fault() {
        let stores = Stores::default();
        for (settings, said) in [
            (&["model.weights=champion", "registry.url="][..], "registry.url"),
            (&["model.weights=challenger"], "expected a challenger"),
            (&["model.weights=v20261126-00000000"], "v20261126-00000000"),
        ] {
            let end = resolved(&conf(settings), &stores).await.expect_err("refused");
            assert!(matches!(end, RunEnd::Conf(_)), "{end}");
            assert!(end.to_string().contains(said), "{end}");
        }
    }
}
