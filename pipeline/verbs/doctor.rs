//! `spinestream doctor`: what is set up, and what to do about the rest.

use models::reconstructor::MODELS;
use stages::tables::SOFTWARE_VERSION;

use crate::Exit;
use crate::conf::Conf;

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
