//! Two workers in network namespaces of their own, one of them cut off from the queue for a minute.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::super::store::Kind;
use super::super::watch::Process;
use super::{Fleet, Run, folder, wait};
use crate::nats::Server;
use crate::programs::run_quietly;
use crate::report;

/// Time that it is cut off.
const CUT_OFF: Duration = Duration::from_secs(60);

/// Time before that.
const BEFORE: Duration = Duration::from_secs(5);

/// Network namespaces with a link to this one each; dropped, they are gone.
struct Namespaces {
    names: Vec<String>,
}

impl Namespaces {
    /// Makes two: this one has the addresses 10.213.N.1, they have 10.213.N.2.
    fn make() -> Result<Self> {
        let mut made = Self { names: Vec::new() };
        for number in 1..=2 {
            let name = format!("spine{}n{number}", std::process::id());
            ip(&["netns", "add", &name])?;
            made.names.push(name.clone());
            let [here, there] = ends(number);
            ip(&[
                "link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &name,
            ])?;
            ip(&["address", "add", &format!("10.213.{number}.1/30"), "dev", &here])?;
            ip(&["link", "set", &here, "up"])?;
            let inside = |arguments: &[&str]| ip(&[["-n", name.as_str()].as_slice(), arguments].concat());
            inside(&["address", "add", &format!("10.213.{number}.2/30"), "dev", &there])?;
            inside(&["link", "set", &there, "up"])?;
            inside(&["link", "set", "lo", "up"])?;
        }
        Ok(made)
    }

    /// Returns a command that runs in one of them.
    fn inside(&self, number: usize, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.names[number - 1]]);
        inside.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            // its links go with it
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

/// Returns the names of a link's two ends; 15 letters at most.
fn ends(number: usize) -> [String; 2] {
    let process = std::process::id() % 1_000_000;
    [format!("sph{process}n{number}"), format!("spt{process}n{number}")]
}

fn ip(arguments: &[&str]) -> Result<()> {
    run_quietly(Command::new("ip").args(arguments))
}

/// Cuts one of two workers off from the queue for a minute, longer than a silent one may keep its cases.
pub fn cut_off(fleet: &Fleet<'_>, program: &Path, cases: usize) -> Result<Run> {
    ensure!(
        fleet.setting.store.kind() == Kind::File,
        "a server on loopback is not seen from other namespaces: take --store file"
    );
    let namespaces = Namespaces::make()?;
    // for as long as this lasts everybody may come, as the addresses that it is asked under are several
    let server = Server::start(program, &folder(fleet, "apart"), "0.0.0.0")?;
    let port = server.url().rsplit(':').next().unwrap_or_default().to_owned();
    let id = "cut_off";
    let url = |number: usize| vec![format!("queue.url=nats://10.213.{number}.1:{port}")];
    let mut enqueue = fleet.verb(&["enqueue"], id, cases, &url(1))?;
    run_quietly(&mut enqueue)?;
    let start = Instant::now();
    let mut workers = Vec::new();
    for number in 1..=2 {
        let worker = fleet.verb(&["work", "--until-empty"], id, cases, &url(number))?;
        workers.push(Process::start(&mut namespaces.inside(number, &worker))?);
    }
    thread::sleep(BEFORE);
    let [here, _] = ends(1);
    ip(&["link", "set", &here, "down"])?;
    thread::sleep(CUT_OFF);
    ip(&["link", "set", &here, "up"])?;
    report::stage(&format!("back after {} s", CUT_OFF.as_secs()));
    let ended = wait(workers)?;
    fleet.judged(&ended, start.elapsed(), "fewer", id)
}
