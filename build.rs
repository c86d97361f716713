//! Takes the viewer's 3D script into the program: `cargo xtask setup` links it into the folder `.niivue`.
//!
//! The folder is in git and so always there: cargo looks through it for what is new, and a script that comes later is
//! taken in. A file that is named but missing would have the program built anew by every call of cargo.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Where it is looked for.
const FOLDER: &str = ".niivue";

/// The script and its licence; what is missing is empty, and the viewer says so.
const FILES: [&str; 2] = ["niivue.umd.js", "LICENSE"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo gives OUT_DIR"))?;
    let out = PathBuf::from(out);
    for name in FILES {
        let bytes = match fs::read(Path::new(FOLDER).join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        fs::write(out.join(name), bytes)?;
    }
    Ok(())
}
