//! Environments of Python in the cache: one for the tests, one for the benches' peers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cache::{Cache, Workbench};
use crate::libtorch;
use crate::programs::{Python, run_quietly};
use crate::report;

/// Prints which interpreter this really is: an environment dies with the one that it was made of.
const WHICH: &str = "import os, sys; print(os.path.realpath(sys.executable), sys.version)";

/// Prints the folder of its packages.
const PACKAGES: &str = "import sysconfig; print(sysconfig.get_path('platlib'))";

/// Lets an interpreter look a library's functions up when they are called, not when the library is loaded.
const LAZY: &str = "import os, sys; sys.setdlopenflags(os.RTLD_LAZY)\n";

/// An environment.
#[derive(Debug)]
pub struct Environment {
    /// Name in the cache.
    pub item: &'static str,
    /// Whose it is: `the tests' Python`.
    pub name: &'static str,
    /// What is in it and how much there is to fetch, for whoever waits.
    pub holds: &'static str,
    /// Packages, pinned by version, as pip reads them.
    pub requirements: &'static str,
    /// The requirements are the whole list: what else a package asks for is left out.
    pub is_whole: bool,
    /// Libraries, with the version of their symbols, that some package names and that nothing here ever calls: empty
    /// ones stand for them.
    pub stand_ins: &'static [(&'static str, &'static str)],
    /// Modules that must load.
    pub imports: &'static str,
}

impl Environment {
    /// Returns the interpreter of the environment, made if it is not there yet.
    ///
    /// # Errors
    /// No Python, no pip, no network.
    pub fn set_up(&self, cache: &Cache) -> Result<PathBuf> {
        let which = Python::find()?.command().args(["-c", WHICH]).output()?;
        ensure!(which.status.success(), "python3 cannot say where it is");
        let mut recipe = self.requirements.to_owned();
        for (library, version) in self.stand_ins {
            recipe += &format!("{library} {version}\n");
        }
        recipe += &String::from_utf8_lossy(&which.stdout);
        let place = cache.item(self.item, &recipe, |bench| self.lay_out(bench))?;
        report::stage(&format!("{} is at {}", self.name, place.display()));
        Ok(place.join("bin").join("python"))
    }

    /// Makes the environment without a pip of its own, which Debian's Python cannot put in without another
    /// package: the outer pip puts the packages there. Only `bin/python` is used, which finds its home wherever
    /// it is moved.
    fn lay_out(&self, bench: &Workbench) -> Result<()> {
        let python = Python::with_pip()?;
        report::stage(&format!("making {}: {} …", self.name, self.holds));
        let mut environment = python.command();
        run_quietly(environment.args(["-m", "venv", "--without-pip"]).arg(&bench.item))?;
        let interpreter = bench.item.join("bin").join("python");
        let packages = Command::new(&interpreter).args(["-c", PACKAGES]).output()?;
        ensure!(
            packages.status.success(),
            "{} cannot say where its packages go",
            self.name
        );
        let packages = PathBuf::from(String::from_utf8(packages.stdout)?.trim());

        let requirements = bench.scratch.join("requirements.txt");
        fs::write(&requirements, self.requirements)?;
        let mut pip = python.pip("install");
        pip.arg("--no-compile").arg("--requirement").arg(&requirements);
        if self.is_whole {
            pip.arg("--no-deps");
        }
        pip.arg("--target").arg(&packages);
        pip.env("TMPDIR", &bench.scratch);
        run_quietly(&mut pip).with_context(|| format!("cannot fetch the packages of {}", self.name))?;
        if !self.stand_ins.is_empty() {
            self.make_stand_ins(bench, &packages)
                .context("cannot make the empty libraries")?;
        }

        // what is imported here is compiled here, once: pydicom and highdicom would else take two seconds at each start
        let mut imports = Command::new(&interpreter);
        imports.env_remove("PYTHONDONTWRITEBYTECODE");
        run_quietly(imports.arg("-c").arg(format!("import {}", self.imports)))
            .with_context(|| format!("the packages of {} do not load", self.name))
    }

    /// Puts empty libraries where NVIDIA's packages would put theirs.
    fn make_stand_ins(&self, bench: &Workbench, packages: &Path) -> Result<()> {
        let (source, versions) = (bench.scratch.join("empty.c"), bench.scratch.join("versions.map"));
        fs::write(&source, "")?;
        let folder = packages.join("nvidia").join("cu13").join("lib");
        fs::create_dir_all(&folder)?;
        let compiler = libtorch::compiler()?;
        for (library, version) in self.stand_ins {
            fs::write(&versions, format!("{version} {{ }};\n"))?;
            let mut command = Command::new(&compiler);
            command
                .arg("-shared")
                .arg(&source)
                .arg("-o")
                .arg(folder.join(library));
            command.arg(format!("-Wl,-soname,{library}"));
            command.arg(format!("-Wl,--version-script,{}", versions.display()));
            run_quietly(&mut command)?;
        }
        Ok(fs::write(packages.join("lazy.pth"), LAZY)?)
    }
}
