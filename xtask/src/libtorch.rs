//! Lays out the libtorch that `tch` links to, out of the wheels of PyTorch, and links `.libtorch` to it.
//!
//! There is no CPU-only wheel of this version in the registry, so the CPU layout takes the CPU libraries of
//! the full wheel, the two small CUDA libraries that those name, and a `libtorch.so` of our own: torch's is
//! an empty library that needs `libtorch_cuda.so`, ours is an empty one that does not. The CUDA layout keeps
//! the folders as pip would install them, because the libraries' own run paths (`$ORIGIN/../../nvidia/…`)
//! then find everything. A binary built against one runs with the other.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fmt, fs};

use anyhow::{Context as _, Result, ensure};

use crate::cache::{self, Cache, Workbench};
use crate::checkout::link;
use crate::programs::run_quietly;
use crate::report;
use crate::wheels::{self, Wheel};

/// The version that the `tch` of `models/` is made for.
const VERSION: &str = "2.11.0";

/// Pins of the CPU layout.
pub const CPU: &str = include_str!("../libtorch-cpu.txt");

/// Pins of the CUDA layout.
pub const CUDA: &str = include_str!("../libtorch-cuda.txt");

/// Which members of the CPU layout's wheels go where.
const CPU_MEMBERS: [(&str, &str); 5] = [
    (r"torch/(include/.*)", r"\1"),
    (
        r"torch/(lib/(?:libtorch_cpu\.so|libc10\.so|libgomp\.so\.1))",
        r"\1",
    ),
    (r"nvidia/cu13/(lib/(?:libcudart\.so\.13|libcupti\.so\.13))", r"\1"),
    (
        r"torch-[^/]*\.dist-info/(?:licenses/)?((?:LICENSE|NOTICE)[^/]*)",
        r"\1",
    ),
    (
        r"(nvidia_[^/]*)-[^/]*\.dist-info/(?:licenses/)?(License\.txt)",
        r"licenses/\1-\2",
    ),
];

/// Which members of the CUDA layout's wheels go where.
const CUDA_MEMBERS: [(&str, &str); 5] = [
    (r"(torch/include/.*)", r"site/\1"),
    (r"(torch/lib/lib(?!torch_python)[^/]*\.so[.0-9]*)", r"site/\1"),
    (r"(nvidia/.*/lib/[^/]*\.so[.0-9]*)", r"site/\1"),
    (
        r"torch-[^/]*\.dist-info/(?:licenses/)?((?:LICENSE|NOTICE)[^/]*)",
        r"\1",
    ),
    (
        r"(nvidia_[^/]*)-[^/]*\.dist-info/(?:licenses/)?(License\.txt|LICENSE[^/]*)",
        r"licenses/\1-\2",
    ),
];

/// A layout of libtorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CPU libraries only.
    Cpu,
    /// Everything, with the NVIDIA libraries.
    Cuda,
}

