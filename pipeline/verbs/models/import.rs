//! `models import`: a file of weights becomes a version.

use std::time::SystemTime;

use bytes::Bytes;
use models::description::{Description, Method};
use models::reconstructor::LEARNED;
use models::weights::{read, sha256_hex};
use models::{LoadedWeights, ModelConf, ModelError, open};
use stages::blocking;
use stages::registry::{CARD, CONFIG, Draft, Registry, VersionName, WEIGHTS};
use stages::store::Place;

use super::refused;
use crate::RunEnd;
use crate::run::{SMALL_OBJECT, say};

/// What makes an imported version.
const IMPORT: &str = "import";

/// Publishes the weights of a file, unless a version has the same ones.
pub(super) async fn import(registry: &Registry, file: &Place, note: &str) -> Result<(), RunEnd> {
    let unfit = |error: String| RunEnd::Conf(format!("FILE: {error}"));
    let bytes = file.read(SMALL_OBJECT).await;
    let bytes = bytes.map_err(|error| unfit(error.to_string()))?;
    let (method, weights) = (registry.method().to_owned(), bytes.clone());
    let looked_at = blocking(move || {
        let description = described(&method, &weights)?;
        Ok::<_, ModelError>((description, sha256_hex(&weights)))
    });
    let (description, sha256) = looked_at.await.map_err(|error| unfit(error.to_string()))?;

    let versions = registry.versions().await.map_err(refused)?;
    if let Some(there) = versions.iter().find(|version| version.weights_sha256 == sha256) {
        say(&format!("these weights are there already: {}", there.version));
        return Ok(());
    }
    let name = VersionName::on(SystemTime::now(), &sha256).map_err(refused)?;
    let config = serde_json::to_string_pretty(&description);
    let config = config.map_err(|error| unfit(format!("description: {error}")))?;
    let card = card(registry.method(), &name, &description, &sha256, note);
    let files: [(&str, Bytes); 3] = [(WEIGHTS, bytes), (CONFIG, config.into()), (CARD, card.into())];
    let draft = Draft {
        name,
        files: files.map(|(name, bytes)| (name.to_owned(), bytes)).into(),
        parent: None,
        made_by: IMPORT.to_owned(),
        note: note.to_owned(),
    };
    let record = registry.publish(draft).await.map_err(refused)?;
    say(&format!(
        "imported as {}; `spinestream models promote {} --method {}` makes it champion",
        record.version, record.version, record.method
    ));
    Ok(())
}

/// Returns what weights say of themselves, if a run could open them as that method's.
fn described(method: &str, bytes: &[u8]) -> Result<Description, ModelError> {
    let known = Method::ALL.into_iter().find(|known| known.as_str() == method);
    let known = known.ok_or_else(|| ModelError::Unknown {
        known: LEARNED.join(", "),
        found: method.to_owned(),
    })?;
    let description = Description::of(known, &read(bytes)?.metadata)?;
    // the description alone does not tell whether the tensors fit it
    let mut loaded = LoadedWeights::new();
    loaded.add(method, bytes)?;
    let conf = ModelConf {
        chain: vec![method.to_owned()],
        ..ModelConf::default()
    };
    open(&conf, &loaded, "cpu")?;
    Ok(description)
}

fn card(method: &str, name: &VersionName, description: &Description, sha256: &str, note: &str) -> String {
    let note = if note.is_empty() { "none" } else { note };
    format!(
        "# {method} {name}\n\nImported from a file: its training is not known to this registry.\n\n- the weights call \
         themselves: {}\n- SHA-256: {sha256}\n- note: {note}\n\nResearch software. Not a medical device; nothing here may \
         steer the treatment of a patient.\n",
        description.version
    )
}

#[cfg(test)]
mod tests {
    use models::weights::shipped;

    use super::*;

    #[test]
    fn weights_of_another_method_or_none_at_all_are_refused() {
        let reconnet = shipped(Method::ReconNet);
        let description = described("reconnet", reconnet).expect("the shipped ones");
        assert_eq!(description.method, Method::ReconNet);
        let refused = described("vae", reconnet).expect_err("another method");
        assert!(refused.to_string().contains("reconnet"), "{refused}");
        assert!(described("reconnet", b"no weights").is_err());
        assert!(described("reconnet", &reconnet[..reconnet.len() - 1]).is_err());
    }
}
