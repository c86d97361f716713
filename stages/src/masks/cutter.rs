//! Cuts cases of a manifest again, as their run did.

use std::sync::Arc;

use schemas::{Cropped, Listed};

use crate::gather::Cut;
use crate::manifest::Manifest;

/// The manifest, and the stages from a listed case to its cubes.
#[derive(Debug)]
pub struct Cutter {
    cut: Cut,
    manifest: Manifest,
    /// The case that was cut last: whoever looks at one vertebra looks at its neighbours.
    last: Option<(String, Arc<Cropped>)>,
}

impl Cutter {
    /// Will cut cases of this manifest.
    pub fn new(cut: Cut, manifest: Manifest) -> Self {
        Self {
            cut,
            manifest,
            last: None,
        }
    }

    /// Cuts a case.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub(super) async fn case(&mut self, case_id: &str) -> Result<Arc<Cropped>, String> {
        if let Some((id, case)) = &self.last
            && id == case_id
        {
            return Ok(Arc::clone(case));
        }
        let cropped = self.cut.run(self.listed(case_id)?).await;
        let cropped =
            cropped.map_err(|fault| format!("the manifest's masks cannot be read again: {fault}"))?;
        let cropped = Arc::new(cropped);
        self.last = Some((case_id.to_owned(), Arc::clone(&cropped)));
        Ok(cropped)
    }

    /// Goes through the manifest for the row of the case: no index is held of what is looked at now and then.
    fn listed(&self, case_id: &str) -> Result<Listed, String> {
        let cases = self.manifest.read().map_err(|error| error.to_string())?;
        for case in cases {
            if let Ok(case) = case.map_err(|error| error.to_string())?
                && case.id.as_str().eq_ignore_ascii_case(case_id)
            {
                return Ok(case.body);
            }
        }
        Err("the manifest does not hold this case any more".to_owned())
    }
}
