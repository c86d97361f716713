//! `spinestream doctor`: what is set up, and what to do about the rest.

use models::reconstructor::MODELS;
use stages::tables::SOFTWARE_VERSION;

use crate::Exit;
use crate::conf::Conf;
use crate::viewer::assets::NIIVUE;

/// Prints what this build and machine can do; exit code 1 if the configured pool could not start.
pub fn doctor(conf: &Conf) -> Exit {
    println!("spinestream {SOFTWARE_VERSION}, models: {}", MODELS.join(", "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{cores} cores, {} model worker(s) with {} thread(s) each on {}",
        conf.pool.workers(),
        conf.pool.threads_each(),
        conf.pool.devices.join(", ")
    );
    #[cfg(feature = "torch")]
    println!("{}", models::device_report());
    #[cfg(not(feature = "torch"))]
    println!("built without feature torch: only models without a network are there");
    println!("{}", viewer_report(NIIVUE));
    let mut fit = true;
    for device in &conf.pool.devices {
        match models::open(&conf.model, &models::LoadedWeights::new(), device) {
            Ok(chain) => println!(
                "{device}: opens {}, version {}",
                conf.model.chain.join(" → "),
                chain.identity().model_version
            ),
            Err(error) => {
                fit = false;
                println!("{device}: cannot open {}: {error}", conf.model.chain.join(" → "));
            }
        }
    }
    if fit { Exit::Done } else { Exit::SomeFailed }
}

/// Says whether the viewer has what it draws with.
fn viewer_report(script: &[u8]) -> String {
    if script.is_empty() {
        let remedy = "install npm, run `cargo xtask setup` and build again";
        return format!("viewer: built without NiiVue, it shows tables but no 3D; {remedy}");
    }
    format!("viewer: with NiiVue, {} KiB", script.len() >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_niivue_is_told_with_its_remedy() {
        assert!(viewer_report(b"").contains("cargo xtask setup"));
        assert_eq!(viewer_report(&[0; 2048]), "viewer: with NiiVue, 2 KiB");
    }
}
