//! The pool of model workers: one OS thread per device replica builds and owns its chain of models.
//!
//! Only patches and masks cross threads, never a tensor. A worker takes one job, then whatever else waits, up to
//! `batch`: micro-batches form across cases while each job keeps its own reply.

mod batch;
mod clock;
mod conf;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clock::Clock;
pub use clock::Reading;
use conf::CPU;
pub use conf::PoolConf;
use models::{Chain, ModelError, Reconstructor};
use schemas::{Fault, ModelIdentity, Patch, Reconstruction};
use tokio::sync::{oneshot, watch};

/// Most replicas, and most patches of a batch: what any machine could hold.
const MOST: usize = 4096;

/// Builds a worker's chain on a device; runs in the worker's thread.
pub type Open = dyn Fn(&str) -> Result<Chain, ModelError> + Send + Sync;

struct Job {
    patch: Patch,
    seed: u64,
    reply: oneshot::Sender<Done>,
}

/// What became of one patch.
#[derive(Debug, Clone)]
pub struct Done {
    /// The reconstruction, or the fault of this vertebra alone.
    pub result: Result<Reconstruction, Fault>,
    /// Patches in the micro-batch it went through in.
    pub batch: u32,
}

/// Reason of the fault that a job gets when no worker is left.
pub const EVERY_WORKER_GONE: &str = "every_worker_gone";

/// Handle to the workers; they end when it is dropped.
#[derive(Debug, Clone)]
pub struct Pool {
    jobs: async_channel::Sender<Job>,
    identity: Arc<ModelIdentity>,
    gone: watch::Receiver<bool>,
    clock: Arc<Clock>,
    batches: usize,
}

impl Pool {
    /// Starts every worker and waits until each has its models.
    ///
    /// # Errors
    /// A worker's models could not be opened.
    pub async fn start(conf: &PoolConf, open: Arc<Open>) -> Result<Self, ModelError> {
        if conf.devices.is_empty() {
            let message = "pool.devices: expected at least one device, found none";
            return Err(ModelError::Conf(message.to_owned()));
        }
        if [conf.replicas, conf.batch]
            .iter()
            .any(|count| count.or(1).get() > MOST)
        {
            let message = format!("pool: expected at most {MOST} replicas and patches a batch, found more");
            return Err(ModelError::Conf(message));
        }
        let workers = conf.workers();
        let most = |device: &str| conf.batch.or(if device == CPU { 1 } else { batch::MOST }).get();
        let places = conf
            .devices
            .iter()
            .map(|device| conf.workers_on(device) * most(device));
        let (jobs, queue) = async_channel::bounded(places.sum());
        let (gone_sender, gone) = watch::channel(false);
        let gone_sender = Arc::new(gone_sender);
        let alive = Arc::new(AtomicUsize::new(workers));
        let clock = Arc::new(Clock::new(Arc::clone(&alive)));
        let mut ready = Vec::new();
        for device in &conf.devices {
            for replica in 0..conf.workers_on(device) {
                let (sender, receiver) = oneshot::channel();
                ready.push(receiver);
                let worker = Worker {
                    device: device.clone(),
                    open: Arc::clone(&open),
                    queue: queue.clone(),
                    batch: most(device),
                    is_batch_fixed: device == CPU || !conf.batch.is_auto(),
                    wait: Duration::from_millis(conf.wait_ms),
                    clock: Arc::clone(&clock),
                };
                let last = LastOut {
                    alive: Arc::clone(&alive),
                    gone: Arc::clone(&gone_sender),
                    queue: queue.clone(),
                };
                let name = format!("model-{device}-{replica}");
                let spawned = std::thread::Builder::new().name(name).spawn(move || {
                    let _last = last;
                    worker.live(sender);
                });
                spawned
                    .map_err(|error| ModelError::Device(format!("cannot start a worker thread: {error}")))?;
            }
        }
        drop(queue);
        let mut identity = None;
        let mut batches = 0;
        for receiver in ready {
            let opened = receiver
                .await
                .unwrap_or_else(|_| Err(ModelError::Device("a worker died at its start".to_owned())))?;
            identity = Some(opened.identity);
            batches += opened.batch;
        }
        let identity = identity.ok_or_else(|| ModelError::Conf("pool: no worker".to_owned()))?;
        Ok(Self {
            jobs,
            identity: Arc::new(identity),
            gone,
            clock,
            batches,
        })
    }

