//! How the lineage names where a mask lies: by a keyed hash, since places hold record numbers.

use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::TryRng as _;
use rand::rngs::SysRng;
use schemas::payload::Named;
use sha2::Sha256;

use crate::compare::key::hex;
use crate::registry::Registry;
use crate::store::StoreError;

/// Returns the keyed hash of where a mask lies and how its labels are read.
pub fn source(mask: &Named, salt: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(salt).expect("HMAC takes keys of any length");
    mac.update(mask.scheme.to_string().as_bytes());
    mac.update(b"\n");
    mac.update(mask.url.expose().as_bytes());
    hex(&mac.finalize().into_bytes()[..16])
}

/// Bytes of the registry's salt.
const SALT_BYTES: u64 = 32;

/// Returns what sources are hashed under: random, made by the first night, so that no record number can be looked up in
/// a table of hashes.
pub async fn salt(registry: &Registry) -> Result<Bytes, StoreError> {
    let place = registry.place("salt");
    let mut salt = [0_u8; SALT_BYTES as usize];
    loop {
        match place.read(SALT_BYTES).await {
            Ok(salt) => return Ok(salt),
            Err(StoreError::Store(object_store::Error::NotFound { .. })) => {}
            Err(error) => return Err(error),
        }
        SysRng.try_fill_bytes(&mut salt).map_err(|_| {
            StoreError::Setup("expected random bytes from the operating system, got none".to_owned())
        })?;
        if place.create(Bytes::copy_from_slice(&salt)).await? {
            return Ok(Bytes::copy_from_slice(&salt));
        }
    }
}
