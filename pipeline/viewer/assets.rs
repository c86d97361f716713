//! What the page needs of others: NiiVue, as `build.rs` found it.

/// NiiVue's script, a UMD bundle that makes the global `niivue`; empty if it was not set up before the build.
pub static NIIVUE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/niivue.umd.js"));

/// The licences of NiiVue and of what it holds; empty if it was not set up before the build.
pub static NIIVUE_LICENCE: &str = include_str!(concat!(env!("OUT_DIR"), "/LICENSE"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_and_its_licence_come_together() {
        assert_eq!(NIIVUE.is_empty(), NIIVUE_LICENCE.is_empty());
        if NIIVUE.is_empty() {
            eprintln!("skipped: built without NiiVue");
            return;
        }
        let script = std::str::from_utf8(NIIVUE).expect("text");
        assert!(script.contains(".niivue={}"), "it makes the global `niivue`");
        assert!(NIIVUE_LICENCE.starts_with("NiiVue") && NIIVUE_LICENCE.contains("BSD 2-Clause"));
    }
}