    /// Returns the most patches that all workers together take at once.
    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Returns what the workers do and have done.
    pub fn reading(&self) -> Reading {
        self.clock.read(self.jobs.len())
    }

    /// Returns which models the workers hold.
    pub fn identity(&self) -> Arc<ModelIdentity> {
        Arc::clone(&self.identity)
    }

    /// Returns whether the last worker has gone.
    pub fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// Waits until the last worker has gone; for ever, as long as one lives.
    pub async fn every_worker_gone(&self) {
        let mut gone = self.gone.clone();
        if gone.wait_for(|gone| *gone).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Sends one patch through the chain of the next free worker.
    pub async fn reconstruct(&self, patch: Patch, seed: u64) -> Done {
        let gone = || Done {
            result: Err(Fault::unavailable(
                EVERY_WORKER_GONE,
                "expected a model worker, found none left",
            )),
            batch: 0,
        };
        // a worker that dies drops what it has in hand: that goes to the next one, and the last one closes the queue
        loop {
            let (reply, done) = oneshot::channel();
            let patch = patch.clone();
            if self.jobs.send(Job { patch, seed, reply }).await.is_err() {
                return gone();
            }
            if let Ok(done) = done.await {
                return done;
            }
        }
    }
}

/// Tells when the last worker leaves, however it leaves, and turns away who still waits.
struct LastOut {
    alive: Arc<AtomicUsize>,
    gone: Arc<watch::Sender<bool>>,
    queue: async_channel::Receiver<Job>,
}

impl Drop for LastOut {
    fn drop(&mut self) {
        if self.alive.fetch_sub(1, Ordering::AcqRel) == 1 {
            // said before a job can be turned away for it
            self.gone.send_replace(true);
            self.queue.close();
            while self.queue.try_recv().is_ok() {}
        }
    }
}

/// What a worker says when it is ready.
struct Opened {
    identity: ModelIdentity,
    /// Most patches that it takes at once.
    batch: usize,
}

struct Worker {
    device: String,
    open: Arc<Open>,
    queue: async_channel::Receiver<Job>,
    batch: usize,
    /// Otherwise it is the most, and what is fastest is tried out.
    is_batch_fixed: bool,
    wait: Duration,
    clock: Arc<Clock>,
}

impl Worker {
    fn live(mut self, ready: oneshot::Sender<Result<Opened, ModelError>>) {
        let mut chain = match (self.open)(&self.device) {
            Ok(chain) => chain,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        if !self.is_batch_fixed {
            self.batch = batch::fastest(&mut chain, self.batch);
            tracing::info!(device = %self.device, batch = self.batch, "patches in a micro-batch, as tried out");
        }
        let opened = Opened {
            identity: chain.identity().clone(),
            batch: self.batch,
        };
        if ready.send(Ok(opened)).is_err() {
            return;
        }
        while let Ok(first) = self.queue.recv_blocking() {
            if first.reply.is_closed() {
                // its case took too long and has its row
                continue;
            }
            let jobs = self.gather(first);
            let went_on = {
                let _busy = self.clock.start(jobs.len());
                self.work(&mut chain, jobs, false)
            };
            if !went_on {
                tracing::error!(device = %self.device, "a model worker could not be built anew and has gone");
                return;
            }
        }
    }

    fn gather(&self, first: Job) -> Vec<Job> {
        let mut jobs = vec![first];
        let until = Instant::now() + self.wait;
        while jobs.len() < self.batch {
            match self.queue.try_recv() {
                Ok(job) if job.reply.is_closed() => {}
                Ok(job) => jobs.push(job),
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
                Err(_) => break,
            }
        }
        jobs
    }

    /// Answers every job; returns whether the worker can go on. After a panic each job is tried once more, alone, by a
    /// chain built anew: it is the vertebra's only if it comes again.
    fn work(&self, chain: &mut Chain, jobs: Vec<Job>, has_panicked: bool) -> bool {
        let count = jobs.len();
        let (requests, replies): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .map(|job| ((job.patch, job.seed), job.reply))
            .unzip();
        let (patches, seeds): (Vec<Patch>, Vec<u64>) = requests.into_iter().unzip();
        match attempt(chain, &patches, &seeds) {
            Attempt::Done(results) => {
                for (reply, result) in replies.into_iter().zip(results) {
                    let _ = reply.send(Done {
                        result: Ok(result),
                        batch: count as u32,
                    });
                }
                true
            }
            Attempt::Failed(error) if count == 1 => {
                answer(replies, fault_of(&error));
                true
            }
            Attempt::Failed(error) => {
                let size = if matches!(error, ModelError::Exhausted(_)) {
                    count.div_ceil(2)
                } else {
                    1
                };
                self.in_pieces(chain, regroup(patches, seeds, replies), size, has_panicked)
            }
            Attempt::Panicked => {
                match (self.open)(&self.device) {
                    Ok(anew) => *chain = anew,
                    Err(_) => return false,
                }
                if count == 1 && has_panicked {
                    let message = "the model panicked on this vertebra, and again when it was tried alone";
                    answer(replies, Fault::bug("model_panicked", message));
                    return true;
                }
                self.in_pieces(chain, regroup(patches, seeds, replies), 1, true)
            }
        }
    }

    fn in_pieces(&self, chain: &mut Chain, jobs: Vec<Job>, size: usize, has_panicked: bool) -> bool {
        let mut rest = jobs;
        while !rest.is_empty() {
            let later = rest.split_off(size.min(rest.len()));
            if !self.work(chain, rest, has_panicked) {
                return false;
            }
            rest = later;
        }
        true
    }
}

/// How a batch went.
pub(crate) enum Attempt {
    Done(Vec<Reconstruction>),
    Failed(ModelError),
    Panicked,
}

/// Lets the chain do a batch, and checks that what it gives lies on the patches' grids.
pub(crate) fn attempt(chain: &mut Chain, patches: &[Patch], seeds: &[u64]) -> Attempt {
    match catch_unwind(AssertUnwindSafe(|| chain.reconstruct(patches, seeds))) {
        Ok(Ok(results)) if fits(&results, patches) => Attempt::Done(results),
        Ok(Ok(results)) => {
            let message = format!(
                "expected {} reconstructions on the grids of their patches, found {} or other grids",
                patches.len(),
                results.len()
            );
            Attempt::Failed(ModelError::Contract(message))
        }
        Ok(Err(error)) => Attempt::Failed(error),
        Err(_) => Attempt::Panicked,
    }
}

fn fits(results: &[Reconstruction], patches: &[Patch]) -> bool {
    let same_grid = |(result, patch): (&Reconstruction, &Patch)| result.mask.dim() == patch.mask.dim();
    results.len() == patches.len() && results.iter().zip(patches).all(same_grid)
}

fn regroup(patches: Vec<Patch>, seeds: Vec<u64>, replies: Vec<oneshot::Sender<Done>>) -> Vec<Job> {
    let jobs = patches.into_iter().zip(seeds).zip(replies);
    jobs.map(|((patch, seed), reply)| Job { patch, seed, reply })
        .collect()
}

fn answer(replies: Vec<oneshot::Sender<Done>>, fault: Fault) {
    for reply in replies {
        let _ = reply.send(Done {
            result: Err(fault.clone()),
            batch: 1,
        });
    }
}

/// Returns the fault that a vertebra gets of a model's error.
pub(crate) fn fault_of(error: &ModelError) -> Fault {
    let message = error.to_string();
    match error {
        ModelError::Exhausted(_) => Fault::exhausted("model_memory", message),
        ModelError::Diverged { .. } => Fault::unsuitable("model_diverged", message),
        ModelError::Shape { .. } => Fault::unsuitable("patch_size", message),
        ModelError::Device(_) => Fault::unavailable("model_device", message),
        ModelError::Unknown { .. }
        | ModelError::Conf(_)
        | ModelError::Weights(_)
        | ModelError::Torch(_)
        | ModelError::NotFinite { .. }
        | ModelError::Contract(_) => Fault::bug("model_failed", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;

    use models::ModelConf;
    use ndarray::Array3;
    use schemas::Affine;

    use crate::count::Count;

    fn patch(value: u8) -> Patch {
        let affine = Affine::axis_aligned([1.0; 3], [0.0; 3]);
        Patch::new(Array3::from_elem((2, 2, 2), value), affine)
    }

    /// Panics on a patch that starts with 7, fails on 8, runs out of memory on two or more.
    struct Moody;

    impl Reconstructor for Moody {
        fn reconstruct(&mut self, batch: &[Patch], _: &[u64]) -> Result<Vec<Reconstruction>, ModelError> {
            if batch.len() > 2 {
                return Err(ModelError::Exhausted("three are too many".to_owned()));
            }
            let first = |patch: &Patch| patch.mask.first().copied();
            assert!(!batch.iter().any(|patch| first(patch) == Some(7)), "seven");
            if batch.iter().any(|patch| first(patch) == Some(8)) {
                return Err(ModelError::Torch("eight".to_owned()));
            }
            Ok(batch
                .iter()
                .map(|patch| Reconstruction::of_mask(patch.mask.clone()))
                .collect())
        }
    }

    fn moody(_: &str) -> Result<Chain, ModelError> {
        let conf = ModelConf {
            chain: vec!["identity".to_owned()],
            ..ModelConf::default()
        };
        Ok(Chain::of(
            vec![Box::new(Moody)],
            models::open(&conf, &models::LoadedWeights::new(), "cpu")?
                .identity()
                .clone(),
        ))
    }

    #[tokio::test]
    async fn a_bad_patch_fails_alone_whatever_batch_it_is_in() {
        let conf = PoolConf {
            replicas: Count::Fixed(NonZeroUsize::MIN),
            batch: Count::Fixed(NonZeroUsize::new(6).expect("six")),
            wait_ms: 50,
            ..PoolConf::default()
        };
        let pool = Pool::start(&conf, Arc::new(moody)).await.expect("pool");
        let jobs = [1, 7, 2, 8, 3, 4].map(|value| {
            let pool = pool.clone();
            tokio::spawn(async move {
                pool.reconstruct(patch(value), 0)
                    .await
                    .result
                    .map_err(|fault| fault.reason)
            })
        });
        let mut found = Vec::new();
        for job in jobs {
            found.push(job.await.expect("no panic").map(|done| done.mask[[0, 0, 0]]));
        }
        assert_eq!(
            found,
            [
                Ok(1),
                Err("model_panicked"),
                Ok(2),
                Err("model_failed"),
                Ok(3),
                Ok(4)
            ]
        );
    }

    #[tokio::test]
    async fn when_the_last_worker_has_gone_jobs_are_told_so() {
        let opened = AtomicUsize::new(0);
        let open = move |device: &str| match opened.fetch_add(1, Ordering::SeqCst) {
            0 => moody(device),
            _ => Err(ModelError::Device("lost".to_owned())),
        };
        let conf = PoolConf {
            replicas: Count::Fixed(NonZeroUsize::MIN),
            ..PoolConf::default()
        };
        let pool = Pool::start(&conf, Arc::new(open)).await.expect("pool");
        let done = pool.reconstruct(patch(7), 0).await;
        assert_eq!(done.result.expect_err("gone").reason, EVERY_WORKER_GONE);
        pool.every_worker_gone().await;
        let done = pool.reconstruct(patch(1), 0).await;
        assert_eq!(done.result.expect_err("gone").reason, EVERY_WORKER_GONE);
    }
}