impl Kind {
    /// Returns what fits this machine.
    pub fn of_machine() -> Self {
        let lists = Command::new("nvidia-smi").arg("-L").stdin(Stdio::null()).output();
        let gpu = lists.is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"GPU"));
        if gpu { Self::Cuda } else { Self::Cpu }
    }

    fn pins(self) -> &'static str {
        match self {
            Self::Cpu => CPU,
            Self::Cuda => CUDA,
        }
    }

    fn members(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Cpu => &CPU_MEMBERS,
            Self::Cuda => &CUDA_MEMBERS,
        }
    }

    fn item(self) -> String {
        format!("libtorch-{VERSION}-{self}")
    }

    /// Everything that decides what the layout holds.
    fn recipe(self) -> String {
        format!("{}{:?}\n", self.pins(), self.members())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

/// Lays out libtorch in the cache and links `<checkout>/.libtorch` to it.
///
/// # Errors
/// What is missing on this machine, or what went wrong.
pub fn set_up(checkout: &Path, cache: &Cache, kind: Kind) -> Result<()> {
    let place = cache.item(&kind.item(), &kind.recipe(), |bench| lay_out(kind, bench))?;
    link(&checkout.join(".libtorch"), &place)?;
    report::stage(&format!("libtorch {VERSION} ({kind}) is at {}", place.display()));
    let ours = checkout.join(".libtorch");
    if let Some(other) = env::var_os("LIBTORCH").filter(|other| Path::new(other) != ours) {
        report::stage(&format!(
            "but LIBTORCH is set: cargo takes the one at {}",
            other.display()
        ));
    }
    Ok(())
}

/// Keeps the complete layout that is linked already, whichever it is; else lays out `kind`.
///
/// # Errors
/// As [`set_up`].
pub fn set_up_unless_linked(checkout: &Path, cache: &Cache, kind: Kind) -> Result<()> {
    let link = checkout.join(".libtorch");
    if [Kind::Cpu, Kind::Cuda]
        .iter()
        .any(|kind| cache::is_complete(&link, &kind.recipe()))
    {
        return Ok(());
    }
    set_up(checkout, cache, kind)
}

fn lay_out(kind: Kind, bench: &Workbench) -> Result<()> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "the pinned wheels are for x86-64 Linux: elsewhere install libtorch {VERSION} and set LIBTORCH"
    );
    let compiler = compiler()?;
    let wheels = wheels::fetch(&Wheel::list(kind.pins())?, bench)?;
    report::stage("unpacking …");
    wheels::unpack(&wheels, kind.members(), &bench.item)?;
    let lib = bench.item.join("lib");
    match kind {
        Kind::Cpu => make_shim(&compiler, bench, &lib).context("cannot make the empty libtorch.so")?,
        Kind::Cuda => {
            symlink("site/torch/include", bench.item.join("include"))?;
            symlink("site/torch/lib", &lib)?;
        }
    }
    for library in ["libtorch.so", "libtorch_cpu.so", "libc10.so"] {
        ensure!(lib.join(library).is_file(), "the wheels hold no {library}");
    }
    Ok(())
}

/// Returns the C compiler, having looked for both that a build needs: before the download rather than after.
pub fn compiler() -> Result<OsString> {
    let named = |variable: &str, default: &str| {
        env::var_os(variable)
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| default.into())
    };
    let (c, cpp) = (named("CC", "cc"), named("CXX", "c++"));
    for compiler in [&c, &cpp] {
        let answers = Command::new(compiler)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        ensure!(
            answers.is_ok_and(|output| output.status.success()),
            "no C++ compiler ({} not found), which builds the bindings to libtorch: install one \
             (Debian, Ubuntu: apt-get install g++) or set CC and CXX",
            compiler.display()
        );
    }
    Ok(c)
}

fn make_shim(compiler: &OsString, bench: &Workbench, lib: &Path) -> Result<()> {
    let source = bench.scratch.join("empty.c");
    fs::write(&source, "")?;
    let mut search = OsString::from("-L");
    search.push(lib);
    let mut command = Command::new(compiler);
    command
        .arg("-shared")
        .arg(&source)
        .arg("-o")
        .arg(lib.join("libtorch.so"));
    command
        .args(["-Wl,-soname,libtorch.so", "-Wl,--no-as-needed"])
        .arg(search);
    command.args([
        "-ltorch_cpu",
        "-lc10",
        "-Wl,-rpath,$ORIGIN",
        "-Wl,--unresolved-symbols=ignore-in-shared-libs",
    ]);
    run_quietly(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts_pin_the_same_torch() {
        let torch = |pins: &str| {
            Wheel::list(pins)
                .expect("pins")
                .into_iter()
                .find(|wheel| wheel.name == "torch")
        };
        let cpu = torch(CPU).expect("torch");
        assert_eq!(cpu.version, VERSION);
        assert_eq!(Some(cpu), torch(CUDA));
    }
}
